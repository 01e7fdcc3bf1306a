"""One reader that reads the byte and writes the next one: TURNS."""

import asyncio
import socket
import sys

from measure import Stopwatch

turns = int(sys.argv[1])
loop = asyncio.new_event_loop()
near, far = socket.socketpair()
near.setblocking(False)


def ready():
    global turns
    assert len(near.recv(64)) == 1
    far.send(b"x")
    turns -= 1
    if turns == 0:
        loop.stop()


loop.add_reader(near, ready)
far.send(b"x")
count, clock = turns, Stopwatch()
loop.run_forever()
clock.stop(count)

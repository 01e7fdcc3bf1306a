"""One reader that reads the byte and writes the next one: TURNS."""

import socket
import sys

from twisted.internet import reactor

from measure import Stopwatch

turns = int(sys.argv[1])
near, far = socket.socketpair()
near.setblocking(False)


class Pair:
    def fileno(self):
        return near.fileno()

    def logPrefix(self):
        return "pair"

    def connectionLost(self, reason):
        pass

    def doRead(self):
        global turns
        assert len(near.recv(64)) == 1
        far.send(b"x")
        turns -= 1
        if turns == 0:
            reactor.removeReader(self)
            reactor.stop()


reactor.addReader(Pair())
far.send(b"x")
count, clock = turns, Stopwatch()
reactor.run()
clock.stop(count)

"""`call_soon_threadsafe`: flood|ping CALLS."""

import asyncio
import sys
import threading

from measure import Stopwatch

role, calls = sys.argv[1], int(sys.argv[2])
loop = asyncio.new_event_loop()
done = 0


def count(answered=None):
    global done
    done += 1
    if answered:
        answered.release()
    if done == calls:
        loop.stop()


def flood():
    for _ in range(calls):
        loop.call_soon_threadsafe(count)


def ping():
    answered = threading.Semaphore(0)
    for _ in range(calls):
        loop.call_soon_threadsafe(count, answered)
        answered.acquire()


clock = Stopwatch()
other = threading.Thread(target={"flood": flood, "ping": ping}[role])
other.start()
loop.run_forever()
other.join()
clock.stop(calls)

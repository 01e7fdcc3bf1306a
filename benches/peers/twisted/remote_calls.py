"""`callFromThread`: flood|ping CALLS."""

import sys
import threading

from twisted.internet import reactor

from measure import Stopwatch

role, calls = sys.argv[1], int(sys.argv[2])
done = 0


def count(answered=None):
    global done
    done += 1
    if answered:
        answered.release()
    if done == calls:
        reactor.stop()


def flood():
    for _ in range(calls):
        reactor.callFromThread(count)


def ping():
    answered = threading.Semaphore(0)
    for _ in range(calls):
        reactor.callFromThread(count, answered)
        answered.acquire()


other = threading.Thread(target={"flood": flood, "ping": ping}[role])
clock = Stopwatch()
reactor.callWhenRunning(other.start)
reactor.run()
other.join()
clock.stop(calls)

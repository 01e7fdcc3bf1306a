"""`callLater`, one after the other: MICROSECONDS TIMES."""

import sys
import time

from twisted.internet import reactor

from measure import late, sample

delay, times = int(sys.argv[1]) / 1e6, int(sys.argv[2])
lates = []


def ask():
    reactor.callLater(delay, ran, time.monotonic())


def ran(asked):
    lates.append(max(0, time.monotonic() - asked - delay))
    if len(lates) == times:
        return reactor.stop()
    ask()


reactor.callWhenRunning(ask)
reactor.run()
sample(**late(lates, 90, "late90"))

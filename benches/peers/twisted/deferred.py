"""Chains of Deferreds: pending|fired|bare TIMES LENGTH."""

import sys

from twisted.internet.defer import Deferred, succeed

from measure import Stopwatch

role, times, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def add(n, captured):
    return n + captured


def pending():
    deferred = Deferred()
    for index in range(length):
        deferred.addCallback(add, index)
    deferred.callback(1)


def fired():
    deferred = succeed(1)
    for index in range(length):
        deferred.addCallback(add, index)


chain = {"pending": pending, "fired": fired, "bare": pending}[role]
clock = Stopwatch()
for _ in range(times):
    chain()
clock.stop(times)

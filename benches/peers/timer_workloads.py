"""The timer workloads of the peers in Python, over a loop's own functions."""

import random
import sys
import time

from measure import Stopwatch, anonymous_memory, far_away, late, sample, shuffled


class Loop:
    """The functions of a peer: `later(seconds, function)`, `cancel(call)`, `reset(call, seconds)` -> call, `run()`, `stop()`."""


def expire(loop, count, start, span, rounds):
    fired, times, left = 0, [], rounds

    def ran():
        nonlocal fired
        fired += 1
        if fired == count:
            insert()

    def watched(due):
        times.append(time.monotonic() - due)
        ran()

    def insert():
        nonlocal fired, left
        if left == 0:
            return loop.stop()
        fired, left = 0, left - 1
        for index in range(count):
            delay = (start + random.random() * span) / 1000
            if index % 64 == 0:
                loop.later(delay, watched, time.monotonic() + delay)
            else:
                loop.later(delay, ran)

    clock = Stopwatch()
    loop.later(0, insert)
    loop.run()
    clock.stop(count * rounds, **late(times, 99, "late99"))


def fire(loop, count, lead):
    fired = 0

    def ran():
        nonlocal fired
        fired += 1
        if fired == count:
            loop.stop()

    clock, begin = Stopwatch(), time.monotonic()
    for _ in range(count):
        loop.later(lead / 1000 + random.random(), ran)
    assert time.monotonic() - begin < lead / 1000, "inserting took longer than the lead"
    time.sleep(lead / 1000 + 1.01)
    loop.run()
    clock.stop(count)


def cancel(loop, count, batch):
    delays, order = [far_away() for _ in range(batch)], shuffled(batch)
    clock = Stopwatch()
    for _ in range(count // batch):
        calls = [loop.later(delay, int) for delay in delays]
        for index in order:
            loop.cancel(calls[index])
    clock.stop(count)


def churn(loop, pending, churns):
    calls = [loop.later(far_away(), int) for _ in range(pending)]
    plan = [(random.randrange(pending), far_away()) for _ in range(churns)]
    clock = Stopwatch()
    for index, delay in plan:
        loop.cancel(calls[index])
        calls[index] = loop.later(delay, int)
    clock.stop(churns)


def reset(loop, pending, resets):
    calls = [loop.later(far_away(), int) for _ in range(pending)]
    plan = [(random.randrange(pending), far_away()) for _ in range(resets)]
    clock = Stopwatch()
    for index, delay in plan:
        calls[index] = loop.reset(calls[index], delay)
    clock.stop(resets)


def memory(loop, count):
    delays = [far_away() for _ in range(count)]
    before = anonymous_memory()
    calls = [loop.later(delay, int) for delay in delays]
    pending = anonymous_memory()
    for call in calls:
        loop.cancel(call)
    del call, calls
    loop.later(0, loop.stop)
    loop.run()
    sample(memory=(pending - before) / count, left=max(0, anonymous_memory() - before) / count)


def main(loop):
    role, numbers = sys.argv[1], [int(number) for number in sys.argv[2:]]
    {"expire": expire, "fire": fire, "cancel": cancel, "churn": churn, "reset": reset, "memory": memory}[role](loop, *numbers)

"""Shared by the peers in Python: clocks, samples, plans."""

import random
import signal
import time

signal.alarm(180)


class Stopwatch:
    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def stop(self, operations, **more):
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        sample(cpu=cpu * 1e9 / operations, rate=operations / wall, **more)


def sample(**values):
    print("sample", *(f"{key}={value}" for key, value in values.items()), flush=True)


def listening(host, port):
    print(f"listening {host}:{port}", flush=True)


def late(times, second, key):
    """The median of the times, in nanoseconds, and a higher percentile under the key."""
    times = sorted(times)
    return {"late": times[len(times) // 2] * 1e9, key: times[len(times) * second // 100] * 1e9}


def far_away():
    return random.uniform(3600, 7200)


def shuffled(count):
    order = list(range(count))
    random.shuffle(order)
    return order


def anonymous_memory():
    with open("/proc/self/smaps_rollup") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))

#!/usr/bin/env python3
"""Good clients beside 10,000 slow sockets, on each TCP listener of the tracker.

    scripts/slow-sockets [LISTENER...]

A good client connects anew for each request. Rounds alternate: alone, and beside the crowd. The goal is a
99th percentile within twice that alone; medians over the rounds are compared.
"""

import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))

import slow  # noqa: E402
import teem  # noqa: E402

GOAL = 2.0
ROUNDS = 5
REQUESTS = 1_000
WARM = 200


def percentiles(good, count):
    """The 50th and 99th percentile of a connection with one request, in milliseconds."""
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        if not good.ask_anew("127.0.0.9"):
            raise RuntimeError("a good client was not answered")
        taken.append((time.perf_counter() - begun) * 1e3)
    taken.sort()
    return taken[len(taken) // 2], taken[len(taken) * 99 // 100]


def measure(listener, runner):
    """All rounds on one listener; says how it went, and whether the goal is met."""
    tracker = runner.tracker(extra=slow.tracker_flags(listener, runner.address()))
    good = slow.LISTENERS[listener](tracker)
    percentiles(good, WARM)
    alone, beside = [], []
    for _ in range(ROUNDS):
        alone.append(percentiles(good, REQUESTS))
        crowd = slow.Crowd(good)
        crowd.open(slow.SOCKETS)
        beside.append(percentiles(good, REQUESTS))
        crowd.close()
        percentiles(good, WARM)
    memory = tracker.memory_peak_kib() / 1024
    tracker.kill()
    (p50, p99), (crowd_p50, crowd_p99) = (map(statistics.median, zip(*rounds)) for rounds in (alone, beside))
    ratio = crowd_p99 / p99
    word = "met   " if ratio <= GOAL else "MISSED"
    print(
        f"{word} {listener:<11} p99 {ratio:5.2f} times (goal {GOAL}); p50, p99 in ms: {p50:.2f}, {p99:.2f} alone, "
        f"{crowd_p50:.2f}, {crowd_p99:.2f} beside {slow.SOCKETS}; {memory:.0f} MiB",
        flush=True,
    )
    return ratio <= GOAL


def main(listeners):
    """Measures the listeners that are named, or all."""
    slow.allow_descriptors()
    hosts = itertools.count(2)
    with tempfile.TemporaryDirectory(prefix="teem-slow-") as folder:
        runner = teem.Runner(folder, lambda: f"127.9.0.{next(hosts)}")
        try:
            met = [measure(listener, runner) for listener in listeners or slow.LISTENERS]
        finally:
            runner.cleanup()
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What joins two network devices as a long way would: `relay.py LEFT RIGHT [--delay-ms N …]`.

It makes two TUN devices and carries packets between them: through a bottleneck with a queue of its own, for some
time, losing and holding up some by a seeded chance, alike in both directions. (Many kernels lack netem, and queueing
disciplines neither delay nor reorder.) It prints `{}` when the devices are there, and when it is ended what it did:
a JSON object a direction. Without it the devices are gone.
"""

import argparse
import fcntl
import heapq
import itertools
import json
import os
import random
import select
import signal
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PACKET_LEN_MAX = 2_048
# Packets taken in a row before those that are due have their turn.
BATCH = 32


class Direction:
    """One way: when each packet arrives at the other end, if it does."""

    def __init__(self, options, seed):
        self.chance = random.Random(seed)
        self.rate = options.rate_mbit * 1e6 / 8
        self.queue = options.queue_ms / 1e3
        self.delay = options.delay_ms / 1e3
        self.loss, self.late, self.late_by = options.loss, options.late, options.late_ms / 1e3
        self.busy_until = 0.0
        self.told = {"passed": 0, "bytes": 0, "lost": 0, "late": 0, "dropped": 0, "waited_max_ms": 0.0}

    def arrival(self, now, length):
        """The moment at which a packet arrives; none if it never does."""
        # Each packet takes its chances from the same places of the row, whatever becomes of it.
        lost, late, share = self.chance.random(), self.chance.random(), self.chance.random()
        begins = now
        if self.rate:
            begins = max(now, self.busy_until)
            if begins - now > self.queue:
                self.told["dropped"] += 1
                return None
            self.told["waited_max_ms"] = max(self.told["waited_max_ms"], (begins - now) * 1e3)
            begins += length / self.rate
            self.busy_until = begins
        if lost < self.loss:
            self.told["lost"] += 1
            return None
        self.told["passed"] += 1
        self.told["bytes"] += length
        if late < self.late:
            self.told["late"] += 1
            begins += share * self.late_by
        return begins + self.delay


def device(name):
    """Makes a TUN device."""
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return handle


def relay(ends, directions, lateness):
    """Carries packets until it is interrupted. Notes how much later than they should they leave, in milliseconds."""
    flying, count = [], itertools.count()
    ways = {ends[0]: (ends[1], directions[0]), ends[1]: (ends[0], directions[1])}
    while True:
        wait = max(0.0, flying[0][0] - time.monotonic()) if flying else None
        for source in select.select(ends, [], [], wait)[0]:
            other, direction = ways[source]
            for _ in range(BATCH):
                try:
                    packet = os.read(source, PACKET_LEN_MAX)
                except OSError:
                    break
                arrival = direction.arrival(time.monotonic(), len(packet))
                if arrival is not None:
                    heapq.heappush(flying, (arrival, next(count), other, packet))
        now = time.monotonic()
        while flying and flying[0][0] <= now:
            due, _, target, packet = heapq.heappop(flying)
            lateness.append((now - due) * 1e3)
            try:
                os.write(target, packet)
            except OSError:
                pass  # The device is not up (any more).


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("devices", nargs=2)
    parser.add_argument("--delay-ms", type=float, default=0, help="one way")
    parser.add_argument("--rate-mbit", type=float, default=0, help="of the bottleneck; 0 for no limit")
    parser.add_argument("--queue-ms", type=float, default=100, help="how long packets may wait at the bottleneck")
    parser.add_argument("--loss", type=float, default=0, help="the share that is lost, whatever waits")
    parser.add_argument("--late", type=float, default=0, help="the share that is held up, so that others overtake it")
    parser.add_argument("--late-ms", type=float, default=0, help="how long these are held up at most")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main():
    """Makes the devices and carries packets until SIGTERM."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ends = [device(name) for name in options.devices]
    directions = [Direction(options, f"{options.seed} {side}") for side in ("there", "back")]
    lateness = []
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    except PermissionError:
        pass  # Then it is late more often; it tells how late.
    print("{}", flush=True)
    try:
        relay(ends, directions, lateness)
    finally:
        lateness.sort()
        own = {"relay_late_p99_ms": lateness[len(lateness) * 99 // 100] if lateness else 0.0}
        for direction in directions:
            print(json.dumps(direction.told | own), flush=True)


if __name__ == "__main__":
    main()

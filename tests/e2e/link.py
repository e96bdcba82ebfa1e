"""Two machines with a long way between them: namespaces, and a relay that delays, loses, and narrows."""

import os
import sys
from pathlib import Path

from netns import Namespace, ip
from proc import Process, wait_for

RELAY = Path(__file__).with_name("relay.py")
# Packets that a device holds until the relay takes them: the bottleneck is the relay, not this.
DEVICE_PACKETS = 20_000


class Link:
    """Two namespaces, `left` and `right`, and the way between them; options are those of `relay.py`."""

    LEFT, RIGHT = "10.77.0.1", "10.77.0.2"

    def __init__(self, logs, **options):
        self.left, self.right = Namespace(), Namespace()
        self.told = []
        names = [f"tl{os.getpid() % 100000}{side}" for side in "ab"]
        flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
        self.relay = Process("relay", [sys.executable, RELAY, *names, *flags], logs)
        try:
            wait_for(self.relay.objects, 10, "devices of the relay", alive=self.relay)
            for name, space, address in zip(names, (self.left, self.right), (self.LEFT, self.RIGHT), strict=True):
                # It would ask for routers of IPv6, and take others' chances.
                ip("link", "set", name, "addrgenmode", "none", "txqueuelen", str(DEVICE_PACKETS))
                ip("link", "set", name, "netns", space.name)
                space.command("link", "set", name, "name", "eth0")
                space.command("addr", "add", f"{address}/24", "dev", "eth0")
                space.command("link", "set", "eth0", "up")
                space.command("route", "add", "default", "dev", "eth0")
        except BaseException:
            self.close()
            raise

    def use_congestion_control(self, name):
        """What TCP does inside from now on. By the route: a namespace of its own may not choose all."""
        for space, address in ((self.left, self.LEFT), (self.right, self.RIGHT)):
            space.command("route", "replace", "10.77.0.0/24", "dev", "eth0", "src", address, "congctl", name)

    def end(self):
        """Ends the relay; what it did from left to right, and from right to left."""
        self.relay.stop()
        self.told = [each for each in self.relay.objects() if each]
        assert len(self.told) == 2, self.relay.tail()
        return self.told

    def close(self):
        """Removes all of it."""
        self.relay.kill()
        for space in (self.left, self.right):
            space.close()

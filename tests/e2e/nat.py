"""Machines behind routers that translate addresses, on an internet of their own: namespaces, cables, nftables."""

from netns import Namespace, cable

RELAY = "9.9.9.9"
"""A machine that everybody reaches."""

# Those inside reach everything, and what comes in belongs to what went out: port-restricted, as most routers are.
# Ports stay as they are where they can, as with most of them.
RULES = """
table ip nat {
  chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
}
table ip guard {
  chain input { type filter hook input priority filter; policy drop; iifname "lan" accept; ct state established,related accept; }
  chain forward { type filter hook forward priority filter; policy drop; iifname "lan" accept; ct state established,related accept; }
}
"""


class Internet:
    """A public machine and any number of homes, each one machine behind a router."""

    def __init__(self):
        self.spaces = []
        self.between = self._space()
        _forward(self.between)
        self.public = self._space()
        cable((self.between, "public", "9.9.9.1"), (self.public, "eth0", RELAY))
        self.public.command("route", "add", "default", "via", "9.9.9.1")
        self.homes = []

    def _space(self):
        self.spaces.append(Namespace())
        return self.spaces[-1]

    def home(self):
        """A machine behind a router of its own: its namespace, its address and the router's."""
        number = len(self.homes) + 1
        router, machine = self._space(), self._space()
        inside, outside = f"10.0.{number}.2", f"9.{number}.0.2"
        cable((self.between, f"home{number}", f"9.{number}.0.1"), (router, "wan", outside))
        cable((router, "lan", f"10.0.{number}.1"), (machine, "eth0", inside))
        router.command("route", "add", "default", "via", f"9.{number}.0.1")
        machine.command("route", "add", "default", "via", f"10.0.{number}.1")
        _forward(router)
        router.run("nft", "-f", "-", input=RULES, text=True, check=True)
        self.homes.append(Home(machine, inside, outside))
        return self.homes[-1]

    def close(self):
        """Removes all of it."""
        for space in reversed(self.spaces):
            space.close()


class Home:
    """One machine behind a router."""

    def __init__(self, space, address, outside):
        self.space = space
        self.address = address
        self.outside = outside


def _forward(space):
    space.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward", check=True)

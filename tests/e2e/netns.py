"""Network namespaces made by a test: nothing in them leaves the machine."""

import concurrent.futures
import contextlib
import ctypes
import itertools
import os
import socket
import subprocess

CLONE_NEWNET = 0x40000000

_numbers = itertools.count()


def ip(*args):
    """Runs `ip ARGS`."""
    subprocess.run(["ip", *args], check=True, capture_output=True)


class Namespace:
    """A namespace with its loopback up. Some clients ignore peers on 127/8: `addresses` are others."""

    def __init__(self, addresses=()):
        self.name = f"teem-{os.getpid()}-{next(_numbers)}"
        self.prefix = ("ip", "netns", "exec", self.name)
        ip("netns", "add", self.name)
        self.command("link", "set", "lo", "up")
        for address in addresses:
            self.command("addr", "add", f"{address}/32", "dev", "lo")

    def command(self, *args):
        """Runs `ip ARGS` inside."""
        ip("-n", self.name, *args)

    def run(self, *argv, **options):
        """Runs a command inside, to its end."""
        return subprocess.run([*self.prefix, *argv], **options)

    def inside(self, function, *args, **options):
        """Calls a function inside. Sockets and threads that it makes stay there."""

        def enter():
            with open(f"/run/netns/{self.name}") as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            return function(*args, **options)

        # A thread of its own enters, and ends.
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(enter).result()

    def dial(self, address, source, timeout=10):
        """A connection made inside; it stays there."""
        return self.inside(socket.create_connection, address, timeout, source_address=(source, 0))

    def close(self):
        """Removes it."""
        ip("netns", "del", self.name)


@contextlib.contextmanager
def machines(left_address, right_address):
    """Two namespaces on one network: as good as two machines on a LAN."""
    with contextlib.closing(Namespace()) as left, contextlib.closing(Namespace()) as right:
        connect(left, right, left_address, right_address)
        yield left, right


def connect(left, right, left_address, right_address):
    """Joins two namespaces by a cable, `eth0` on each side: the only way out of both."""
    cable((left, "eth0", left_address), (right, "eth0", right_address))
    for namespace in (left, right):
        namespace.command("route", "add", "default", "dev", "eth0")


def cable(*ends):
    """Joins two namespaces on one network of 24 bits: for each end a namespace, a device, an address."""
    names = [f"tv{os.getpid() % 100000}{side}" for side in "ab"]
    ip("link", "add", names[0], "type", "veth", "peer", "name", names[1])
    for name, (namespace, device, address) in zip(names, ends, strict=True):
        ip("link", "set", name, "netns", namespace.name)
        namespace.command("link", "set", name, "name", device)
        namespace.command("addr", "add", f"{address}/24", "dev", device, "brd", "+")
        namespace.command("link", "set", device, "up")

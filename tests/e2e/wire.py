"""A network of its own for a tracker, a stock client and any number of `teem`, which lets one transport through.

So whatever they are able and allowed to speak, what arrived has travelled by that.
"""

import itertools
import json

from netns import Namespace
from teem import PEER_PORT

_networks = itertools.count(1)

PLAIN = "0x" + b"\x13BitTorrent prot".hex()
"""What either side of a connection begins with unless it is encrypted; nftables compares 16 bytes at most."""

# Everybody takes peers on one port, and some ask UDP trackers from it. A plain handshake of the client is counted, and
# refused where none may be.
RULES = {
    "TCP": f"""
    ip saddr != {{tracker}} udp dport {PEER_PORT} reject
    ip saddr {{client}} meta l4proto tcp @ih,0,128 {PLAIN} counter name plain""",
    "uTP": f"""
    tcp dport {PEER_PORT} reject with tcp reset""",
    "MSE": f"""
    ip saddr != {{tracker}} udp dport {PEER_PORT} reject
    ip saddr {{client}} meta l4proto tcp @ih,0,128 {PLAIN} counter name plain reject with tcp reset""",
}

TABLE = """
table inet wire {{
  counter plain {{ }}
  chain input {{
    type filter hook input priority filter;{}
  }}
}}
"""


class Wire(Namespace):
    """A namespace with 254 addresses; all of it gets through, or only one of `matrix.TRANSPORTS`.

    No two have the same addresses: libtorrent remembers for a minute what a UDP tracker at an address has told any of
    its sessions.
    """

    def __init__(self, transport=None):
        super().__init__()
        self.network = f"10.99.{next(_networks)}"
        self.hosts = itertools.count(1)
        self.tracker, self.client = self.address(), self.address()
        # On a loopback, an address with its network is all of that network. Who binds to none gets this one: the
        # client, since all others bind to theirs.
        self.command("addr", "add", f"{self.client}/24", "dev", "lo")
        if transport is not None:
            rules = RULES[transport].format(tracker=self.tracker, client=self.client)
            if self.run("nft", "-f", "-", input=TABLE.format(rules), text=True).returncode != 0:
                self.close()
                raise AssertionError("nft does not take the rules")

    def address(self):
        """An address that nobody has yet."""
        return f"{self.network}.{next(self.hosts)}"

    def plain_handshakes(self):
        """How many plain handshakes the client has sent over TCP."""
        listed = self.run("nft", "-j", "list", "counter", "inet", "wire", "plain", capture_output=True, check=True)
        [count] = [each["counter"]["packets"] for each in json.loads(listed.stdout)["nftables"] if "counter" in each]
        return count

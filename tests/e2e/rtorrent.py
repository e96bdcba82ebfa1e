"""rTorrent without a terminal, driven by XML-RPC: one of the `daemons`, where the words are explained."""

import re
import shutil
import socket
import tempfile
import xmlrpc.client
from pathlib import Path

from daemons import Daemon, Download, Refused, from_bits, hashes_of
from proc import wait_for
from teem import PEER_PORT

CONFIG = """
system.daemon.set = true
network.bind_address.set = {address}
network.port_range.set = {port}-{port}
network.port_random.set = no
network.scgi.open_local = {socket}
network.xmlrpc.size_limit.set = 4M
protocol.encryption.set = {encryption}
protocol.pex.set = no
dht.mode.set = disable
trackers.use_udp.set = yes
session.path.set = {state}
throttle.global_up.max_rate.set_kb = {up}
"""


LATER = f"magnet:?xt=urn:btih:{1:040}&tr=http://127.0.0.1:1/announce"
"""A magnet link that leads nowhere."""


def v1_half(source):
    """A magnet link without what is v2's; a torrent file as it is."""
    return re.sub(r"&xt=urn:btmh:\w+", "", str(source))


class Rtorrent(Daemon):
    """rTorrent 0.9."""

    _ENCRYPTION = {
        "TCP": "none",
        "MSE": "allow_incoming,try_outgoing,require,require_RC4",
        None: "allow_incoming,try_outgoing,enable_retry",
    }

    def __init__(self, address, home, namespace, transport=None, up=None):
        program = shutil.which("rtorrent")
        assert program, "rtorrent is missing: run scripts/setup.sh"
        # A path of a socket has a hundred characters at most, and pytest's folders are long.
        self.short = Path(tempfile.mkdtemp(prefix="rtorrent-"))
        self.socket = self.short / "rpc"
        state = Path(home) / "rtorrent"
        state.mkdir(parents=True, exist_ok=True)
        config = Path(home) / "rtorrent.rc"
        config.write_text(
            CONFIG.format(
                address=address,
                port=PEER_PORT,
                socket=self.socket,
                encryption=self._ENCRYPTION[transport],
                state=state,
                # 0 is no limit.
                up=(up or 0) // 1024,
            )
        )
        super().__init__("rtorrent", [program, "-n", "-o", f"import={config}"], home, namespace)

    def version(self):
        """Its version."""
        return self._call("system.client_version")

    def commands(self):
        """The names of all its commands."""
        return "\n".join(self._call("system.listMethods"))

    def _call(self, method, *params):
        body = xmlrpc.client.dumps(params, method).encode()
        head = f"CONTENT_LENGTH\0{len(body)}\0SCGI\x001\0".encode()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.socket))
            connection.sendall(b"%d:%b,%b" % (len(head), head, body))
            with connection.makefile("rb") as reply:
                text = reply.read().partition(b"\r\n\r\n")[2]
        try:
            return xmlrpc.client.loads(text)[0][0]
        except xmlrpc.client.Fault as fault:
            raise Refused(fault.faultString) from None

    def leech(self, source, folder):
        """See `daemons`. Of a hybrid's magnet link it is given the v1 half: it refuses the whole."""
        self._load(v1_half(source), folder)
        key = hashes_of(source)[0].upper()
        # It answers before it has loaded it.
        wait_for(lambda: key in self._call("download_list"), 20, f"{source} in rtorrent", self.process)
        return Download(self, key)

    def takes(self, source, folder):
        """Whether it takes a torrent file or magnet link at all."""
        self._load(str(source), folder)
        # What it is given later it loads later.
        self.leech(LATER, folder)
        return bool({each.upper() for each in hashes_of(source)} & set(self._call("download_list")))

    seed = leech

    def _load(self, source, folder):
        # It makes one folder, not those above it.
        Path(folder).mkdir(parents=True, exist_ok=True)
        where = f'd.directory.set="{folder}"'
        if source.startswith("magnet:"):
            self._call("load.start_verbose", "", source, where)
        else:
            self._call("load.raw_start_verbose", "", xmlrpc.client.Binary(Path(source).read_bytes()), where)

    def complete(self, key):
        """See `daemons.Download`."""
        # While it asks for an info dictionary, that is all there is of it.
        return not self._call("d.is_meta", key) and bool(self._call("d.complete", key))

    def pieces(self, key):
        """See `daemons.Download`."""
        return from_bits(bytes.fromhex(self._call("d.bitfield", key)))

    def describe(self, key):
        """See `daemons.Download`."""
        words = ("complete", "is_meta", "is_active", "is_hash_checking", "bytes_done", "peers_connected", "message")
        return ", ".join(f"{word} {self._call(f'd.{word}', key)!r}" for word in words)

    def close(self):
        """Kills it."""
        super().close()
        shutil.rmtree(self.short, ignore_errors=True)

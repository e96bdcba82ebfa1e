"""Stock clients as daemons that carry many torrents, all behind the same few words.

`seed(torrent, folder)` checks and serves what is in `folder`, `leech(source, folder)` fetches a torrent file or a
magnet link; both return a `Download`. `close()` ends the daemon. Each lives in a network namespace at an address of its
own, finds peers through trackers alone, and speaks one of `matrix.TRANSPORTS` with them: plain TCP, uTP, or TCP under
encryption (MSE) that it insists on, content and all; whatever it likes if none is given. `up` is the most that it sends
a second.
"""

import base64
import functools
import json
import re
import shutil
import subprocess
from pathlib import Path

from aria2c import ARIA2C

import web
from peers import QUIET, lt
from proc import Process, wait_for
from teem import PEER_PORT, ROOT


class Refused(Exception):
    """A client does not take a torrent, or a word of ours."""


class Download:
    """One torrent of a daemon."""

    def __init__(self, daemon, key):
        self.daemon = daemon
        self.key = key

    def complete(self):
        """Whether all of it is there and checked."""
        return self.daemon.complete(self.key)

    def pieces(self):
        """The indexes of the pieces that it has checked."""
        return self.daemon.pieces(self.key)

    def describe(self):
        """How it stands, for a failure message."""
        return f"{self.daemon.describe(self.key)}\n{self.daemon.tail()}"


def from_bits(data):
    """The indexes in a bitfield."""
    return {index for index in range(8 * len(data)) if data[index // 8] & 0x80 >> index % 8}


def hashes_of(source):
    """The info hashes of a torrent file or magnet link, in hexadecimal."""
    source = str(source)
    params = lt.parse_magnet_uri(source) if source.startswith("magnet:") else lt.load_torrent_file(source)
    hashes = params.info_hashes
    return [str(each) for each, has in ((hashes.v1, hashes.has_v1()), (hashes.v2, hashes.has_v2())) if has]


class Daemon:
    """What the clients with a process of their own have in common."""

    writes_pads = True
    """Whether it takes the pads of hybrids for files (BEP 47)."""

    def __init__(self, name, argv, home, namespace, env=None):
        self.namespace = namespace
        self.process = Process(name, argv, home, env=env, namespace=namespace.name)
        wait_for(self._answers, 30, f"answer from {name}", self.process)

    def _answers(self):
        try:
            return self.version()
        except OSError:
            return None

    def ask(self, host, path, body, headers=None, method="POST"):
        """The status and body of an answer over HTTP."""
        return self.namespace.inside(web.request, host, method, path, body=body, headers=headers)

    def takes(self, torrent, folder):
        """Whether it takes a torrent file at all."""
        try:
            self.leech(torrent, folder)
        except Refused:
            return False
        return True

    def tail(self):
        """The ends of its log."""
        return self.process.tail()

    def close(self):
        """Kills it."""
        self.process.kill()


class Libtorrent:
    """libtorrent, inside the test's own process."""

    writes_pads = False
    _ENCRYPTION = {
        "TCP": {"out_enc_policy": int(lt.enc_policy.disabled), "in_enc_policy": int(lt.enc_policy.disabled)},
        "MSE": {
            "out_enc_policy": int(lt.enc_policy.forced),
            "in_enc_policy": int(lt.enc_policy.forced),
            "allowed_enc_level": int(lt.enc_level.rc4),
        },
    }

    def __init__(self, address, home, namespace, transport=None, up=None):
        over = {"tcp": transport != "uTP", "utp": transport in ("uTP", None)}
        settings = dict(QUIET, listen_interfaces=f"{address}:{PEER_PORT}", outgoing_interfaces=address)
        settings |= {f"enable_{way}_{each}": on for each, on in over.items() for way in ("incoming", "outgoing")}
        settings |= self._ENCRYPTION.get(transport, {})
        self.up = up
        self.seen = []
        self.session = namespace.inside(lt.session, settings)

    def _add(self, source, folder):
        source = str(source)
        params = lt.parse_magnet_uri(source) if source.startswith("magnet:") else lt.load_torrent_file(source)
        params.save_path = str(folder)
        params.flags &= ~lt.torrent_flags.auto_managed
        params.flags &= ~lt.torrent_flags.paused
        if self.up is not None:
            params.upload_limit = self.up
        return Download(self, self.session.add_torrent(params))

    seed = leech = _add

    def complete(self, handle):
        """See `Download`. Its last pieces may still be on their way to the file."""
        status = handle.status()
        if status.is_seeding:
            handle.flush_cache()
        return status.is_seeding

    @staticmethod
    def version():
        """Its version."""
        return lt.__version__

    def pieces(self, handle):
        """See `Download`."""
        return {index for index, here in enumerate(handle.status().pieces) if here}

    def describe(self, handle):
        """See `Download`."""
        status = handle.status()
        return f"{status.state} {status.progress:.3f} peers {status.num_peers} error {status.errc.message()!r}"

    def tail(self):
        """Its last alerts."""
        self.seen += [f"{alert.what()}: {alert.message()}" for alert in self.session.pop_alerts()]
        return "\n".join(self.seen[-60:])

    def close(self):
        """Ends the session."""
        del self.session


class Aria2(Daemon):
    """aria2 1.37, driven by JSON-RPC."""

    def __init__(self, address, home, namespace, transport=None, up=None):
        argv = [ARIA2C, f"--interface={address}", f"--listen-port={PEER_PORT}", "--no-conf=true", "--enable-rpc=true"]
        # It speaks to UDP trackers through the socket of its DHT only; nobody else is told of it.
        argv += ["--enable-dht=true", f"--dht-listen-port={PEER_PORT + 1}", f"--dht-file-path={home}/aria2.dht"]
        argv += ["--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--disable-ipv6=true"]
        argv += ["--file-allocation=none", "--bt-save-metadata=false", "--rpc-save-upload-metadata=false"]
        argv += ["--max-concurrent-downloads=100", "--seed-ratio=0.0", "--bt-max-peers=0", "--enable-color=false"]
        argv += ["--console-log-level=info", "--summary-interval=0"]
        if transport == "MSE":
            argv.append("--bt-force-encryption=true")
        if up is not None:
            argv.append(f"--max-upload-limit={up}")
        super().__init__("aria2", argv, home, namespace)

    def version(self):
        """Its version."""
        return self._call("getVersion")["version"]

    @staticmethod
    def options():
        """The names and meanings of all its options."""
        return subprocess.run([ARIA2C, "--help=#all"], capture_output=True, text=True, check=True).stdout

    def _call(self, method, *params):
        body = json.dumps({"jsonrpc": "2.0", "id": "1", "method": f"aria2.{method}", "params": params})
        _, reply = self.ask("127.0.0.1:6800", "/jsonrpc", body)
        reply = json.loads(reply)
        if "error" in reply:
            raise Refused(reply["error"]["message"])
        return reply["result"]

    def leech(self, source, folder, **options):
        """See the module."""
        options["dir"] = str(folder)
        if str(source).startswith("magnet:"):
            return Download(self, self._call("addUri", [source], options))
        torrent = base64.b64encode(Path(source).read_bytes()).decode()
        return Download(self, self._call("addTorrent", torrent, [], options))

    def seed(self, torrent, folder):
        """See the module."""
        return self.leech(torrent, folder, **{"check-integrity": "true"})

    def _status(self, key):
        status = self._call("tellStatus", key)
        # What a magnet link names is a download of its own, once its info dictionary is here.
        return self._call("tellStatus", status["followedBy"][0]) if "followedBy" in status else status

    def complete(self, key):
        """See `Download`."""
        status = self._status(key)
        return status.get("seeder") == "true" and status["completedLength"] == status["totalLength"] != "0"

    def pieces(self, key):
        """See `Download`."""
        return from_bits(bytes.fromhex(self._status(key).get("bitfield", "")))

    def describe(self, key):
        """See `Download`."""
        return json.dumps({name: value for name, value in self._status(key).items() if name != "files"})


class Transmission(Daemon):
    """Transmission 4, driven by its RPC."""

    _PORT = 9091
    # 0: tolerated, 1: preferred, 2: required.
    _ENCRYPTION = {"TCP": 0, "uTP": 0, "MSE": 2}
    _STOPPED, _SEEDS = 0, 6

    def __init__(self, address, home, namespace, transport=None, up=None):
        self.host = f"{address}:{self._PORT}"
        self.session = ""
        state = Path(home) / "transmission"
        state.mkdir(parents=True, exist_ok=True)
        (state / "settings.json").write_text(json.dumps(self._settings(address, state, transport, up)))
        argv = [transmission("daemon"), "--foreground", "--config-dir", state, "--log-info"]
        super().__init__("transmission", argv, home, namespace)

    def _settings(self, address, state, transport, up):
        return {
            "bind-address-ipv4": address,
            "peer-port": PEER_PORT,
            "rpc-bind-address": address,
            "rpc-port": self._PORT,
            "rpc-whitelist-enabled": False,
            "rpc-host-whitelist-enabled": False,
            "download-dir": str(state),
            "dht-enabled": False,
            "lpd-enabled": False,
            "pex-enabled": False,
            "port-forwarding-enabled": False,
            "utp-enabled": transport in ("uTP", None),
            "tcp-enabled": transport != "uTP",
            "encryption": self._ENCRYPTION.get(transport, 1),
            "download-queue-enabled": False,
            "seed-queue-enabled": False,
            "ratio-limit-enabled": False,
            "speed-limit-up-enabled": up is not None,
            "speed-limit-up": (up or 0) // 1000,
        }

    def version(self):
        """Its version."""
        return self._call("session-get")["version"].split()[0]

    def _call(self, method, **arguments):
        body = json.dumps({"method": method, "arguments": arguments})
        while True:
            status, reply = self.ask(self.host, "/transmission/rpc", body, {"X-Transmission-Session-Id": self.session})
            if status != 409:
                break
            self.session = re.search(rb"X-Transmission-Session-Id: (\w+)", reply)[1].decode()
        reply = json.loads(reply)
        if reply["result"] != "success":
            raise Refused(reply["result"])
        return reply["arguments"]

    def leech(self, source, folder, paused=False):
        """See the module."""
        if str(source).startswith("magnet:"):
            what = {"filename": source}
        else:
            what = {"metainfo": base64.b64encode(Path(source).read_bytes()).decode()}
        added = self._call("torrent-add", **what, **{"download-dir": str(folder), "paused": paused})
        return Download(self, added["torrent-added"]["hashString"])

    def seed(self, torrent, folder):
        """See the module."""
        download = self.leech(torrent, folder, paused=True)
        self._call("torrent-verify", ids=[download.key])
        # Were it started sooner, it would tell the tracker that it lacks everything.
        checked = lambda: self._has_all(self._status(download.key), self._STOPPED)  # noqa: E731
        wait_for(checked, 30, "check by transmission", self.process)
        self._call("torrent-start", ids=[download.key])
        return download

    def _status(self, key):
        fields = ["status", "percentDone", "metadataPercentComplete", "pieces", "errorString", "peersConnected"]
        [status] = self._call("torrent-get", ids=[key], fields=fields)["torrents"]
        return status

    @staticmethod
    def _has_all(status, state):
        return status["metadataPercentComplete"] == 1 and status["percentDone"] == 1 and status["status"] == state

    def complete(self, key):
        """See `Download`."""
        return self._has_all(self._status(key), self._SEEDS)

    def pieces(self, key):
        """See `Download`."""
        return from_bits(base64.b64decode(self._status(key)["pieces"]))

    def describe(self, key):
        """See `Download`."""
        return json.dumps(self._status(key))


@functools.cache
def transmission(program):
    """The path of one of Transmission's programs: what scripts/transmission.sh unpacked, or else the system's."""
    unpacked = ROOT / ".peers" / "transmission" / "bin" / f"transmission-{program}"
    path = unpacked if unpacked.exists() else shutil.which(unpacked.name)
    version = subprocess.run([path, "--version"], stderr=subprocess.PIPE, text=True).stderr if path else ""
    found = re.match(r"\S+ ([4-9]|\d\d+)\.", version)
    assert found, f"{unpacked.name} 4 is missing: run scripts/setup.sh ({version!r})"
    return str(path)

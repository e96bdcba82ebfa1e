"""qBittorrent without its window, driven by its Web API: one of the `daemons`, where the words are explained."""

import json
import shutil
from pathlib import Path
from urllib.parse import urlencode

from daemons import Daemon, Download, Refused, hashes_of
from proc import wait_for
from teem import PEER_PORT

API = "127.0.0.1:8080"
"""Where it answers: each has a namespace, and so this address, to itself."""

CONFIG = r"""
[LegalNotice]
Accepted=true

[Network]
PortForwardingEnabled=false

[Preferences]
WebUI\Address=127.0.0.1
WebUI\Port=8080
WebUI\LocalHostAuth=false
WebUI\CSRFProtection=false
WebUI\HostHeaderValidation=false
WebUI\UseUPnP=false
Connection\ResolvePeerCountries=false
General\Locale=en

[BitTorrent]
Session\Port={port}
Session\InterfaceAddress={address}
Session\BTProtocol={protocol}
Session\Encryption={encryption}
Session\DHTEnabled=false
Session\LSDEnabled=false
Session\PeXEnabled=false
Session\QueueingSystemEnabled=false
Session\MultiConnectionsPerIp=true
Session\IgnoreLimitsOnLAN=false
Session\Preallocation=false
"""

BOUNDARY = "teem-teem-teem-teem"


class QBittorrent(Daemon):
    """qBittorrent, with Debian's libtorrent 2.0."""

    writes_pads = False
    _PROTOCOL = {"TCP": "TCP", "uTP": "UTP", "MSE": "TCP", None: "Both"}
    # 0: preferred, 1: required, 2: off.
    _ENCRYPTION = {"TCP": 2, "uTP": 2, "MSE": 1, None: 0}
    _HAS_ALL = {"uploading", "stalledUP", "forcedUP"}

    def __init__(self, address, home, namespace, transport=None, up=None):
        program = shutil.which("qbittorrent-nox")
        assert program, "qbittorrent-nox is missing: run scripts/setup.sh"
        self.up = up
        profile = Path(home) / "qbittorrent"
        config = profile / "qBittorrent" / "config" / "qBittorrent.conf"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(
            CONFIG.format(
                port=PEER_PORT,
                address=address,
                protocol=self._PROTOCOL[transport],
                encryption=self._ENCRYPTION[transport],
            )
        )
        # Qt writes file names as the locale says.
        env = {"HOME": str(profile), "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}
        super().__init__("qbittorrent", [program, f"--profile={profile}"], home, namespace, env)

    def version(self):
        """Its version."""
        return self._call("app/version").decode()

    def _call(self, method, body=None, headers=None, **fields):
        if body is None:
            body, headers = urlencode(fields), {"Content-Type": "application/x-www-form-urlencoded"}
        status, reply = self.ask(API, f"/api/v2/{method}", body, headers)
        if status != 200:
            raise Refused(f"{method}: {status} {reply!r}")
        return reply

    def leech(self, source, folder):
        """See `daemons`."""
        fields = {"savepath": str(folder), "autoTMM": "false", "root_folder": "true", "contentLayout": "Original"}
        if self.up is not None:
            fields["upLimit"] = str(self.up)
        if str(source).startswith("magnet:"):
            fields["urls"] = str(source)
            body = form(fields)
        else:
            body = form(fields, torrents=Path(source).read_bytes())
        reply = self._call("torrents/add", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
        if reply != b"Ok.":
            raise Refused(repr(reply))
        hashes = set(hashes_of(source))
        # It answers before it has added it; and which of a hybrid's hashes it calls it by is its own affair.
        return Download(self, wait_for(lambda: self._key(hashes), 20, f"{source} in qbittorrent", self.process))

    seed = leech

    def _key(self, hashes):
        for each in json.loads(self._call("torrents/info")):
            if hashes & {each["infohash_v1"], each["infohash_v2"]}:
                return each["hash"]
        return None

    def _info(self, key):
        [info] = json.loads(self._call("torrents/info", hashes=key))
        return info

    def complete(self, key):
        """See `daemons.Download`."""
        info = self._info(key)
        return info["progress"] == 1 and info["state"] in self._HAS_ALL

    def pieces(self, key):
        """See `daemons.Download`."""
        states = json.loads(self._call("torrents/pieceStates", hash=key))
        return {index for index, state in enumerate(states) if state == 2}

    def describe(self, key):
        """See `daemons.Download`."""
        return json.dumps(self._info(key))


def form(fields, **files):
    """The body of a form with files."""
    parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    parts += [(f'name="{name}"; filename="{name}.torrent"', data) for name, data in files.items()]
    body = b""
    for names, data in parts:
        body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; {names}\r\n\r\n".encode() + data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()

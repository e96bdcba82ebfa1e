"""rqbit's rows of the matrix. Cargo must build it: scripts/beside-ci does, CI does not.

The name keeps it out of what pytest collects by itself.
"""

import json
import os
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest

from cells import Row, never_says, refuses_v2
from daemons import Daemon, Download, Refused
from matrix import TRANSPORTS
from peers import lt
from proc import wait_for
from teem import PEER_PORT, ROOT

API = "127.0.0.1:3030"

CANNOT = {
    ("rqbit", "v2"): ("it knows v1 alone", refuses_v2),
    ("rqbit", "MSE"): ("none of its options is about encryption", lambda row: never_says("encrypt(ion|ed)?", help_text())),
}
"""Why there are no cells of a transport or a format, and how to see that this is still so."""

pytestmark = pytest.mark.root


def program():
    """Where it was built."""
    path = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "peers" / "bin" / "rqbit"
    assert path.exists(), f"{path} is missing: scripts/beside-ci builds it"
    return path


def help_text():
    """All that it says of its options."""
    return subprocess.run([program(), "--help"], capture_output=True, text=True, check=True).stdout


class Rqbit(Daemon):
    """rqbit's server, driven by its HTTP API: one of the `daemons`, where the words are explained."""

    writes_pads = False

    def __init__(self, address, home, namespace, transport=None, up=None):
        self.folder = Path(home) / "rqbit"
        argv = [program(), "--disable-dht", "--disable-lsd", "--disable-upnp-port-forward", "-v", "info", "-i", "2s"]
        argv += ["--listen-ip", address, "--listen-port", PEER_PORT]
        if transport == "uTP":
            argv += ["--experimental-enable-utp-listen", "--disable-tcp-listen", "--disable-tcp-connect"]
        argv += ["server", "start", "--disable-persistence", self.folder]
        super().__init__("rqbit", argv, home, namespace)

    def version(self):
        """Its version."""
        return json.loads(self._call("GET", "/"))["version"]

    def _call(self, method, path, body=None):
        status, reply = self.ask(API, path, body, method=method)
        if status != 200:
            raise Refused(f"{path}: {status} {reply!r}")
        return reply

    def _add(self, source, **options):
        body = source if str(source).startswith("magnet:") else Path(source).read_bytes()
        return json.loads(self._call("POST", f"/torrents?{urlencode({'overwrite': 'true', **options})}", body))

    def leech(self, source, folder):
        """See `daemons`."""
        added = self._add(source)
        # It knows the name only now, and puts nothing where somebody wants it without that.
        name = added["details"]["name"]
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / name).symlink_to(added["output_folder"])
        return Download(self, added["details"]["info_hash"])

    def seed(self, torrent, folder):
        """See `daemons`."""
        added = self._add(torrent, output_folder=Path(folder) / lt.torrent_info(str(torrent)).name())
        download = Download(self, added["details"]["info_hash"])
        wait_for(download.complete, 30, "check by rqbit", self.process)
        return download

    def complete(self, key):
        """See `daemons.Download`."""
        return json.loads(self._call("GET", f"/torrents/{key}/stats/v1"))["finished"]

    def describe(self, key):
        """See `daemons.Download`."""
        return self._call("GET", f"/torrents/{key}/stats/v1").decode()


@pytest.mark.parametrize("transport", [each for each in TRANSPORTS if ("rqbit", each) not in CANNOT])
def test_content_is_equal_in_every_cell(teem, folder, cleanup, matrix, transport):
    Row(teem, folder, cleanup, "rqbit", Rqbit, transport).check(matrix, CANNOT)


def test_what_rqbit_cannot_do_it_still_cannot(teem, folder, cleanup, matrix):
    Row(teem, folder, cleanup, "rqbit", Rqbit, "TCP").check_reasons(matrix, CANNOT)

"""Stock BitTorrent clients with one torrent each, behind the same few words; `daemons` has those with many.

`seed(torrent, folder)` serves what is in `folder`, `leech(source, folder)` fetches, `wait_done()`
waits for all of it, `close()` ends it. Each peer has an address of its own.
"""

import os
from pathlib import Path

import libtorrent as lt
from aria2c import ARIA2C

from proc import Process, wait_for
from teem import PEER_PORT


QUIET = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "allow_multiple_connections_per_ip": True,
    "webtorrent_stun_server": "",
    "dht_bootstrap_nodes": "",
    "announce_to_all_trackers": True,
    "announce_to_all_tiers": True,
    "alert_mask": 0xFFFFFFF & ~lt.alert.category_t.stats_notification,
    "alert_queue_size": 10_000,
    "stop_tracker_timeout": 1,
}


def make_torrent(path, out, format="hybrid", piece_length=0, trackers=()):
    """Makes a torrent file of `path` with libtorrent, and returns its `torrent_info`."""
    path = Path(path)
    flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[format]
    flags |= lt.create_torrent.symlinks
    torrent = lt.create_torrent(lt.list_files(str(path), flags=flags), piece_length, flags)
    for url in trackers:
        torrent.add_tracker(url)
    lt.set_piece_hashes(torrent, str(path.parent))
    Path(out).write_bytes(lt.bencode(torrent.generate()))
    return lt.torrent_info(str(out))


def with_trackers(torrent, out, *tiers):
    """Writes the same torrent with these trackers only, one a tier; the info dictionary's bytes stay."""
    value = lt.bdecode(torrent)
    for key in (b"announce", b"announce-list"):
        value.pop(key, None)
    if tiers:
        value[b"announce-list"] = [[url.encode()] for url in tiers]
    out.write_bytes(lt.bencode(value))
    return out


def with_tracker(torrent, out, announce):
    """Writes the same torrent with one tracker, where clients look that know no tiers."""
    value = lt.bdecode(with_trackers(torrent, out).read_bytes())
    value[b"announce"] = announce.encode()
    out.write_bytes(lt.bencode(value))
    return out


class LibtorrentPeer:
    """libtorrent, over TCP only, inside the test's own process."""

    def __init__(self, address, **settings):
        self.address = address
        values = dict(QUIET, listen_interfaces=f"{address}:{PEER_PORT}", outgoing_interfaces=address)
        self.session = lt.session(dict(values, **settings))
        self.handle = None
        self.seen = []

    def _add(self, source, folder, trackers, flags=0):
        source = str(source)
        params = lt.parse_magnet_uri(source) if source.startswith("magnet:") else lt.load_torrent_file(source)
        params.save_path = str(folder)
        if trackers:
            params.trackers = list(trackers)
        params.flags &= ~lt.torrent_flags.auto_managed
        params.flags &= ~lt.torrent_flags.paused
        params.flags |= flags
        self.handle = self.session.add_torrent(params)
        return self

    def seed(self, torrent, folder, trackers=(), timeout=120):
        """Checks and serves the content in `folder`; returns when it is checked."""
        self._add(torrent, folder, trackers)
        wait_for(lambda: self.handle.status().is_seeding, timeout, f"libtorrent's check: {self.describe()}")
        return self

    def leech(self, source, folder, trackers=()):
        """Fetches a torrent file or a magnet link into `folder`."""
        return self._add(source, folder, trackers)

    def connect(self, address, port=PEER_PORT):
        """Dials a peer by hand."""
        self.handle.connect_peer((address, port))

    def alerts(self):
        """All alerts so far, as text."""
        self.seen += [f"{alert.what()}: {alert.message()}" for alert in self.session.pop_alerts()]
        return self.seen

    def describe(self):
        """How the torrent stands, for a failure message."""
        status = self.handle.status()
        return f"{status.state} {status.progress:.3f} peers {status.num_peers} error {status.errc.message()!r}"

    def wait_done(self, timeout=120):
        """Waits until all is there and verified."""
        try:
            wait_for(lambda: self.handle.status().is_seeding, timeout, "complete download by libtorrent")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.describe()}\n" + "\n".join(self.alerts()[-60:])) from None
        # It calls a torrent complete while its last pieces are still on their way to the file.
        self.alerts()
        seen = len(self.seen)
        self.handle.flush_cache()
        wait_for(
            lambda: any(line.startswith("cache_flushed") for line in self.alerts()[seen:]), 30, "flush by libtorrent"
        )
        return self

    def failed_bytes(self):
        """Bytes that it received and found wrong."""
        return self.handle.status().total_failed_bytes

    def uploaded(self):
        """Payload bytes that it sent."""
        return self.handle.status().total_payload_upload

    def close(self):
        """Ends the session."""
        if self.session is not None:
            self.handle = None
            del self.session
            self.session = None


class Aria2Peer:
    """aria2, v1 only; 1.37, since 1.36 takes a wrong info hash from a hybrid torrent file (its issue 1903)."""

    def __init__(self, address, logs, namespace=None, extra=()):
        self.address = address
        self.logs = Path(logs)
        self.namespace = namespace
        self.extra = extra
        self.process = None

    def _run(self, torrent, folder, *more):
        assert os.access(ARIA2C, os.X_OK), f"{ARIA2C} is missing: remove .venv and run scripts/setup.sh"
        self.process = Process(
            f"aria2-{self.address}",
            [
                ARIA2C,
                f"--interface={self.address}",
                f"--listen-port={PEER_PORT}",
                "--no-conf=true",
                # It speaks to UDP trackers through the socket of its DHT only; nobody else is told of it.
                "--enable-dht=true",
                f"--dht-listen-port={PEER_PORT + 1}",
                f"--dht-file-path={self.logs}/aria2-{self.address}.dht",
                "--enable-dht6=false",
                "--bt-enable-lpd=false",
                "--enable-peer-exchange=false",
                "--bt-save-metadata=false",
                "--bt-max-peers=0",
                "--disable-ipv6=true",
                "--file-allocation=none",
                "--bt-tracker-interval=2",
                "--summary-interval=5",
                "--console-log-level=info",
                "--enable-color=false",
                f"--dir={folder}",
                *self.extra,
                *more,
                str(torrent),
            ],
            self.logs,
            namespace=self.namespace and self.namespace.name,
        )
        return self

    def seed(self, torrent, folder, trackers=()):
        """Checks and serves the content in `folder`."""
        return self._run(torrent, folder, "--check-integrity=true", "--seed-ratio=0.0", *self._trackers(trackers))

    def leech(self, source, folder, trackers=(), stay=False):
        """Fetches into `folder` and ends, or goes on as a seeder."""
        end = "--seed-ratio=0.0" if stay else "--seed-time=0"
        return self._run(source, folder, end, *self._trackers(trackers))

    @staticmethod
    def _trackers(trackers):
        return [f"--bt-tracker={','.join(trackers)}"] if trackers else []

    def wait_done(self, timeout=120):
        """Waits until it has fetched all of it."""
        assert self.process.wait(timeout) == 0, self.process.tail()
        return self

    def close(self):
        """Kills it."""
        if self.process is not None:
            self.process.kill()

"""The cells of the matrix: transfers between Teem and a stock client, many side by side.

Teem's own tracker is the only way to find each other, and Teem's flags are left at what they are: the client's settings
and the network (`wire`) decide on the transport.
"""

import re
import time

import bep3
import catalogue
from content import MIB, differences, manifest, random_file
from daemons import Aria2, Libtorrent, Transmission
from matrix import FORMATS, ROLES, SOURCES
from peers import lt, make_torrent
from proc import wait_for
from qbittorrent import QBittorrent
from rtorrent import Rtorrent
from teem import EXIT_DONE
from wire import Wire

DAEMONS = {
    "libtorrent": Libtorrent,
    "qBittorrent": QBittorrent,
    "Transmission": Transmission,
    "aria2": Aria2,
    "rTorrent": Rtorrent,
}

PIECE_LENGTH = 64 * 1024
SIZES = (100_000, 1, 0, PIECE_LENGTH, MIB + 5, 16_385)
"""Files that end in mid-piece, so that hybrids have pads, and an empty one."""

SECONDS_MAX = 90
"""Within this time all cells of a row are through."""


def remove_pads(root):
    """Removes the pad files that some clients write (BEP 47)."""
    pads = root / ".pad"
    if pads.exists():
        for path in pads.iterdir():
            path.unlink()
        pads.rmdir()


def write_pads(info, folder):
    """Writes the pads of a torrent as files, for clients that take them for such."""
    files = info.layout()
    for index in range(files.num_files()):
        if files.file_flags(index) & lt.file_storage.flag_pad_file:
            path = folder / files.file_path(index)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(files.file_size(index)))


def link(torrent, tracker):
    """The magnet link of a torrent file: hashes and tracker, nothing else."""
    hashes = lt.torrent_info(str(torrent)).info_hashes()
    topics = [f"xt=urn:btih:{hashes.v1}"] if hashes.has_v1() else []
    topics += [f"xt=urn:btmh:1220{hashes.v2}"] if hashes.has_v2() else []
    return f"magnet:?{'&'.join(topics)}&tr={tracker.udp}"


def refuses_v2(row):
    """Whether the client takes no torrent that is v2 alone."""
    return not row.daemon.takes(row.made("v2"), row.folder / "out")


def never_says(word, text):
    """Whether a word is nowhere in a text; as a part of another one it does not count."""
    return not re.search(f"(?<![a-z]){word}(?![a-z])", text.lower())


class Row:
    """A client over one transport, in a network of its own."""

    def __init__(self, teem, folder, cleanup, client, daemon, transport):
        self.teem, self.folder = teem, folder
        self.client, self.transport = client, transport
        self.wire = Wire(transport)
        cleanup(self.wire)
        self.tracker = teem.tracker(ip=self.wire.tracker, namespace=self.wire.name)
        home = folder / "client"
        home.mkdir()
        self.daemon = daemon(self.wire.client, home, self.wire, transport)
        cleanup(self.daemon)

    def made(self, format):
        """A torrent file of its own."""
        torrent = self.folder / f"made {format}.torrent"
        make_torrent(self.content(torrent.stem), torrent, format, PIECE_LENGTH, [self.tracker.http])
        return torrent

    def content(self, name):
        """A tree that no other is like."""
        root = self.folder / "source" / name
        for number, size in enumerate(SIZES):
            random_file(root / f"süb {number % 2}" / f"file {number}.bin", size, seed=f"{name} {number}")
        return root

    def check(self, matrix, cannot):
        """Runs all cells that the client can have, side by side, and notes what came of each."""
        formats = [format for format in FORMATS if (self.client, format) not in cannot]
        matrix.expect(self.client, self.transport, formats)
        matrix.versions[self.client] = self.daemon.version()
        cells = [KINDS[role](self, format, source) for role in ROLES for format in formats for source in SOURCES]
        deadline = time.monotonic() + SECONDS_MAX
        for cell in cells:
            cell.begin()
        for cell in cells:
            cell.go_on()
        troubles = {cell: cell.outcome(deadline) for cell in cells}
        # That it was uTP needs no look: nothing else gets through.
        if self.transport != "uTP":
            assert (self.wire.plain_handshakes() > 0) == (self.transport == "TCP")
        for cell, trouble in troubles.items():
            if trouble is None:
                matrix.passed(self.client, self.transport, cell)
        assert not any(troubles.values()), "\n".join(filter(None, troubles.values()))

    def check_reasons(self, matrix, cannot):
        """Holds what the client is said not to be able to do against what it does, and notes the reasons."""
        for (client, what), (reason, holds) in cannot.items():
            if client == self.client:
                assert holds(self), f"{client} and {what}: it is not so by now that {reason}"
                matrix.reasons[client, what] = reason


class Cell:
    """One transfer; all are begun before any goes on."""

    role = None

    def __init__(self, row, format, source):
        self.row, self.format, self.source = row, format, source
        self.name = f"{self.role} {format} {source}"
        self.content = row.content(self.name)
        self.wanted = manifest(self.content)
        self.torrent = row.folder / f"{self.name}.torrent"
        self.out = row.folder / "out" / self.name

    def given(self):
        """What the one that fetches is given."""
        return self.torrent if self.source == "file" else link(self.torrent, self.row.tracker)

    def outcome(self, deadline):
        """What went wrong, if anything did."""
        try:
            self.finish(max(1, deadline - time.monotonic()))
        except AssertionError as error:
            return f"=== {self.name}: {error}"
        return None

    def differences(self):
        """How what has arrived differs from what was sent."""
        return differences(manifest(self.out / self.name), self.wanted)


class Seeds(Cell):
    """The client seeds, Teem fetches."""

    role = "seeds"

    def begin(self):
        """Has the client check the content and announce it."""
        info = make_torrent(self.content, self.torrent, self.format, PIECE_LENGTH, [self.row.tracker.http])
        if self.row.daemon.writes_pads:
            write_pads(info, self.content.parent)
        hashes = info.info_hashes()
        self.info_hash = (hashes.v1 if hashes.has_v1() else hashes.v2).to_bytes()[:20]
        self.download = self.row.daemon.seed(self.torrent, self.content.parent)

    def go_on(self):
        """Starts Teem when the tracker knows the client for a seeder."""
        row = self.row
        try:
            wait_for(self.is_announced, 60, f"announce of {self.name}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.download.describe()}") from None
        self.get = row.teem.get(self.given(), self.out, ip=row.wire.address(), namespace=row.wire.name)

    def is_announced(self):
        """Whether the tracker knows of a seeder."""
        files = self.row.wire.inside(bep3.scraped, self.row.tracker.host, self.info_hash)
        return files.get(self.info_hash, {}).get(b"complete", 0) > 0

    def finish(self, timeout):
        """Waits for the end of Teem, and compares."""
        try:
            status = self.get.wait(timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.download.describe()}") from None
        assert status == EXIT_DONE, f"{self.get.tail()}\n{self.download.describe()}"
        lines = self.differences()
        assert not lines, "\n".join(lines)


class Leeches(Cell):
    """Teem seeds, the client fetches."""

    role = "leeches"

    def begin(self):
        """Starts Teem."""
        row = self.row
        extra = ["--format", self.format, "--piece-length", "64K"]
        where = {"ip": row.wire.address(), "namespace": row.wire.name}
        self.share = row.teem.share(self.content, row.tracker, extra=extra, wait=False, **where)

    def go_on(self):
        """Starts the client with Teem's torrent file, or a magnet link."""
        row = self.row
        self.share.ready(60)
        self.torrent.write_bytes(row.wire.inside(catalogue.torrent, row.tracker, self.name))
        self.download = row.daemon.leech(self.given(), self.out)

    def finish(self, timeout):
        """Waits until the client has all of it, on disk, too."""
        try:
            wait_for(self.download.complete, timeout, f"complete {self.name}")
            if self.row.daemon.writes_pads:
                remove_pads(self.out / self.name)
            wait_for(lambda: not self.differences(), 10, f"the same content as {self.name}")
        except AssertionError as error:
            lines = "\n".join(self.differences()[:10])
            raise AssertionError(f"{error}\n{lines}\n{self.download.describe()}\n{self.share.tail()}") from None


KINDS = {"seeds": Seeds, "leeches": Leeches}

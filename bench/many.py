"""Very many torrents in one process, and very many files in one torrent: how soon they are there, what they take.

Goals: 5,000 torrents from a folder within 10 s, then idle below 300 MiB and 2 % of a core. Twice as many are measured,
too. "Idle" are twenty seconds that begin twenty seconds after all were there, when each has announced itself once.
"""

import json
import os
import random
import shutil
import tempfile
import time
import traceback
from pathlib import Path
from statistics import median

import libtorrent as lt
from clients import ROOT, kind
from measure import Child

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TEEM = Path(os.environ.get("TEEM_BIN", TARGET / "release" / "teem"))
ADDRESS = "127.66.1.1"
TRACKER, PEERS = f"{ADDRESS}:6969", f"{ADDRESS}:6881"
MIB = 1 << 20
TORRENTS = (5_000, 10_000)
FILES = 100_000
TORRENT_LEN, FILE_LEN = 40_000, 300
START_SECS_MAX, MEMORY_MIB_MAX, IDLE_MAX = 10, 300, 0.02
SETTLING_SECS, IDLE_SECS = 20, 20
PATIENCE_SECS = 300
ROUNDS_MAX = 3


class ManyBench:
    """Runs them and keeps a row a run."""

    def __init__(self, options):
        self.options = options
        self.rows = []
        self.errors = []
        self.work = Path(tempfile.mkdtemp(prefix="teem-bench-many-", dir=options.tmpfs))

    def close(self):
        """Removes all files."""
        shutil.rmtree(self.work, ignore_errors=True)

    def run(self):
        """Every case, some rounds each."""
        scale = 10 if self.options.quick else 1
        cases = [(self._torrents, count // scale) for count in TORRENTS] + [(self._files, FILES // scale)]
        for case, count in cases:
            for _ in range(min(self.options.rounds, ROUNDS_MAX)):
                try:
                    self.rows += case(count)
                except Exception as error:  # as in the other suites
                    traceback.print_exc()
                    self.errors.append(f"many, {count}: {error}")

    def _torrents(self, count):
        """One start in which everything is hashed, and one in which all of it is known."""
        root = self.work / f"torrents-{count}"
        if not root.exists():
            make_torrents(root, count)
        state = root / "state"
        shutil.rmtree(state, ignore_errors=True)
        for start in ("first start", "next start"):
            with Tracker(self.work) as _:
                argv = ["daemon", "--torrents", root / "torrents", "-o", root / "content", "--listen", PEERS]
                daemon = teem("daemon", [*argv, "--data", state], self.work)
                try:
                    at, _ = daemon.wait_line(lambda line: kind(line) == "ready", PATIENCE_SECS, "ready")
                    time.sleep(SETTLING_SECS)
                    used, began = daemon.cpu(), time.perf_counter()
                    time.sleep(IDLE_SECS)
                    idle = (daemon.cpu() - used) / (time.perf_counter() - began)
                    row = {"what": f"{count} torrents", "case": start, "secs": at - daemon.started_at, "idle": idle}
                    row["memory"] = daemon.resident_peak
                    row["descriptors"] = len(os.listdir(f"/proc/{daemon.pid}/fd"))
                    yield row
                finally:
                    daemon.kill() if start == "next start" else end(daemon)

    def _files(self, count):
        """A torrent of that many files is made, shared and fetched."""
        source = self.work / f"files-{count}"
        if not source.exists():
            make_files(source, count)
        folders = [self.work / name for name in ("sharing", "getting", "out")]
        try:
            with Tracker(self.work) as _:
                share = teem("share", ["share", source, *peer(folders[0], 1), "--format", "v2"], self.work)
                at, _ = share.wait_line(lambda line: kind(line) == "ready", PATIENCE_SECS, "ready")
                get = teem("get", ["get", source.name, "-o", folders[2], "--exit", *peer(folders[1], 2)], self.work)
                get.wait_end(PATIENCE_SECS)
                what = f"{count} files"
                yield {"what": what, "case": "share", "secs": at - share.started_at, "memory": share.resident_peak}
                yield {"what": what, "case": "get", "secs": get.ended_at - get.started_at, "memory": get.resident_peak}
                share.kill()
        finally:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)


class Tracker:
    """A tracker of Teem's that knows nothing yet."""

    def __init__(self, work):
        self.work, self.state = work, work / "tracker"

    def __enter__(self):
        shutil.rmtree(self.state, ignore_errors=True)
        argv = ["tracker", "--listen", TRACKER, "--admin-listen", "off", "--json-listen", "off", "--data", self.state]
        self.child = teem("tracker", argv, self.work)
        self.child.wait_line(lambda line: kind(line) == "ready", PATIENCE_SECS, "ready")
        return self

    def __exit__(self, *_):
        self.child.kill()


def peer(state, number):
    """Where a peer keeps its state, listens, and asks."""
    return ["--data", state, "--listen", f"{ADDRESS[:-1]}{number}:6881", "--tracker", TRACKER]


def teem(name, argv, folder):
    """Teem, which looks for nobody."""
    quiet = {"TEEM_LAN": "off", "TEEM_DHT": "off", "TEEM_MAP_PORTS": "off"}
    return Child(name, [TEEM, *argv, "--json"], folder, dict(os.environ, **quiet))


def end(daemon):
    """As a person ends it, so that it leaves all in good order."""
    os.kill(daemon.pid, 15)
    daemon.ended.wait(PATIENCE_SECS)


def make_torrents(root, count):
    """Hybrid torrents of one small file each, and their files."""
    content = root / "content"
    for folder in (content, root / "torrents"):
        folder.mkdir(parents=True)
    rng = random.Random(1)
    for number in range(count):
        file = content / f"file-{number:05}.bin"
        file.write_bytes(rng.randbytes(TORRENT_LEN))
        files = lt.file_storage()
        lt.add_files(files, str(file))
        torrent = lt.create_torrent(files, 16_384)
        torrent.add_tracker(f"http://{TRACKER}/announce")
        lt.set_piece_hashes(torrent, str(content))
        (root / "torrents" / f"{file.name}.torrent").write_bytes(lt.bencode(torrent.generate()))


def make_files(root, count):
    """Small files, a thousand a folder."""
    rng = random.Random(2)
    for number in range(count):
        folder = root / f"{number // 1_000:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06}.bin").write_bytes(rng.randbytes(FILE_LEN + number % 97))


def tables(rows):
    """One line a case."""
    if not rows:
        return
    yield ""
    yield f"{'many':<18}{'case':<14}{'n':>2}{'seconds':>10}{'MiB':>8}{'% of a core, idle':>20}{'descriptors':>13}"
    for what, case in dict.fromkeys((row["what"], row["case"]) for row in rows):
        found = [row for row in rows if (row["what"], row["case"]) == (what, case)]
        line = f"{what:<18}{case:<14}{len(found):>2}{middle(found, 'secs'):>10.2f}{middle(found, 'memory') / MIB:>8.0f}"
        if "idle" in found[0]:
            line += f"{100 * middle(found, 'idle'):>20.2f}{middle(found, 'descriptors'):>13.0f}"
        yield line


def verdicts(rows):
    """One line a goal: met or not, the figure, and the values behind it."""
    found = [row for row in rows if row["what"] == f"{TORRENTS[0]} torrents"]
    if not found:
        return
    yield ""
    goals = (
        ("secs", START_SECS_MAX, 1, "s"),
        ("memory", MEMORY_MIB_MAX * MIB, MIB, "MiB"),
        ("idle", IDLE_MAX, 0.01, "% of a core"),
    )
    for case in ("first start", "next start"):
        for key, most, unit, name in goals:
            values = [row[key] for row in found if row["case"] == case]
            met = "met   " if median(values) <= most else "MISSED"
            raw = json.dumps([round(value / unit, 2) for value in values])
            yield f"{met} {TORRENTS[0]} torrents, {case}: {median(values) / unit:.2f} {name} (at most {most / unit:g}) {raw}"


def middle(rows, key):
    """The median of a column."""
    return median(row[key] for row in rows)

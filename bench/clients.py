"""How the benchmark starts each client as seeder and as leecher, and how it knows that one is done."""

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from measure import Child
from minitracker import MiniTracker

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SEEDER = "127.66.0.1"
PIECE_LENGTH = 512 * 1024
PATIENCE_SECS = 300


@dataclass
class Job:
    """One transfer: what, in which format, from where to where."""

    content: Path
    out: Path
    logs: Path
    format: str
    size: int
    torrent: Path
    tag: str
    piece_length: int = PIECE_LENGTH
    extra: dict = field(default_factory=dict)

    @property
    def road(self):
        """By what it travels: plain TCP, uTP, or a stream of noise."""
        return self.extra.get("road", "tcp")

    @property
    def by_magnet(self):
        """The leecher gets a magnet link and nothing else."""
        return self.extra.get("by_magnet", False)

    def target(self, number):
        """The folder of one leecher."""
        path = self.out / f"leecher{number}"
        path.mkdir(parents=True, exist_ok=True)
        return path


def address(number):
    """The address of one leecher."""
    return f"127.66.0.{10 + number}"


def found(program):
    """Whether a program is installed."""
    return shutil.which(program) is not None


class Libtorrent:
    """libtorrent through its Python binding, each side a process."""

    name = "libtorrent"
    formats = ("v1", "v2", "hybrid")
    roads = ("tcp", "utp", "mse")
    reads_magnets = True
    settled = "written"

    @staticmethod
    def available():
        try:
            import libtorrent
        except ImportError:
            return "the Python package libtorrent is missing"
        return None if libtorrent.version.startswith("2.1") else f"libtorrent {libtorrent.version}, not 2.1"

    def prepare(self, job):
        """Makes the torrent file once."""

    def _run(self, job, role, number, *args):
        road = () if job.road == "tcp" else (f"--{job.road}",)
        argv = [sys.executable, HERE / "lt_peer.py", role, *args, *road]
        child = Child(f"{self.name}-{role}{number}", argv, job.logs)
        return child

    def seed(self, job):
        """Starts a seeder and waits until it has checked the content."""
        child = self._run(job, "seed", "", SEEDER, job.torrent, job.content.parent)
        child.wait_line(lambda line: line == "ready", PATIENCE_SECS, "checked seeder")
        return child

    def leech(self, job, number):
        """Starts a leecher; the start of the interpreter does not count."""
        what = self._magnet(job.torrent) if job.by_magnet else job.torrent
        child = self._run(job, "leech", number, address(number), what, job.target(number), SEEDER)
        child.begin_at, _ = child.wait_line(lambda line: line == "start", PATIENCE_SECS, "start")
        child.begin_cpu = child.cpu()
        return child

    @staticmethod
    def _magnet(torrent):
        import libtorrent

        return libtorrent.make_magnet_uri(libtorrent.torrent_info(str(torrent)))

    def verified(self, child):
        """The moment at which all was verified."""
        return child.wait_line(lambda line: line == "verified", PATIENCE_SECS, "complete download")[0]

    def settle(self, child):
        """The moment at which all was in the files."""
        moment = child.wait_line(lambda line: line == "written", PATIENCE_SECS, "flush")[0]
        child.kill()
        return moment

    def first(self, child):
        """The moment of the first bytes."""
        return child.wait_line(lambda line: line == "first", 5, "first bytes")[0]


class Aria2:
    """aria2, v1 only."""

    name = "aria2"
    formats = ("v1",)
    roads = ("tcp", "mse")
    reads_magnets = False
    settled = "ended"
    common = (
        "--no-conf=true", "--listen-port=6881", "--enable-dht=false", "--enable-dht6=false", "--disable-ipv6=true",
        "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--file-allocation=none", "--bt-max-peers=0",
        "--summary-interval=0", "--show-console-readout=false", "--enable-color=false", "--disk-cache=64M",
        "--bt-request-peer-speed-limit=0",
    )  # fmt: skip

    def __init__(self):
        self.tracker = None

    @staticmethod
    def available():
        return None if found("aria2c") else "aria2c is missing"

    def prepare(self, job):
        """A tracker for both sides: aria2 has no way to name a peer."""
        if self.tracker is None:
            self.tracker = MiniTracker()

    def _run(self, job, role, ip, folder, *args):
        argv = ["aria2c", f"--interface={ip}", f"--dir={folder}", f"--bt-tracker={self.tracker.url}"]
        road = ("--bt-force-encryption=true",) if job.road == "mse" else ()
        return Child(f"{self.name}-{role}", [*argv, *self.common, *road, *args, job.torrent], job.logs)

    def seed(self, job):
        """Starts a seeder and waits until it has checked the content and announced itself."""
        self.tracker.clear()
        child = self._run(job, "seed", SEEDER, job.content.parent, "--check-integrity=true", "--seed-ratio=0.0")
        if not self.tracker.wait_for(SEEDER, PATIENCE_SECS):
            raise RuntimeError(f"aria2 does not announce\n{child.tail()}")
        return child

    def leech(self, job, number):
        """Starts a leecher that ends when it is done."""
        return self._run(job, f"leech{number}", address(number), job.target(number), "--seed-time=0")

    def verified(self, child):
        """The moment at which it said that the download is complete."""
        return child.wait_line(lambda line: "Download complete" in line, PATIENCE_SECS, "complete download")[0]

    def settle(self, child):
        """The moment of its end."""
        child.wait_end(PATIENCE_SECS)
        return child.ended_at

    def first(self, child):
        """The moment of the first writes."""
        return child.first_write_at


class Rqbit:
    """rqbit, v1 only, built by cargo (scripts/bench does it)."""

    name = "rqbit"
    formats = ("v1",)
    roads = ("tcp",)
    reads_magnets = False
    settled = "ended"
    common = ("--disable-dht", "--disable-lsd", "--disable-upnp-port-forward", "--listen-port", "6881", "-v", "info")

    def __init__(self):
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        self.binary = target / "peers" / "bin" / "rqbit"

    def available(self):
        return None if self.binary.exists() else f"{self.binary} is missing: scripts/bench builds it"

    def prepare(self, job):
        """Nothing: a leecher is told its peer."""

    def _run(self, job, role, ip, folder, *args):
        argv = [self.binary, *self.common, "--listen-ip", ip, "download", "--disable-http-api", "-o", folder, *args]
        env = {"PATH": os.environ["PATH"], "HOME": str(job.logs), "NO_COLOR": "1"}
        return Child(f"{self.name}-{role}", [*argv, job.torrent], job.logs, env)

    def seed(self, job):
        """Starts a seeder and waits until it has checked the content."""
        child = self._run(job, "seed", SEEDER, job.content.parent, "--overwrite")
        child.wait_line(lambda line: "Initial check results" in line, PATIENCE_SECS, "checked seeder")
        return child

    def leech(self, job, number):
        """Starts a leecher that ends when it is done."""
        peer = ("--initial-peers", f"{SEEDER}:6881")
        return self._run(job, f"leech{number}", address(number), job.target(number), "--exit-on-finish", *peer)

    def verified(self, child):
        """The moment at which it said that the download is finished."""
        return child.wait_line(lambda line: "finished downloading" in line, PATIENCE_SECS, "finished download")[0]

    def settle(self, child):
        """The moment of its end."""
        child.wait_end(PATIENCE_SECS)
        return child.ended_at

    def first(self, child):
        """The moment of the first writes."""
        return child.first_write_at


class Teem:
    """This project. The leecher finds the content by name."""

    name = "teem"
    formats = ("v1", "v2", "hybrid")
    roads = ("tcp", "utp", "mse")
    reads_magnets = True
    settled = "durable"
    tracker_host = "127.66.0.9:6969"

    def __init__(self):
        self.tracker = None
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        self.binary = Path(os.environ.get("TEEM_BIN", target / "release" / "teem"))

    def available(self):
        return None if self.binary.exists() else f"{self.binary} is missing: cargo build --release -p teem"

    def env(self, folder):
        """No configuration of the person's own, no LAN discovery."""
        return {"PATH": os.environ["PATH"], "HOME": str(folder), "TEEM_LAN": "off", "TEEM_DHT": "off", "TEEM_MAP_PORTS": "off", "NO_COLOR": "1"}

    def run(self, name, job, *args):
        """Starts one process."""
        return Child(f"{self.name}-{name}", [self.binary, *args], job.logs, self.env(job.logs))

    def _ready(self, child):
        _, line = child.wait_line(lambda line: kind(line) == "ready", PATIENCE_SECS, "ready line")
        child.magnet = json.loads(line).get("magnet")
        return child

    def prepare(self, job):
        """Starts the tracker, once."""
        if self.tracker is None or self.tracker.ended.is_set():
            state = job.extra["state"] / "tracker"
            args = ("tracker", "--listen", self.tracker_host, "--data", state, "--json")
            self.tracker = self._ready(self.run("tracker", job, *args))

    def seed(self, job):
        """Starts a seeder and waits until its announce is acknowledged."""
        state = job.extra["state"] / f"seed-{job.tag}-{job.format}"
        seeder = self._ready(self.run(
            "seed", job, "share", job.content, "--name", f"{job.tag}-{job.format}", "--format", job.format,
            *(("--piece-length", job.piece_length) if job.piece_length else ()), "--listen", f"{SEEDER}:6881",
            "--tracker", self.tracker_host, "--data", state, "--json", *ROAD_FLAGS[job.road],
        ))  # fmt: skip
        self.magnet = seeder.magnet
        return seeder

    def leech(self, job, number):
        """Starts a leecher that ends when all is durable."""
        state = job.target(number) / ".state"
        return self.run(
            f"leech{number}", job, "get", self.magnet if job.by_magnet else f"{job.tag}-{job.format}",
            "--output", job.target(number), "--exit", "--listen", f"{address(number)}:6881",
            "--tracker", self.tracker_host, "--data", state, "--json", *ROAD_FLAGS[job.road],
        )  # fmt: skip

    def verified(self, child):
        """The moment at which all was verified and readable."""
        return child.wait_line(lambda line: kind(line) == "verified", PATIENCE_SECS, "verified line")[0]

    def settle(self, child):
        """The moment at which all was synced and had its name."""
        moment = child.wait_line(lambda line: kind(line) == "done", PATIENCE_SECS, "done line")[0]
        child.wait_end(PATIENCE_SECS)
        return moment

    def first(self, child):
        """The moment of the first writes."""
        return child.first_write_at

    def close(self):
        """Ends the tracker."""
        if self.tracker is not None:
            self.tracker.kill()


class Pipeline:
    """The bare pipeline: sendfile, TCP, hash per piece, write; about what the machine allows."""

    name = "pipeline"
    formats = ("v1", "v2")
    roads = ("tcp",)
    reads_magnets = False

    def __init__(self):
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        self.binary = Path(os.environ.get("PIPELINE_BIN", target / "release" / "pipeline"))

    def available(self):
        return None if self.binary.exists() else f"{self.binary} is missing"

    def transfer(self, job):
        """Runs it once; it prints one JSON object."""
        target = job.target(0) / "out.bin"
        hash_name = {"v1": "sha1", "v2": "sha256"}[job.format]
        child = Child("pipeline", [self.binary, "--hash", hash_name, job.content, target], job.logs)
        child.wait_end(PATIENCE_SECS)
        result = json.loads(child.lines[-1][1])
        wall = result["seconds"]
        return {
            "wall": wall,
            "rate": job.size / wall,
            "cpu": result.get("cpu_seconds", child.cpu_total),
            "leecher_resident": child.resident_peak,
            "leecher_anonymous": child.anonymous_peak,
        }


# One end of the connection must be told to use uTP alone; RC4 for all of the stream is what forced means.
ROAD_FLAGS = {"tcp": (), "utp": ("--utp", "only"), "mse": ("--encryption", "forced")}


def kind(line):
    """The kind of a line of JSON, if it is one."""
    if not line.startswith("{"):
        return None
    try:
        return json.loads(line).get("kind")
    except ValueError:
        return None


CLIENTS = {client.name: client for client in (Teem, Libtorrent, Aria2, Rqbit, Pipeline)}

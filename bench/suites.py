"""The suites: each runs its cells in rounds and records one row a run."""

import filecmp
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import namedtuple
from pathlib import Path

import creators
from clients import PIECE_LENGTH, Job

MIB = 1 << 20
SMALL_SIZE = MIB
SMALL_ROUNDS = 5
MIDDLING_SIZE = 64 * MIB
ROAD_SIZE_MIB_MAX = 512
TREE_FILES = 5_000

Tools = namedtuple("Tools", "write_content make_torrent")


class Bench:
    """State shared by the suites: folders, clients, rows."""

    def __init__(self, options, clients, tools):
        self.options = options
        self.clients = clients
        self.tools = tools
        self.runs = []
        self.errors = []
        self.compared = set()
        self.work = {}
        for medium in options.media:
            parent = {"tmpfs": options.tmpfs, "disk": options.disk}[medium]
            self.work[medium] = Path(tempfile.mkdtemp(prefix="teem-bench-", dir=parent))

    def close(self):
        """Ends what runs and removes all files."""
        for client in self.clients:
            getattr(client, "close", lambda: None)()
        for path in self.work.values():
            shutil.rmtree(path, ignore_errors=True)

    # Content -------------------------------------------------------------------------------------

    def _jobs(self, medium, content, size, piece_length, tag):
        """One job a format for content that is there already."""
        work = self.work[medium]
        for folder in ("logs", "state"):
            (work / folder).mkdir(exist_ok=True)
        jobs = {}
        for format in self.options.formats:
            torrent = work / f"{tag}-{format}.torrent"
            if not torrent.exists():
                self.tools.make_torrent(content, torrent, format, piece_length)
            jobs[format] = Job(
                content, work / "out", work / "logs", format, size, torrent, f"{medium}-{tag}", piece_length,
                {"state": work / "state"},
            )  # fmt: skip
        return jobs

    def _file(self, medium, size, tag):
        content = self.work[medium] / "content" / tag / "content.bin"
        if not content.exists():
            self.tools.write_content(content, size)
        return self._jobs(medium, content, size, PIECE_LENGTH if size > 8 * MIB else 16 * 1024, tag)

    # One run -------------------------------------------------------------------------------------

    def _once(self, suite, medium, client, job, leechers=1):
        """Runs one cell once and records it; a failure is recorded too and the rest goes on."""
        row = {"suite": suite, "medium": medium, "client": client.name, "format": job.format, "bytes": job.size}
        if medium == "disk":
            os.sync()
        warm_memory(Path(self.options.tmpfs) / f"teem-bench-warm-{os.getpid()}", job.size * leechers)
        try:
            client_row = client.transfer(job) if hasattr(client, "transfer") else transfer(client, job, leechers)
            row.update(client_row)
            self._compare(suite, medium, client, job)
        except Exception as error:  # one broken cell must not end an hour's work
            traceback.print_exc()
            row["error"] = str(error)
            self.errors.append(f"{suite} {medium} {client.name} {job.format}: {error}")
        finally:
            shutil.rmtree(job.out, ignore_errors=True)
        self.runs.append(row)
        say(row)

    def _compare(self, suite, medium, client, job):
        """Compares the bytes, the first time that a cell runs."""
        cell = (suite, medium, client.name, job.format)
        if cell in self.compared:
            return
        self.compared.add(cell)
        got = job.target(0) / ("out.bin" if client.name == "pipeline" else found_name(job))
        if job.content.is_dir():
            comparison = filecmp.dircmp(job.content, got)
            assert not comparison.left_only and not comparison.diff_files, f"{got} differs"
        else:
            assert filecmp.cmp(job.content, got, shallow=False), f"{got} differs"

    def _rounds(self, suite, media_jobs, rounds, leechers=1):
        """Runs every cell once a round, in an order that changes from round to round."""
        cells = [
            (medium, client, jobs[format])
            for medium, jobs in media_jobs.items()
            for client in self.clients
            for format in self.options.formats
            if format in client.formats
        ]
        order = random.Random(7)
        for _ in range(rounds):
            order.shuffle(cells)
            for medium, client, job in cells:
                if hasattr(client, "transfer") and leechers != 1:
                    continue
                if hasattr(client, "prepare"):
                    client.prepare(job)
                self._once(suite, medium, client, job, leechers)

    # Suites --------------------------------------------------------------------------------------

    def transfers(self):
        """One seeder to one leecher."""
        size = self.options.size_mib * MIB
        jobs = {medium: self._file(medium, size, "big") for medium in self.options.media}
        self._rounds("transfers", jobs, self.options.rounds)

    def fanout(self):
        """One seeder to four leechers, in memory."""
        medium = self.options.media[0]
        jobs = {medium: self._file(medium, self.options.size_mib * MIB, "big")}
        self._rounds("fanout", jobs, max(1, self.options.rounds // 2), leechers=4)

    def crowd(self):
        """One seeder to eight leechers, in memory."""
        medium = self.options.media[0]
        jobs = {medium: self._file(medium, self._road_size(), "road")}
        self._rounds("crowd", jobs, max(1, self.options.rounds // 2), leechers=8)

    def small(self):
        """A file of 1 MiB, from command to done."""
        self._command_to_done("small", SMALL_SIZE)

    def middling(self):
        """A file of 64 MiB, from command to done."""
        self._command_to_done("middling", MIDDLING_SIZE)

    def _command_to_done(self, suite, size):
        medium = self.options.media[0]
        jobs = {medium: self._file(medium, size, suite)}
        self._among(lambda client: client.name != "pipeline", suite, jobs, max(SMALL_ROUNDS, self.options.rounds))

    def utp(self):
        """One seeder to one leecher over uTP alone."""
        self._over("utp")

    def mse(self):
        """One seeder to one leecher, all of the stream encrypted (MSE with RC4)."""
        self._over("mse")

    def _over(self, road):
        medium = self.options.media[0]
        jobs = {medium: self._file(medium, self._road_size(), "road")}
        for job in jobs[medium].values():
            job.extra["road"] = road
        self._among(lambda client: road in client.roads, road, jobs, max(1, self.options.rounds // 2))

    def _road_size(self):
        return min(self.options.size_mib, ROAD_SIZE_MIB_MAX) * MIB

    def magnet(self):
        """A file of 64 MiB of which nothing but a magnet link is known; the first bytes are what counts."""
        medium = self.options.media[0]
        jobs = {medium: self._file(medium, MIDDLING_SIZE, "middling")}
        for job in jobs[medium].values():
            job.extra["by_magnet"] = True
        self._among(lambda client: client.reads_magnets, "magnet", jobs, max(SMALL_ROUNDS, self.options.rounds))

    def _among(self, chosen, suite, media_jobs, rounds):
        """Rounds of those clients alone that can do it."""
        everybody = self.clients
        self.clients = [client for client in everybody if chosen(client)]
        self._rounds(suite, media_jobs, rounds)
        self.clients = everybody

    def tree(self):
        """A tree of 5,000 files."""
        media_jobs = {}
        for medium in self.options.media:
            content = self.work[medium] / "content" / "tree"
            size = make_tree(content, 500 if self.options.quick else TREE_FILES)
            media_jobs[medium] = self._jobs(medium, content, size, 16 * 1024, "tree")
        self._among(lambda client: client.name != "pipeline", "tree", media_jobs, max(1, self.options.rounds // 2))

    def create(self):
        """Making torrent files of the same content."""
        medium = self.options.media[0]
        size = self.options.size_mib * MIB
        content = self._file(medium, size, "big")["v1" if "v1" in self.options.formats else self.options.formats[0]]
        teem = next((client for client in self.clients if client.name == "teem"), None)
        cells = creators.cells(teem, self.options)
        order = random.Random(9)
        for _ in range(self.options.rounds):
            order.shuffle(cells)
            for cell in cells:
                row = {"suite": "create", "medium": medium, "client": cell.client, "format": cell.format}
                row["bytes"] = size
                try:
                    row.update(cell.run(content))
                except Exception as error:  # as above
                    traceback.print_exc()
                    row["error"] = str(error)
                    self.errors.append(f"create {cell.client} {cell.format}: {error}")
                self.runs.append(row)
                say(row)


def warm_memory(path, size):
    """Touches as many bytes of memory as the run will need, then frees them.

    A virtual machine gets its memory from the host at first touch, which costs more than a transfer:
    without this, whoever runs after a pause pays for it.
    """
    zeros = bytes(8 * MIB)
    with open(path, "wb", buffering=0) as file:
        for _ in range(size // len(zeros) + 32):
            file.write(zeros)
    path.unlink()


def transfer(client, job, leechers):
    """One seeder to some leechers; times run from the first leecher's start to the last one's end."""
    seeder = client.seed(job)
    children = []
    try:
        seeder_cpu = seeder.cpu()
        children = [client.leech(job, number) for number in range(leechers)]
        begin = min(getattr(child, "begin_at", child.started_at) for child in children)
        moments = [client.verified(child) for child in children]
        leecher_cpu = sum(child.cpu() - getattr(child, "begin_cpu", 0.0) for child in children)
        seeder_cpu = seeder.cpu() - seeder_cpu
        for child in (seeder, *children):
            child.sample()
        settled = [client.settle(child) for child in children]
        firsts = [moment for moment in (client.first(child) for child in children) if moment is not None]
        wall = max(moments) - begin
        first = max(0.0, min(firsts) - begin) if firsts else 0.0
        return {
            "wall": wall,
            "settled": max(settled) - begin,
            "ended": max((child.ended_at or 0) for child in children) - begin,
            "first": first,
            "rate": leechers * job.size / wall,
            "rate_after_first": leechers * job.size / max(1e-9, wall - first),
            "cpu_seeder": seeder_cpu,
            "cpu_leecher": leecher_cpu,
            "cpu": seeder_cpu + leecher_cpu,
            "seeder_resident": seeder.resident_peak,
            "seeder_anonymous": seeder.anonymous_peak,
            "leecher_resident": max(child.resident_peak for child in children),
            "leecher_anonymous": max(child.anonymous_peak for child in children),
            "leechers": leechers,
        }
    finally:
        for child in (*children, seeder):
            child.kill()


def found_name(job):
    """The name that the content has on the other side: Teem's is that in its catalogue or the file's own."""
    names = [path.name for path in job.target(0).iterdir() if not path.name.startswith(".")]
    return job.content.name if job.content.name in names else names[0]


def make_tree(root, files):
    """A tree of small files and a few larger ones; returns its size."""
    rng = random.Random(5)
    if not root.exists():
        for number in range(files):
            path = root / f"{number % 10}" / f"{number % 70}" / f"file{number:05}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(rng.randbytes(int(rng.expovariate(1 / 60_000)) + 1))
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def say(row):
    """One line on standard error for each run."""
    if "error" in row:
        figures = f"FAILED {row['error'].splitlines()[0]}"
    else:
        figures = f"{row['wall']:.3f} s {row['bytes'] * row.get('leechers', 1) / row['wall'] / 1e6:.0f} MB/s"
        figures += f" cpu {row['cpu'] / (row['bytes'] * row.get('leechers', 1) / 1e9):.2f} s/GB" if row["bytes"] > 50e6 else ""
    stamp = time.strftime("%H:%M:%S")
    print(f"{stamp} {row['suite']} {row['medium']} {row['client']} {row['format']}: {figures}", file=sys.stderr)

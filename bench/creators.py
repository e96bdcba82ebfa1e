"""Creators of torrent files: Teem's, libtorrent's, mktorrent."""

import json
import shutil
import sys
from pathlib import Path

from clients import HERE, Job
from measure import Child


class Cell:
    """One creator in one format."""

    def __init__(self, client, format, argv, reports=False, env=None):
        self.client = client
        self.format = format
        self.argv = argv
        self.reports = reports
        self.env = env

    def run(self, job: Job):
        """Runs it once. One that `reports` prints its own figures, without its interpreter's start."""
        out = job.logs / f"made-{self.client}-{self.format}.torrent"
        out.unlink(missing_ok=True)
        child = Child(f"create-{self.client}", self.argv(job, out), job.logs, self.env(job) if self.env else None)
        child.wait_end(300)
        assert out.exists(), f"{self.client} made no file\n{child.tail()}"
        row = {"wall": child.ended_at - child.started_at, "cpu": child.cpu_total}
        if self.reports:
            own = json.loads(child.lines[-1][1])
            row = {"wall": own["seconds"], "cpu": own["cpu_seconds"]}
        row["leecher_resident"] = child.resident_peak
        return row


def cells(teem, options):
    """The creators that are there, in the formats that they know."""
    wanted = []
    if teem is not None:
        for format in options.formats:
            wanted.append(Cell("teem", format, teem_argv(teem, format), env=lambda job: teem.env(job.logs)))
    if "libtorrent" in options.peers:
        for format in options.formats:
            wanted.append(Cell("libtorrent", format, libtorrent_argv(format), reports=True))
    if shutil.which("mktorrent") and "v1" in options.formats:
        wanted.append(Cell("mktorrent", "v1", mktorrent_argv))
    return wanted


def teem_argv(teem, format):
    """`teem torrent create`."""

    def argv(job, out: Path):
        return [
            teem.binary, "torrent", "create", job.content, "--output", out, "--format", format,
            "--piece-length", job.piece_length, "--quiet",
        ]  # fmt: skip

    return argv


def libtorrent_argv(format):
    """The creator of libtorrent through its Python binding."""

    def argv(job, out):
        return [sys.executable, HERE / "lt_create.py", job.content, out, format, job.piece_length]

    return argv


def mktorrent_argv(job, out):
    """mktorrent with two threads."""
    exponent = job.piece_length.bit_length() - 1
    return ["mktorrent", "-l", exponent, "-t", "2", "-a", "http://127.0.0.1/announce", "-o", out, job.content]

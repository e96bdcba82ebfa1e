#!/usr/bin/env python3
"""The benchmark: Teem beside libtorrent, aria2, rqbit and a bare pipeline, its tracker beside aquatic and
opentracker, on this machine, over loopback.

    scripts/bench                  everything; an hour on two cores
    scripts/bench --only trackers  the trackers; 25 minutes
    scripts/bench --only link      TCP and uTP on a long, lossy link, beside iperf3; what a ping notices; 30 minutes
    scripts/bench --only many      10,000 torrents, a torrent of 100,000 files; 8 minutes
    scripts/bench --quick          256 MiB, one run each: does it work?
    scripts/bench --only transfers,create --media tmpfs --peers teem,libtorrent

Runs are interleaved (each round runs every cell once), medians are taken over the rounds, and raw
values go to bench/results/. Compare only within one run.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import link_report
import many
import report
import suites
import tracker_report
from clients import CLIENTS, ROOT
from links import LinkBench
from trackers import TrackerBench

SUITES = ("transfers", "mse", "utp", "fanout", "crowd", "small", "middling", "magnet", "tree", "create", "trackers", "link", "many")
# These bring their own contestants.
APART = {"trackers", "link", "many"}


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="256 MiB and one round")
    parser.add_argument("--rounds", type=int, help="rounds (7)")
    parser.add_argument("--size-mib", type=int, help="size of the content in MiB (2048)")
    parser.add_argument("--only", default=",".join(SUITES), help="suites, comma-separated")
    parser.add_argument("--peers", default=",".join(CLIENTS), help="clients, comma-separated")
    parser.add_argument("--formats", default="v1,v2,hybrid", help="formats, comma-separated")
    parser.add_argument("--media", default="tmpfs,disk", help="where the content lies, comma-separated")
    parser.add_argument("--tmpfs", default="/dev/shm", help="a folder in memory")
    parser.add_argument("--disk", default=tempfile.gettempdir(), help="a folder on a disk")
    parser.add_argument("--results", default=str(ROOT / "bench" / "results"), help="where results go")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 7)
    options.size_mib = options.size_mib or (256 if options.quick else 2048)
    for name in ("only", "peers", "formats", "media"):
        setattr(options, name, [word for word in getattr(options, name).split(",") if word])
    return options


def write_content(path, size):
    """Random bytes, the same for each run of the benchmark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = random.Random(size)
    with open(path, "wb") as file:
        left = size
        while left:
            part = min(left, 8 << 20)
            file.write(rng.randbytes(part))
            left -= part


def make_torrent(path, out, format, piece_length):
    """The torrent file for the other clients."""
    script = ROOT / "bench" / "lt_create.py"
    subprocess.run([sys.executable, script, path, out, format, str(piece_length)], check=True, capture_output=True)


def machine():
    """What the figures were taken on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "commit": commit.stdout.strip(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


def main():
    """Runs the suites that were asked for."""
    options = arguments()
    clients = []
    for name in options.peers if set(options.only) - APART else ():
        client = CLIENTS[name]()
        missing = client.available()
        if missing:
            print(f"left out: {name}: {missing}", file=sys.stderr)
        else:
            clients.append(client)
    tools = suites.Tools(write_content, make_torrent)
    bench = suites.Bench(options, clients, tools)
    trackers = TrackerBench(options) if "trackers" in options.only else None
    link = LinkBench(options, write_content, make_torrent) if "link" in options.only else None
    crowd = many.ManyBench(options) if "many" in options.only else None
    facts = machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, commit {facts['commit']}")
    try:
        for suite in options.only:
            if suite in APART:
                {"trackers": trackers, "link": link, "many": crowd}[suite].run()
            else:
                getattr(bench, suite)()
    finally:
        bench.close()
        for apart in filter(None, (trackers, link, crowd)):
            apart.close()
            bench.errors += apart.errors
        rows, links, crowds = (apart.rows if apart else [] for apart in (trackers, link, crowd))
        results = Path(options.results)
        results.mkdir(parents=True, exist_ok=True)
        out = results / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
        found = {"machine": facts, "options": vars(options), "runs": bench.runs, "trackers": rows, "link": links, "many": crowds}
        out.write_text(json.dumps(found, indent=1))
    if bench.runs:
        print(*report.tables(bench.runs), *report.verdicts(bench.runs), sep="\n")
    print(*tracker_report.tables(rows), *tracker_report.verdicts(rows), sep="\n")
    print(*link_report.tables(links), *link_report.verdicts(links), sep="\n")
    print(*many.tables(crowds), *many.verdicts(crowds), sep="\n")
    print(f"raw values: {out}")
    if bench.errors:
        print(f"{len(bench.errors)} runs failed; the first: {bench.errors[0]}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

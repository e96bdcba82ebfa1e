"""Trackers side by side: the tracker pinned to one core, the load on the other."""

import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clients import ROOT
from measure import Child

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LOAD = TARGET / "release" / "teem-load"
TEEM = TARGET / "release" / "teem"
PEERS = TARGET / "peers"
PORT = 26_969
JSON_PORT = 26_900
CONNECT = struct.pack(">QII", 0x41727101980, 0, 1)
TORRENTS, CROWD = 100_000, 1_000_000
MANY_TORRENTS, MANY = 1_000_000, 10_000_000
# The seed document's own table: peers, files, bytes, milliseconds.
SEED_ROWS = ((10, 100, 1e6, 10), (50, 500, 5e6, 50), (100, 1_000, 10e6, 100))
JSON_CONNECTIONS = (10, 100, 1_000)
FORGED_PER_SEC = 50_000


def cores():
    """The core for the tracker and the one for the load."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


class Tracker:
    """One tracker program: its command line, and where it answers."""

    udp, http, v6, path = True, False, False, ""
    fills = True

    def __init__(self, work):
        self.work = work

    def missing(self):
        """Why it cannot run here; nothing if it can."""
        program = str(self.argv("127.0.0.1")[0])
        return None if shutil.which(program) else f"no {program}"

    def after(self):
        """What to do once it runs."""

    def start(self, ip="127.0.0.1"):
        """Starts it on its core and waits until it answers."""
        argv = ["taskset", "-c", str(cores()[0]), *self.argv(ip)]
        self.child = Child(self.name.replace(" ", "-"), argv, self.work)
        deadline = time.monotonic() + 30
        while not (answers_udp(ip) if self.udp else answers_tcp(ip)):
            if self.child.ended.is_set() or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not answer\n{self.child.tail()}")
        self.after()

    def stop(self):
        """Ends it, and waits until its ports are free: io_uring gives them back some time after the end."""
        self.child.kill()
        deadline = time.monotonic() + 10
        while not is_free() and time.monotonic() < deadline:
            time.sleep(0.02)


class Teem(Tracker):
    """Ours."""

    name, http, v6 = "teem", True, True
    extra = ()

    def argv(self, ip):
        self.state = Path(tempfile.mkdtemp(prefix="teem-", dir=self.work))
        host = f"[{ip}]" if ":" in ip else ip
        return [
            TEEM, "tracker", "--listen", f"{host}:{PORT}", "--json-listen", f"{host}:{JSON_PORT}", "--lan", "off",
            "--admin-listen", "off", "--data", self.state, "--json", *self.extra,
        ]  # fmt: skip


class TeemPrivate(Teem):
    """Ours, answering only who has a passkey, each network's requests counted."""

    name, http = "teem private", False
    extra = ("--private", "--rate-limit-local", "4000000")

    def after(self):
        made = [TEEM, "token", "create", "bench", "--data", self.state, "--json"]
        lines = subprocess.run(made, check=True, capture_output=True, text=True).stdout.splitlines()
        passkey = next(found["passkey"] for found in map(json.loads, lines) if "passkey" in found)
        self.path = f"/{passkey}/announce"
        time.sleep(2)  # it looks for new tokens once a second


class Aquatic(Tracker):
    """aquatic_udp with plain sockets."""

    name, v6, folder = "aquatic mio", True, PEERS / "bin"

    def argv(self, ip):
        config = self.work / "aquatic.toml"
        host = f"[{ip}]" if ":" in ip else ip
        text = f'socket_workers = 1\n[network]\naddress = "{host}:{PORT}"\nonly_ipv6 = {str(":" in ip).lower()}\n'
        config.write_text(text + "[cleaning]\nmax_connection_age = 120\n")
        return [self.folder / "aquatic_udp", "-c", config]


class AquaticRing(Aquatic):
    """aquatic_udp on io_uring."""

    name, v6, folder = "aquatic io_uring", False, PEERS / "uring" / "bin"


class AquaticHttp(Tracker):
    """aquatic_http without TLS."""

    name, udp, http = "aquatic_http", False, True

    def argv(self, ip):
        config = self.work / "aquatic_http.toml"
        text = f'socket_workers = 1\nswarm_workers = 1\n[network]\naddress = "{ip}:{PORT}"\nenable_tls = false\n'
        config.write_text(text + "keep_alive = true\n")
        return [PEERS / "bin" / "aquatic_http", "-c", config]


class Opentracker(Tracker):
    """Debian's: serves only what is listed, and not as root."""

    name, http = "opentracker", True

    def argv(self, ip):
        folder = self.work / "opentracker"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        self.work.chmod(0o755)
        listed = folder / "listed.txt"
        if not listed.exists():
            with open(listed, "wb") as out:
                for more in ([], ["--aquatic"]):
                    subprocess.run([LOAD, "hashes", "--count", str(TORRENTS), *more], stdout=out, check=True)
        return ["opentracker", "-i", ip, "-p", str(PORT), "-P", str(PORT), "-u", "nobody", "-d", folder, "-w", "listed.txt"]

    def missing(self):
        return None if shutil.which("opentracker") else "no opentracker"


class Echo(Tracker):
    """The floor."""

    name, v6, fills = "bare echo", True, False

    def argv(self, ip):
        host = f"[{ip}]" if ":" in ip else ip
        return [LOAD, "echo", "--listen", f"{host}:{PORT}", "--peers", "10"]


TRACKERS = (Teem, TeemPrivate, Aquatic, AquaticRing, Opentracker, AquaticHttp, Echo)


def is_free():
    """Whether the port can be bound, and no connection is taken there."""
    if answers_tcp("127.0.0.1"):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", PORT))
            return True
        except OSError:
            return False


def answers_udp(ip):
    """Whether a connect request is answered."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.1)
        try:
            probe.sendto(CONNECT, (ip, PORT))
            return len(probe.recv(64)) >= 16
        except OSError:
            time.sleep(0.02)
            return False


def answers_tcp(ip):
    """Whether a connection is accepted."""
    try:
        socket.create_connection((ip, PORT), 0.2).close()
        return True
    except OSError:
        time.sleep(0.02)
        return False


class TrackerBench:
    """Runs every tracker through every cell, in rounds."""

    def __init__(self, options):
        self.options = options
        self.rows = []
        self.errors = []
        self.work = Path(tempfile.mkdtemp(prefix="teem-trackers-"))
        self.secs = 2 if options.quick else 4
        self.crowd = ["--torrents", str(TORRENTS), "--peers", str(CROWD)]
        self.trackers = []
        for kind in TRACKERS:
            tracker = kind(self.work)
            missing = tracker.missing()
            if missing:
                print(f"left out: {tracker.name}: {missing}", file=sys.stderr)
            else:
                self.trackers.append(tracker)

    def close(self):
        """Removes all files."""
        shutil.rmtree(self.work, ignore_errors=True)

    def run(self):
        """All parts; the order of the trackers changes from round to round."""
        order = random.Random(7)
        rounds = self.options.rounds if self.options.quick else min(self.options.rounds, 3)
        for _ in range(rounds):
            order.shuffle(self.trackers)
            for tracker in self.trackers:
                for part in (self.udp, self.v6, self.theirs, self.http):
                    self.guarded(part, tracker)
        for tracker in self.trackers:
            if tracker.name == "teem":
                for part in (self.json, self.seed_table, self.many):
                    self.guarded(part, tracker)

    def guarded(self, part, tracker):
        """One part; a failure is recorded and the rest goes on."""
        try:
            part(tracker)
        except Exception as error:  # one broken cell must not end an hour's work
            text = f"{part.__name__} {tracker.name}: {error}"
            print(text, file=sys.stderr)
            self.errors.append(text)
        finally:
            if hasattr(tracker, "child"):
                tracker.stop()

    def load(self, command, *args):
        """One run of the load tester on its core."""
        argv = ["taskset", "-c", str(cores()[1]), LOAD, command, *args]
        done = subprocess.run([str(arg) for arg in argv], capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def note(self, cell, tracker, row):
        """Records a row and says it."""
        self.rows.append({"cell": cell, "tracker": tracker.name, **row})
        figures = " ".join(f"{key} {value:.6g}" for key, value in row.items() if key in SAID and value is not None)
        print(f"{time.strftime('%H:%M:%S')} {cell} {tracker.name}: {figures}", file=sys.stderr)

    # Parts -----------------------------------------------------------------------------------------

    def udp(self, tracker):
        """Our load tester: filling, the top rates, and latency below them."""
        if not tracker.udp:
            return
        tracker.start()
        to = ["--to", f"127.0.0.1:{PORT}", "--pid", tracker.child.pid, "--path", tracker.path]
        if tracker.fills:
            self.note("fill", tracker, self.load("fill", *to, *self.crowd))
        timed = [*to, "--secs", self.secs, "--warm", 1]
        row = self.load("udp", *timed, *self.crowd, "--mix", "0:100:1")
        self.note("announces", tracker, row)
        top = row["answers_per_sec"]
        if tracker.name != "teem private":  # it takes no scrapes over UDP
            self.note("default", tracker, self.load("udp", *timed, *self.crowd, "--mix", "50:50:1"))
        for percent in (50, 90):
            rate = ["--rate", top * percent / 100]
            self.note(f"at {percent} %", tracker, self.load("udp", *timed, *self.crowd, *rate))
        if tracker.fills:
            flood = ["--rate", top / 2, "--forged", min(FORGED_PER_SEC, top / 3)]
            self.note("forged", tracker, self.load("udp", *timed, *self.crowd, *flood))
            self.note("zipf", tracker, self.load("udp", *timed, *self.crowd, "--zipf"))
            self.note("hot", tracker, self.load("udp", *timed, "--torrents", 1, "--peers", 100_000))

    def v6(self, tracker):
        """IPv6: one address, many ports."""
        if not tracker.v6 or tracker.name == "teem private":
            return
        tracker.start("::1")
        args = ["--to", f"[::1]:{PORT}", "--pid", tracker.child.pid, "--secs", self.secs, "--warm", 2]
        self.note("IPv6", tracker, self.load("udp", *args, "--torrents", 6_000, "--peers", 60_000))

    def theirs(self, tracker):
        """aquatic's load tester."""
        program = PEERS / "bin" / "aquatic_udp_load_test"
        if not tracker.udp or not tracker.fills or tracker.name == "teem private" or not program.exists():
            return
        for cell, mix in (("their announces", (0, 100, 1)), ("their default", (50, 50, 1))):
            tracker.start()
            config = self.work / "load.toml"
            config.write_text(THEIR_CONFIG.format(PORT, TORRENTS, CROWD, *mix))
            child = Child("aquatic-load", ["taskset", "-c", str(cores()[1]), program, "-c", config], self.work)
            child.wait_line(lambda line: line.startswith("Requests out"), 60, "figures")
            before = tracker.child.cpu()
            child.wait_line(lambda line: line.startswith("# aquatic load test report"), 60, "report")
            spent = tracker.child.cpu() - before
            child.wait_end(30)
            rates = [float(line.split(":")[1]) for _, line in child.lines if line.startswith("Average responses")]
            errors = [float(line.split(":")[1]) for _, line in child.lines if line.startswith("  - Error responses")]
            row = {"answers_per_sec": rates[-1] - errors[-1], "cpu_us_per_answer": spent / THEIR_SECS * 1e6 / rates[-1]}
            self.note(cell, tracker, {**row, "refused": errors[-1], "resident": tracker.child.resident_peak})
            tracker.stop()

    def http(self, tracker):
        """wrk, announces of many peers, keep-alive on and off."""
        if not tracker.http or not shutil.which("wrk"):
            return
        script = self.work / "announce.lua"
        if not script.exists():
            listed = subprocess.run([LOAD, "hashes", "--count", "10000"], check=True, capture_output=True, text=True)
            (self.work / "hashes.txt").write_text(listed.stdout)
            script.write_text(WRK_SCRIPT.replace("HASHES", str(self.work / "hashes.txt")))
        for cell, header in (("HTTP keep-alive", "keep-alive"), ("HTTP close", "close")):
            tracker.start()
            argv = ["taskset", "-c", str(cores()[1]), "wrk", "-t1", "-c64", f"-d{self.secs}s", "--latency", "-s", script]
            argv += [f"http://127.0.0.1:{PORT}", "--", header]
            before = tracker.child.cpu()
            done = subprocess.run([str(arg) for arg in argv], check=True, capture_output=True, text=True, timeout=60)
            spent = tracker.child.cpu() - before
            words = next(line.split() for line in done.stdout.splitlines() if line.startswith("done "))
            requests, micros, failed, p50, p99 = map(float, words[1:])
            good = max(requests - failed, 0)
            row = {"answers_per_sec": good / micros * 1e6, "cpu_us_per_answer": spent * 1e6 / max(good, 1)}
            self.note(cell, tracker, {**row, "p50_us": p50, "p99_us": p99, "refused": failed})
            tracker.stop()

    def json(self, tracker):
        """JSON over TCP on connections that stay open."""
        for connections in JSON_CONNECTIONS:
            tracker.start()
            args = ["--to", f"127.0.0.1:{JSON_PORT}", "--pid", tracker.child.pid, "--secs", self.secs]
            self.note(f"JSON {connections}", tracker, self.load("json", *args, "--connections", connections))
            tracker.stop()

    def seed_table(self, tracker):
        """The seed document's own table, each row in a fresh tracker."""
        for peers, files, *_ in SEED_ROWS:
            tracker.start()
            args = ["--to", f"127.0.0.1:{JSON_PORT}", "--pid", tracker.child.pid, "--peers", peers, "--files", files]
            self.note(f"seed {peers}", tracker, self.load("json-row", *args))
            tracker.stop()

    def many(self, tracker):
        """Ten million peers over a million torrents."""
        tracker.start()
        shrink = 100 if self.options.quick else 1
        crowd = ["--torrents", MANY_TORRENTS // shrink, "--peers", MANY // shrink]
        args = ["--to", f"127.0.0.1:{PORT}", "--pid", tracker.child.pid, *crowd]
        self.note("many", tracker, self.load("fill", *args))


SAID = ("answers_per_sec", "requests_per_sec", "cpu_us_per_answer", "p50_us", "p99_us", "p999_us", "lost_share", "bytes_per_peer")
THEIR_SECS = 5

THEIR_CONFIG = """
server_address = "127.0.0.1:{}"
workers = 1
duration = 10
summarize_last = 5
extra_statistics = false
[requests]
number_of_torrents = {}
number_of_peers = {}
weight_connect = {}
weight_announce = {}
weight_scrape = {}
"""

# Each request is another peer of another torrent; the port and the torrent come by chance.
WRK_SCRIPT = """
local paths = {}
function init(args)
  wrk.headers["Connection"] = args[1]
  for line in io.lines("HASHES") do
    paths[#paths + 1] = "/announce?info_hash=" .. line:gsub("..", "%%%0")
  end
end
function request()
  local port = math.random(1025, 65000)
  local path = paths[math.random(#paths)] .. "&peer_id=-LT20B0-" .. string.format("%012d", port)
  path = path .. "&port=" .. port .. "&uploaded=0&downloaded=0&left=1000&compact=1&numwant=30"
  return wrk.format("GET", path)
end
function done(summary, latency)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.timeout
  local words = {summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)}
  io.write("done " .. table.concat(words, " ") .. "\\n")
end
"""

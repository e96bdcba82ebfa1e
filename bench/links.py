"""A long way of 100 ms there and back, with loss and without: TCP and uTP beside iperf3's one stream; and what a
background transfer does to a ping and to a TCP stream that share its bottleneck.

All of it happens in two network namespaces, joined by the tests' relay (tests/e2e/relay.py). Each run has a link of
its own, whose losses a seed decides: in one round they fall on the same packets for everybody.
"""

import concurrent.futures
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

from clients import HERE, ROOT, kind
from measure import Child

sys.path.append(str(ROOT / "tests" / "e2e"))

from link import Link  # noqa: E402

MIB = 1 << 20
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TEEM = Path(os.environ.get("TEEM_BIN", TARGET / "release" / "teem"))
PEER_PORT, IPERF_PORT, PING_PORT = 6881, 5201, 7
TRACKER = f"{Link.LEFT}:6969"
PATIENCE_SECS = 300
PIECE_LENGTH = 64 * 1024
ROUNDS_MAX = 5
PING_ROUNDS_MAX = 3

# What its packets meet, and how much travels: half a minute's worth, of which finding the peer takes a second.
FAR = {"delay_ms": 50, "rate_mbit": 50, "queue_ms": 200}
LOSSY = dict(FAR, loss=0.01)
CELLS = (("1 % loss", LOSSY, "cubic", 6), ("no loss", FAR, "cubic", 96))
# The kernel's own congestion control, if it is another one. Some take no loss for a sign of congestion, and reach much.
KERNELS = ("1 % loss", LOSSY, None, 48)
HOME = {"delay_ms": 15, "rate_mbit": 20, "queue_ms": 500}
# A queue of their own making must not be taken for the path in the end: uTP's memory of the path is two minutes.
SLOW_HOME = {"delay_ms": 15, "rate_mbit": 4, "queue_ms": 1_000}
PING_SECS, WARM_SECS, MEASURE_SECS, LONG_SECS = 0.1, 10, 20, 300
ENDLESS_MIB = 256
# Who know nothing of each other, behind one downlink.
SEEDERS = [f"10.77.0.{host}" for host in range(11, 15)]


def kernels_congestion_control():
    """What this kernel's TCP does unless told."""
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


class LinkBench:
    """Runs the suite; `rows` has what came out."""

    def __init__(self, options, write_content, make_torrent):
        self.options = options
        self.write_content, self.make_torrent = write_content, make_torrent
        self.rows, self.errors = [], []
        self.work = Path(tempfile.mkdtemp(prefix="teem-bench-link-", dir=options.tmpfs))

    def close(self):
        """Removes all files."""
        shutil.rmtree(self.work, ignore_errors=True)

    def run(self):
        """All cells in rounds, then the ping beside a transfer."""
        for program in ("iperf3", "ip"):
            if shutil.which(program) is None:
                raise RuntimeError(f"no {program}: scripts/bench installs it")
        cells = [*CELLS]
        if kernels_congestion_control() != "cubic":
            cells.append(KERNELS)
        runs = [(cell, runner) for cell in cells for runner in self._runners(cell)]
        order = random.Random(11)
        for number in range(min(self.options.rounds, ROUNDS_MAX)):
            order.shuffle(runs)
            for (name, path, congestion, mib), (who, runner) in runs:
                congestion = congestion or kernels_congestion_control()
                row = {"cell": f"{name}, {congestion}", "who": who, "round": number, "bytes": mib * MIB}
                self._note(row, number, path, congestion, lambda place, runner=runner, mib=mib: runner(place, mib))
        for number in range(1 if self.options.quick else PING_ROUNDS_MAX):
            self._note({"cell": "ping", "who": "teem", "round": number}, number, HOME, "cubic", self._pings)
        if not self.options.quick:
            self._note({"cell": "long", "who": "teem", "round": 0}, 0, SLOW_HOME, "cubic", self._long)

    def _runners(self, cell):
        yield "iperf3", self._iperf
        yield "teem TCP", lambda place, mib: self._teem(place, mib, "off")
        # uTP knows nothing of the kernel's choice.
        if cell in CELLS:
            yield "teem uTP", lambda place, mib: self._teem(place, mib, "only")
            yield "libtorrent uTP", self._libtorrent

    def _note(self, row, number, path, congestion, run):
        """One run on a link of its own; a failure is recorded and the rest goes on."""
        folder = Path(tempfile.mkdtemp(dir=self.work))
        link = Link(folder, seed=number + 1, **path)
        place = Place(link, folder)
        try:
            link.use_congestion_control(congestion)
            row.update(run(place))
            place.kill()
            there, _ = link.end()
            row.update(packets=there["passed"], dropped=there["dropped"], lost=there["lost"], relay_late_p99_ms=there["relay_late_p99_ms"])
        except Exception as error:  # one broken run must not end an hour's work
            traceback.print_exc()
            row["error"] = str(error)
            self.errors.append(f"link {row['cell']} {row['who']}: {error}")
        finally:
            place.kill()
            link.close()
            shutil.rmtree(folder, ignore_errors=True)
        self.rows.append(row)
        said = {key: value for key, value in row.items() if not isinstance(value, list)}
        print(f"{time.strftime('%H:%M:%S')} link {json.dumps(said)}", file=sys.stderr)

    def _content(self, mib):
        path = self.work / "content" / f"{mib}" / "content.bin"
        if not path.exists():
            self.write_content(path, mib * MIB)
        return path

    # One transfer ---------------------------------------------------------------------------------

    def _iperf(self, place, mib):
        return place.iperf("-n", mib * MIB)

    def _teem(self, place, mib, utp):
        place.share(self._content(mib), utp)
        get = place.get(utp)
        wall = get.wait_line(lambda line: kind(line) == "verified", PATIENCE_SECS, "verified line")[0] - get.started_at
        return {"wall": wall, "rate": mib * MIB / wall}

    def _libtorrent(self, place, mib):
        content = self._content(mib)
        torrent = content.with_suffix(".torrent")
        if not torrent.exists():
            self.make_torrent(content, torrent, "hybrid", PIECE_LENGTH)
        script, out = HERE / "lt_peer.py", place.folder / "out"
        seeder = place.child("seed", place.link.left, sys.executable, script, "seed", Link.LEFT, torrent, content.parent, "--utp")
        seeder.wait_line(lambda line: line == "ready", PATIENCE_SECS, "checked seeder")
        leecher = place.child("leech", place.link.right, sys.executable, script, "leech", Link.RIGHT, torrent, out, Link.LEFT, "--utp")
        begun, _ = leecher.wait_line(lambda line: line == "start", PATIENCE_SECS, "start")
        wall = leecher.wait_line(lambda line: line == "verified", PATIENCE_SECS, "complete download")[0] - begun
        return {"wall": wall, "rate": mib * MIB / wall}

    # What others notice ---------------------------------------------------------------------------

    def _pings(self, place):
        """A ping alone, beside uTP, and beside TCP; and how uTP and TCP share."""
        pings = Pings(place.link)
        idle = pings.over(MEASURE_SECS / 2)
        place.share(self._content(ENDLESS_MIB), "only")
        get = place.get("only")
        get.wait_line(lambda line: verified(line) > 0, PATIENCE_SECS, "progress")
        time.sleep(WARM_SECS)
        begun = verified_so_far(get)
        beside_utp = pings.over(MEASURE_SECS)
        utp_alone = rate(begun, verified_so_far(get))
        # TCP comes: after its first seconds, who has how much?
        with concurrent.futures.ThreadPoolExecutor(1) as other:
            stream = other.submit(place.iperf, "-t", MEASURE_SECS, "-O", WARM_SECS)
            time.sleep(WARM_SECS)
            begun = verified_so_far(get)
            time.sleep(MEASURE_SECS)
            utp_beside = rate(begun, verified_so_far(get))
            tcp_beside = stream.result()["rate"]
            get.kill()
            stream = other.submit(place.iperf, "-t", MEASURE_SECS, "-O", WARM_SECS)
            time.sleep(WARM_SECS)
            beside_tcp = pings.over(MEASURE_SECS)
            tcp_alone = stream.result()["rate"]
        pings.close()
        return {
            "idle_ms": idle, "beside_utp_ms": beside_utp, "beside_tcp_ms": beside_tcp, "utp_alone": utp_alone,
            "utp_beside_tcp": utp_beside, "tcp_beside_utp": tcp_beside, "tcp_alone": tcp_alone,
        }  # fmt: skip

    def _long(self, place):
        """A ping beside a transfer from several seeders that have kept a queue for minutes."""
        pings = Pings(place.link)
        idle = pings.over(MEASURE_SECS / 2)
        for address in SEEDERS:
            place.link.left.command("addr", "add", f"{address}/24", "dev", "eth0")
        place.share(self._content(ENDLESS_MIB), "only", SEEDERS)
        get = place.get("only")
        get.wait_line(lambda line: verified(line) > 0, PATIENCE_SECS, "progress")
        time.sleep(LONG_SECS - MEASURE_SECS)
        begun = verified_so_far(get)
        beside = pings.over(MEASURE_SECS)
        found = {"idle_ms": idle, "beside_utp_ms": beside, "utp_alone": rate(begun, verified_so_far(get))}
        pings.close()
        return found


class Place:
    """A link, and the processes on it."""

    def __init__(self, link, folder):
        self.link, self.folder = link, folder
        self.children = []

    def child(self, name, space, *argv):
        """Starts a process on one side."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "NO_COLOR": "1"}
        env |= {"TEEM_LAN": "off", "TEEM_DHT": "off", "TEEM_MAP_PORTS": "off"}
        self.children.append(Child(name, [*space.prefix, *argv], self.folder, env))
        return self.children[-1]

    def kill(self):
        """Ends all of them."""
        for child in reversed(self.children):
            child.kill()
        self.children.clear()

    def share(self, content, utp, addresses=(Link.LEFT,)):
        """A tracker and a seeder, or some, on the left."""
        ready = (lambda line: kind(line) == "ready", PATIENCE_SECS, "ready line")
        state = self.folder / "tracker"
        self.child("tracker", self.link.left, TEEM, "tracker", "--listen", TRACKER, "--data", state, "--json").wait_line(*ready)
        for address in addresses:
            self.child(
                f"share-{address}", self.link.left, TEEM, "share", content, "--name", "content", "--piece-length", PIECE_LENGTH,
                "--utp", utp, "--listen", f"{address}:{PEER_PORT}", "--tracker", TRACKER,
                "--data", self.folder / f"state-{address}", "--json",
            ).wait_line(*ready)  # fmt: skip

    def get(self, utp):
        """Fetches it on the right."""
        return self.child(
            "get", self.link.right, TEEM, "get", "content", "--output", self.folder / "out", "--exit", "--utp", utp,
            "--listen", f"{Link.RIGHT}:{PEER_PORT}", "--tracker", TRACKER, "--data", self.folder / "get", "--json",
        )  # fmt: skip

    def iperf(self, *args):
        """One TCP stream from left to right, as its receiver counts it."""
        server = self.child("iperf-server", self.link.right, "iperf3", "-s", "-1", "--forceflush", "-B", Link.RIGHT)
        server.wait_line(lambda line: "listening" in line, 10, "server")
        client = [*self.link.left.prefix, "iperf3", "-c", Link.RIGHT, "-J", *map(str, args)]
        found = json.loads(subprocess.run(client, check=True, capture_output=True, timeout=PATIENCE_SECS).stdout)
        end = found["end"]
        server.wait_end(10)
        received = end["sum_received"]
        sent_by = end.get("sender_tcp_congestion", "?")
        retransmits = end["sum_sent"].get("retransmits")
        return {"wall": received["seconds"], "rate": received["bytes"] / received["seconds"], "congestion": sent_by, "retransmits": retransmits}


class Pings:
    """A small datagram every 100 ms from left to right, which is sent back."""

    def __init__(self, link):
        self.closed = threading.Event()
        self.taken = []
        self.far = link.right.inside(udp, (link.RIGHT, PING_PORT))
        self.near = link.left.inside(udp, (link.LEFT, PING_PORT))
        self.threads = [threading.Thread(target=each, daemon=True) for each in (self._echo, self._listen, self._ask)]
        for thread in self.threads:
            thread.start()

    def _echo(self):
        while not self.closed.is_set():
            try:
                datagram, source = self.far.recvfrom(100)
                self.far.sendto(datagram, source)
            except TimeoutError:
                continue

    def _listen(self):
        while not self.closed.is_set():
            try:
                (sent_at,) = struct.unpack("d", self.near.recv(100))
                self.taken.append((sent_at, (time.monotonic() - sent_at) * 1e3))
            except TimeoutError:
                continue

    def _ask(self):
        while not self.closed.wait(PING_SECS):
            try:
                self.near.sendto(struct.pack("d", time.monotonic()), (Link.RIGHT, PING_PORT))
            except OSError:
                return  # The link is gone: a run that failed.

    def over(self, secs):
        """How long those took, in milliseconds, that were sent in the next so many seconds and came back."""
        begun = time.monotonic()
        time.sleep(secs)
        ended = time.monotonic()
        time.sleep(1.5)
        return [took for sent_at, took in list(self.taken) if begun <= sent_at < ended]

    def close(self):
        """Asks no more."""
        self.closed.set()
        for thread in self.threads:
            thread.join()
        self.near.close()
        self.far.close()


def udp(address):
    """A socket that waits a second at most."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(address)
    made.settimeout(1)
    return made


def verified(line):
    """The verified bytes that a line of progress tells of; 0 if it is none."""
    return json.loads(line)["verified"] if kind(line) == "progress" else 0


def verified_so_far(child):
    """When progress was told last, and the bytes verified then."""
    return next((moment, verified(line)) for moment, line in reversed(child.lines) if kind(line) == "progress")


def rate(begin, end):
    """Bytes a second between two tellings."""
    return (end[1] - begin[1]) / max(1e-9, end[0] - begin[0])

"""Files over HTTP while they come: ranges, jumps, several readers, and who must not read along."""

import http.client
import random
import signal
import socket
import subprocess
import threading

import pytest

from content import MIB, assert_same, random_file, sha256, sized
from proc import wait_for
from teem import EXIT_DONE, EXIT_FAILED, EXIT_USAGE

SLOW = ["--limit-lan", "--max-up"]


def curl(url, *flags, timeout=60):
    """What curl gets there."""
    command = ["curl", "-sS", "--fail", "--max-time", str(timeout), *flags, url]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(url, method="GET", path=None, **headers):
    """One request on a connection of its own: status, headers, body."""
    host, own = url.removeprefix("http://").split("/", 1)
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request(method, path or f"/{own}", headers={key.replace("_", "-"): value for key, value in headers.items()})
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply.status, {key.lower(): value for key, value in reply.getheaders()}, body


def open_body(url, first, buffer=None):
    """A connection on which everything from `first` on comes; its socket holds about `buffer` bytes."""
    host, path = url.removeprefix("http://").split("/", 1)
    connection = http.client.HTTPConnection(host, timeout=60)
    if buffer:
        connection.sock = socket.socket()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.sock.connect((connection.host, connection.port))
    connection.request("GET", f"/{path}", headers={"Range": f"bytes={first}-"})
    return connection, connection.getresponse()


def urls(get):
    """The URL of each file by its path."""
    return {file["path"]: file["url"] for file in get.event("stream")["files"]}


def verified(get):
    """What was there by the next report."""
    told = sum(line["kind"] == "progress" for line in get.objects())
    wait_for(lambda: sum(line["kind"] == "progress" for line in get.objects()) > told, 30, "report", get)
    return get.latest("progress")["verified"]


def streamed(teem, folder, size, speed, format="hybrid", extra=(), exit=False):
    """A seeder that gives so much a second, and who fetches from it."""
    source = random_file(folder / "source" / "a film.mkv", size)
    tracker = teem.tracker()
    limits = [*SLOW, speed] if speed else []
    seeder = teem.share(source, tracker, extra=["--format", format, *limits])
    get = teem.get(source.name, folder / "out", tracker, exit=exit, extra=["--stream", *extra])
    return source, seeder, get, urls(get)[source.name]


@pytest.mark.parametrize("format", ["v1", "hybrid"])
def test_every_range_is_right_while_it_comes(teem, folder, format):
    source, _, get, url = streamed(teem, folder, 6 * MIB + 321, "1500K", format)
    data, chance = source.read_bytes(), random.Random(7)
    for _ in range(25):
        first = chance.randrange(len(data))
        last = min(first + chance.choice([0, 99, 5_000, 400_000]), len(data) - 1)
        assert curl(url, "-r", f"{first}-{last}") == data[first : last + 1]
    assert curl(url, "-r", "-1000") == data[-1000:]
    assert curl(url) == data
    get.done()
    assert_same(folder / "out" / source.name, source)


def test_a_jump_is_answered_long_before_all_is_there(teem, folder):
    size = 24 * MIB
    source, _, get, url = streamed(teem, folder, size, "1M")
    data = source.read_bytes()
    assert curl(url, "-r", "0-99999") == data[:100_000]
    assert verified(get) < size // 4
    for share in (0.9, 0.5, 0.98):
        first = int(size * share)
        assert curl(url, "-r", f"{first}-{first + 99_999}") == data[first : first + 100_000]
    here = verified(get)
    assert here < size // 2, f"{here} bytes were fetched first"
    assert get.running()


def test_a_request_is_answered_as_the_standard_says(teem, folder):
    source, _, _, url = streamed(teem, folder, MIB, None)
    data = source.read_bytes()
    status, headers, body = ask(url, "HEAD")
    assert (status, headers["content-length"], headers["accept-ranges"], body) == (200, str(MIB), "bytes", b"")
    assert headers["content-type"] == "video/x-matroska"
    tag = headers["etag"]
    status, headers, body = ask(url, Range="bytes=10-19")
    assert (status, headers["content-range"], body) == (206, f"bytes 10-19/{MIB}", data[10:20])
    status, headers, _ = ask(url, "HEAD", Range="bytes=-5")
    assert (status, headers["content-range"]) == (206, f"bytes {MIB - 5}-{MIB - 1}/{MIB}")
    status, headers, _ = ask(url, Range=f"bytes={MIB}-")
    assert (status, headers["content-range"]) == (416, f"bytes */{MIB}")
    assert ask(url, Range="bytes=0-1,5-6")[::2] == (200, data)
    assert ask(url, Range="bytes=0-1", If_Range=tag)[::2] == (206, data[:2])
    assert ask(url, Range="bytes=0-1", If_Range='"another"')[::2] == (200, data)
    assert ask(url, If_None_Match=tag)[::2] == (304, b"")
    assert ask(url, "POST")[0] == 405
    for path in ("/", "/a%20film", "/a%20film.mkv/", "/../source/a%20film.mkv", "/%2e%2e/x", "/%ff"):
        assert ask(url, path=path)[0] == 404, path


def test_one_connection_serves_many_requests(teem, folder):
    source, _, _, url = streamed(teem, folder, MIB, None)
    data = source.read_bytes()
    host, path = url.removeprefix("http://").split("/", 1)
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.connect()
    own = connection.sock
    for first in range(0, MIB, 200_000):
        connection.request("GET", f"/{path}", headers={"Range": f"bytes={first}-{first + 9}"})
        assert connection.getresponse().read() == data[first : first + 10]
        assert connection.sock is own
    connection.close()


def test_pages_of_the_web_cannot_read_along(teem, folder):
    _, _, _, url = streamed(teem, folder, MIB, None, extra=["--stream-host", "player.lan"])
    for host in ("127.0.0.1", "localhost:1", "[::1]", "player.lan:80"):
        assert ask(url, "HEAD", Host=host)[0] == 200, host
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "a b"):
        assert ask(url, "HEAD", Host=host)[0] in (400, 421), host
    status, headers, _ = ask(url, Origin="http://evil.example")
    assert status == 200 and not any(name.startswith("access-control") for name in headers)


def test_two_readers_are_served_at_once(teem, folder):
    source, _, get, url = streamed(teem, folder, 6 * MIB, "2M")
    data, got = source.read_bytes(), {}

    def read(first, last):
        got[first] = curl(url, "-r", f"{first}-{last}")

    parts = [(0, MIB - 1), (3 * MIB, 4 * MIB - 1), (5 * MIB, 6 * MIB - 1)]
    threads = [threading.Thread(target=read, args=part) for part in parts]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert got == {first: data[first : last + 1] for first, last in parts}


def test_who_vanishes_is_not_read_for_any_more(teem, folder):
    source, seeder, get, url = streamed(teem, folder, 32 * MIB, "500K", extra=["-vv"])
    readers = [open_body(url, place * MIB) for place in range(1, 17)]
    assert ask(url)[0] == 503, "there is an end to it"
    assert ask(url, "HEAD")[0] == 200
    # Now nothing comes any more: each waits for a piece, and must be missed all the same.
    seeder.signal(signal.SIGSTOP)
    for connection, reply in readers:
        reply.close()
        connection.close()
    wait_for(lambda: get.stderr().count("a reader left") == 16, 30, "goodbyes", get)
    seeder.signal(signal.SIGCONT)
    assert curl(url, "-r", "0-9") == source.read_bytes()[:10]


def test_a_file_that_gets_its_name_meanwhile_is_read_to_its_end(teem, folder):
    # More than sockets and bodies can hold, so that the reader is in the middle when all is done; and its
    # socket holds so little that the end is still on its way when the last byte of the file has been read.
    source, _, get, url = streamed(teem, folder, 32 * MIB, None, exit=True)
    connection, reply = open_body(url, 0, buffer=16_384)
    begun = reply.read(1000)
    get.done()
    assert get.running(), "somebody reads"
    data = source.read_bytes()
    assert begun + reply.read() == data
    connection.close()
    assert get.wait(30) == EXIT_DONE, get.tail()


def test_files_that_are_not_wanted_are_not_served(teem, folder):
    root = folder / "source" / "box"
    random_file(root / "one.txt", 70_000, 1)
    random_file(root / "deep" / "two #?.bin", 90_000, 2)
    tracker = teem.tracker()
    teem.share(root, tracker)
    get = teem.get("box", folder / "out", tracker, exit=False, extra=["--stream", "127.0.0.1", "--only", "deep/"])
    known = urls(get)
    assert set(known) == {"box/deep/two #?.bin"}
    url = known["box/deep/two #?.bin"]
    assert curl(url) == (root / "deep" / "two #?.bin").read_bytes()
    assert ask(url, path="/box/one.txt")[0] == 404


@pytest.mark.slow
def test_reading_takes_no_memory_for_what_was_read(teem, folder):
    size = sized(2048 * MIB, 160 * MIB)
    source, _, get, url = streamed(teem, folder, size, None)
    fetched = folder / "read"
    curl(url, "-o", fetched, timeout=400)
    assert sha256(fetched) == sha256(source)
    peak = get.memory_peak_kib()
    assert 0 < peak < 160 * 1024, f"{peak} KiB"


def test_an_address_that_cannot_be_used_is_said_at_once(teem, folder):
    taken = socket.create_server(("127.0.0.1", 0))
    get = teem.get("x", folder / "out", extra=["--stream", f"127.0.0.1:{taken.getsockname()[1]}"])
    assert get.wait(20) == EXIT_FAILED and "in use" in get.stderr(), get.tail()
    taken.close()
    get = teem.get("x", folder / "out", extra=["--stream", "nowhere"])
    assert get.wait(20) == EXIT_USAGE, get.tail()

"""`teem get` of several targets at once, of folders of the catalogue, and from URLs."""

import hashlib
import os
import re

import pytest

import catalogue
from content import MIB, assert_same, random_file
from proc import wait_for
from teem import EXIT_DONE, EXIT_FAILED, EXIT_NOT_FOUND, EXIT_USAGE, PEER_PORT
from web_server import WebServer, reply


def get(teem, targets, output, tracker=None, extra=()):
    """Starts `teem get` of several targets, which ends when all are done."""
    args = ["get", *targets, "--output", output, "--listen", f"{teem.address()}:{PEER_PORT}"]
    args += ["--data", teem.state(f"get-{teem.count}"), "--json", "--exit", *extra]
    if tracker is not None:
        args += ["--tracker", tracker.host]
    return teem(*args)


def done_paths(process):
    """Where its targets are, by name."""
    return {value["name"]: value["path"] for value in process.objects() if value.get("kind") == "done"}


def test_several_targets_are_fetched_by_one_process_and_one_that_fails_stops_none(teem, folder):
    tracker = teem.tracker()
    sources = [random_file(folder / "source" / f"{name}.bin", 300_000 + seed, seed) for seed, name in enumerate("abc")]
    for source in sources:
        teem.share(source, tracker)
    torrent = folder / "c.torrent"
    torrent.write_bytes(catalogue.torrent(tracker, "c.bin"))
    process = get(teem, ["a.bin", "b.bin@1", torrent], folder / "out", tracker)
    assert process.wait(60) == EXIT_DONE, process.tail()
    paths = done_paths(process)
    assert sorted(paths) == ["a.bin", "b.bin", "c.bin"]
    for source in sources:
        assert_same(folder / "out" / source.name, source)

    process = get(teem, ["nothing", "a.bin", "b.bin@7"], folder / "other", tracker)
    assert process.wait(60) == EXIT_NOT_FOUND, process.tail()
    assert_same(folder / "other" / "a.bin", sources[0])
    assert '"nothing"' in process.stderr() and "b.bin@7" in process.stderr(), process.stderr()


def test_a_folder_of_the_catalogue_comes_with_all_names_below_it(teem, folder):
    tracker = teem.tracker()
    names = ["models/base", "models/small/one", "models/small/two", "other/three", "modelsx"]
    sources = {}
    for seed, name in enumerate(names):
        sources[name] = random_file(folder / "source" / f"{seed}", 50_000 + seed, seed)
        teem.share(sources[name], tracker, name=name)
    process = get(teem, ["models/"], folder / "out", tracker)
    assert process.wait(60) == EXIT_DONE, process.tail()
    found = sorted(str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*") if path.is_file())
    assert found == names[:3]
    for name in found:
        assert_same(folder / "out" / name, sources[name])
    process = get(teem, ["nowhere/"], folder / "out", tracker)
    assert process.wait(60) == EXIT_NOT_FOUND, process.tail()


class Origin:
    """A server of one file with a version (`ETag`), which breaks off after `budget` bytes."""

    def __init__(self, path, budget=None):
        self.path, self.budget, self.ranges = path, budget, []

    def __call__(self, handler):
        data = self.path.read_bytes()
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range") or "")
        if handler.headers.get("If-None-Match") == etag:
            return reply(handler, 304, {"ETag": etag}) or True
        start, end, status = 0, len(data), 200
        if asked and handler.headers.get("If-Range", etag) == etag:
            start, end, status = int(asked[1]), int(asked[2] or len(data) - 1) + 1, 206
        self.ranges.append(start)
        headers = {"ETag": etag}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        body = data[start:end]
        if self.budget is not None and len(body) > self.budget:
            reply(handler, status, headers, body[: self.budget], len(body))
            handler.close_connection = True
            return True
        return reply(handler, status, headers, body) or True


@pytest.fixture
def origin(teem, folder, cleanup):
    """Starts a web server of one file."""

    def start(source, budget=None):
        answer = Origin(source, budget)
        server = WebServer(teem.address(), source.parent, answer=answer)
        cleanup(server)
        return answer, server.url + source.name

    return start


def test_a_file_on_a_web_server_becomes_a_torrent_with_it_as_a_seeder(teem, folder, origin):
    """It is fetched in as many requests as it takes, and published; others fetch it from both."""
    source = random_file(folder / "web" / "big file.bin", 2 * MIB + 99)
    answer, url = origin(source, budget=900_000)
    tracker = teem.tracker()
    url = url.replace(" ", "%20")
    args = ["get", url, "--name", "web/big", "--output", folder / "out", "--tracker", tracker.host, "--json"]
    first = teem(*args, "--listen", f"{teem.address()}:{PEER_PORT}", "--data", teem.state("first"))
    done = first.done()
    assert_same(folder / "out" / "big file.bin", source)
    assert done["bytes"] == source.stat().st_size
    assert answer.ranges == [0, 900_000, 1_800_000], "each request goes on where the one before broke off"
    assert os.listdir(folder / "out") == ["big file.bin"]
    assert url.encode() in catalogue.torrent(tracker, "web/big")

    # From the first one, which seeds, and then with nobody but the server.
    second = teem.get("web/big", folder / "second", tracker)
    assert second.wait(60) == EXIT_DONE, second.tail()
    assert_same(folder / "second" / "big file.bin", source)
    first.kill()
    answer.budget = None
    third = teem.get("web/big", folder / "third", tracker, extra=["--web-seed", url])
    assert third.wait(60) == EXIT_DONE, third.tail()
    assert_same(folder / "third" / "big file.bin", source)


def test_a_download_that_is_killed_goes_on_unless_the_file_is_another_one(teem, folder, origin):
    source = random_file(folder / "web" / "file.bin", MIB, seed=1)
    answer, url = origin(source, budget=200_000)
    state = teem.state("same")

    def fetch(*extra):
        args = ["get", url, "--output", folder / "out", "--data", state, "--json", "--exit", *extra]
        return teem(*args, "--listen", f"{teem.address()}:{PEER_PORT}")

    process = fetch()
    wait_for(lambda: len(answer.ranges) >= 2, 30, "two requests", process)
    process.kill()
    (part,) = (folder / "out").iterdir()
    assert part.name.endswith(".part") and part.stat().st_size >= 200_000
    answer.ranges.clear()
    answer.budget = None
    process = fetch()
    assert process.wait(60) == EXIT_DONE, process.tail()
    assert answer.ranges[0] >= 200_000, answer.ranges
    assert_same(folder / "out" / "file.bin", source)

    # It is there, and the server has nothing newer: nothing is fetched.
    answer.ranges.clear()
    process = fetch()
    assert process.wait(60) == EXIT_DONE, process.tail()
    assert answer.ranges == []

    # Another version does not replace it.
    before = (folder / "out" / "file.bin").read_bytes()
    random_file(source, MIB, seed=2)
    process = fetch()
    assert process.wait(60) == EXIT_FAILED, process.tail()
    assert (folder / "out" / "file.bin").read_bytes() == before

    # Half of one version and half of another are no file.
    os.remove(folder / "out" / "file.bin")
    answer.budget, answer.ranges = 300_000, []
    process = fetch()
    wait_for(lambda: len(answer.ranges) >= 2, 30, "two requests", process)
    process.kill()
    random_file(source, MIB, seed=3)
    answer.budget = None
    process = fetch()
    assert process.wait(60) == EXIT_DONE, process.tail()
    assert_same(folder / "out" / "file.bin", source)


def test_a_torrent_file_is_fetched_by_its_url(teem, folder, cleanup):
    source = random_file(folder / "source" / "file.bin", 300_000)
    tracker = teem.tracker()
    teem.share(source, tracker)
    web = folder / "web"
    web.mkdir()
    (web / "it.torrent").write_bytes(catalogue.torrent(tracker, "file.bin"))
    (web / "no.torrent").write_text("this is no torrent")
    server = WebServer(teem.address(), web)
    cleanup(server)
    process = get(teem, [server.url + "it.torrent"], folder / "out", tracker)
    assert process.wait(60) == EXIT_DONE, process.tail()
    assert_same(folder / "out" / "file.bin", source)
    for wrong in ("no.torrent", "absent.torrent"):
        process = get(teem, [server.url + wrong], folder / "out", tracker)
        assert process.wait(30) == EXIT_FAILED, process.tail()
        assert wrong in process.stderr()


def test_what_is_no_file_of_a_web_server_is_an_error(teem, folder, cleanup):
    server = WebServer(teem.address(), folder)
    cleanup(server)
    process = get(teem, [server.url + "absent.bin"], folder / "out")
    assert process.wait(30) == EXIT_FAILED, process.tail()
    assert "404" in process.stderr()
    process = get(teem, [server.url], folder / "out")
    assert process.wait(30) == EXIT_USAGE, process.tail()
    assert [path for path in (folder / "out").iterdir() if path.stat().st_size] == []

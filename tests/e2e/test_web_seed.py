"""Web seeds (BEP 19): servers that have the content as plain files, alone and beside peers, good and bad."""

import signal

import libtorrent as lt
import pytest

import catalogue
from content import MIB, assert_same, random_file, sized, tree
from peers import LibtorrentPeer, make_torrent
from proc import wait_for
from teem import EXIT_DONE, EXIT_NO_PEERS, FORMATS, PEER_PORT
from traps import EVIL, LEECHER, NEAR, SEEDER, TRAP_PORT, Trap
from web_server import WebServer, reply

NO_UTP = ["--utp", "off"]


def torrent_of(teem, folder, path, *extra):
    """A torrent file without trackers."""
    made = folder / f"made-{teem.count}.torrent"
    assert teem.run("torrent", "create", path, "--output", made, *extra).returncode == 0
    return made


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", ["file", "tree"])
def test_a_web_seed_alone_is_enough(teem, folder, cleanup, format, shape):
    if shape == "file":
        source = random_file(folder / "root" / "the file.bin", sized(512 * MIB, 16 * MIB) + 4321)
        # A URL without a slash at its end is the file itself, whatever its name.
        (folder / "root" / "other").hardlink_to(source)
        path = "other"
    else:
        source = tree(folder / "root" / "a tree", 80, 3 * MIB)
        path = ""
    server = WebServer(teem.address(), folder / "root")
    cleanup(server)
    torrent = torrent_of(teem, folder, source, "--format", format, "--piece-length", "256K")
    get = teem.get(torrent, folder / "out", extra=["--web-seed", server.url + path, "-v"])
    assert get.wait(120) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / source.name, source)
    # One connection for everything, and nothing twice.
    assert server.connections == 1
    assert server.sent == sum(file.stat().st_size for file in [source, *source.rglob("*")] if is_plain(file))
    if shape == "file":
        assert len(server.asked) <= server.sent // (256 * 1024) / 2, "blocks were not joined"


def is_plain(path):
    return path.is_file() and not path.is_symlink()


@pytest.mark.parametrize("padded", [False, True], ids=["files in a row", "pad files"])
def test_torrents_of_others_are_fetched_from_web_servers(teem, folder, cleanup, padded):
    source = tree(folder / "root" / "tree", 30, MIB)
    made = folder / "made.torrent"
    make_torrent(source, made, "hybrid" if padded else "v1", 64 * 1024)
    server = WebServer(teem.address(), folder / "root")
    cleanup(server)
    get = teem.get(made, folder / "out", extra=["--web-seed", server.url])
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "tree", source)
    assert not any(".pad" in path for path, _ in server.asked)


def test_a_web_seed_and_a_peer_give_together(teem, folder, cleanup):
    source = random_file(folder / "root" / "file.bin", 24 * MIB)
    made = folder / "made.torrent"
    make_torrent(source, made, "hybrid", 256 * 1024)
    # Slow enough that it does not suffice.
    peer = LibtorrentPeer(teem.address(), upload_rate_limit=300_000, rate_limit_ip_overhead=False)
    cleanup(peer)
    peer.seed(made, source.parent)
    server = WebServer(teem.address(), folder / "root", answer=lambda _: wait_for(lambda: peer.uploaded(), 30, "block") and False)
    cleanup(server)
    get = teem.get(made, folder / "out", extra=["--web-seed", server.url])
    get.event("progress")
    peer.connect(get.ip)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
    assert server.sent > 0 and peer.uploaded() > 0


@pytest.mark.parametrize("format", FORMATS)
def test_a_web_seed_with_wrong_bytes_is_banned(teem, folder, cleanup, format):
    source = random_file(folder / "root" / "file.bin", 24 * MIB)
    tracker = teem.tracker()
    honest = teem.share(source, tracker, extra=["--format", format])
    lies = []

    def flip(data):
        lies.append(len(data))
        return bytes([data[0] ^ 1]) + data[1:]

    server = WebServer(teem.address(), folder / "root", corrupt=flip)
    cleanup(server)
    honest.signal(signal.SIGSTOP)
    get = teem.get("file.bin", folder / "out", tracker, extra=["--web-seed", server.url, "-v"])
    wait_for(lambda: "banned a web seed" in get.stderr(), 30, "ban", get)
    asked = len(server.asked)
    honest.signal(signal.SIGCONT)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
    assert lies and len(server.asked) == asked, "asked again after the ban"
    assert "banned a peer" not in get.stderr()


def test_a_web_seed_with_wrong_bytes_alone_never_gets_them_into_the_file(teem, folder, cleanup):
    source = random_file(folder / "root" / "file.bin", 4 * MIB)
    server = WebServer(teem.address(), folder / "root", corrupt=lambda data: b"\0" * len(data))
    cleanup(server)
    torrent = torrent_of(teem, folder, source)
    get = teem.get(torrent, folder / "out", extra=["--web-seed", server.url, "--timeout", "3"])
    assert get.wait(60) == EXIT_NO_PEERS, get.tail()
    assert not (folder / "out" / "file.bin").exists()


def test_redirects_are_followed_and_remembered(teem, folder, cleanup):
    source = random_file(folder / "root" / "file.bin", 12 * MIB)
    there = WebServer(teem.address(), folder / "root")
    cleanup(there)

    def elsewhere(handler):
        reply(handler, 302, {"Location": f"{there.url}file.bin"})
        return True

    here = WebServer(teem.address(), folder, answer=elsewhere)
    cleanup(here)
    torrent = torrent_of(teem, folder, source)
    get = teem.get(torrent, folder / "out", extra=["--web-seed", here.url])
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
    assert len(here.asked) == 1 and len(there.asked) > 1


def test_a_circle_of_redirects_ends(teem, folder, cleanup):
    source = random_file(folder / "root" / "file.bin", MIB)

    def around(handler):
        reply(handler, 302, {"Location": handler.path + "x"})
        return True

    server = WebServer(teem.address(), folder, answer=around)
    cleanup(server)
    torrent = torrent_of(teem, folder, source)
    get = teem.get(torrent, folder / "out", extra=["--web-seed", server.url, "--timeout", "2"])
    assert get.wait(60) == EXIT_NO_PEERS, get.tail()
    assert len(server.asked) == 4


def test_a_server_without_ranges_gives_small_files_only(teem, folder, cleanup):
    for size, name in [(MIB - 5, "small.bin"), (64 * MIB, "large.bin")]:
        source = random_file(folder / "root" / name, size)
        server = WebServer(teem.address(), folder / "root", ranges=False)
        cleanup(server)
        torrent = torrent_of(teem, folder, source)
        get = teem.get(torrent, folder / "out", extra=["--web-seed", server.url, "--timeout", "2"])
        status = get.wait(60)
        if name == "small.bin":
            assert status == EXIT_DONE, get.tail()
            assert_same(folder / "out" / name, source)
        else:
            assert status == EXIT_NO_PEERS and "whole files only" in get.stderr(), get.tail()
            assert len(server.asked) == 1


def test_a_server_in_trouble_is_tried_again(teem, folder, cleanup):
    source = random_file(folder / "root" / "file.bin", 8 * MIB)
    troubles = iter(["busy", "short", "silent close"])

    def trouble(handler):
        match next(troubles, None):
            case "busy":
                reply(handler, 503, {"Retry-After": "1"})
            case "short":
                first, last = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
                headers = {"Content-Range": f"bytes {first}-{last}/{source.stat().st_size}"}
                handler.close_connection = True
                reply(handler, 206, headers, source.read_bytes()[first : first + 20_000], last + 1 - first)
            case "silent close":
                handler.close_connection = True
            case None:
                return False
        return True

    server = WebServer(teem.address(), folder / "root", answer=trouble)
    cleanup(server)
    torrent = torrent_of(teem, folder, source)
    get = teem.get(torrent, folder / "out", extra=["--web-seed", server.url, "-v"])
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
    assert get.stderr().count("is left alone for a while") >= 2


def test_a_file_that_a_server_lacks_comes_from_a_peer(teem, folder, cleanup):
    source = folder / "source" / "two"
    random_file(source / "a.bin", 6 * MIB, 1)
    random_file(source / "b.bin", 6 * MIB, 2)
    (folder / "root" / "two").mkdir(parents=True)
    (folder / "root" / "two" / "a.bin").hardlink_to(source / "a.bin")
    tracker = teem.tracker()
    sharer = teem.share(source, tracker)
    server = WebServer(teem.address(), folder / "root")
    cleanup(server)
    sharer.signal(signal.SIGSTOP)
    get = teem.get("two", folder / "out", tracker, extra=["--web-seed", server.url])
    wait_for(lambda: server.sent >= 6 * MIB - 512 * 1024, 30, "the file that it has", get)
    sharer.signal(signal.SIGCONT)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "two", source)
    assert sum("b.bin" in path for path, _ in server.asked) == 1


def test_libtorrent_fetches_from_the_web_seed_of_a_share(teem, folder, cleanup):
    source = random_file(folder / "root" / "file.bin", 6 * MIB)
    server = WebServer(teem.address(), folder / "root")
    cleanup(server)
    tracker = teem.tracker()
    url = server.url + "file.bin"
    share = teem.share(source, tracker, extra=["--web-seed", url])
    assert f"ws={server.url.replace(':', '%3A').replace('/', '%2F')}file.bin" in share.ready()["magnet"]
    made = folder / "made.torrent"
    made.write_bytes(catalogue.torrent(tracker, "file.bin"))
    assert lt.load_torrent_file(str(made)).url_seeds == [url]
    share.stop()
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.leech(made, folder / "out").wait_done()
    assert_same(folder / "out" / "file.bin", source)
    assert server.sent >= 6 * MIB


def with_url_list(torrent, urls):
    """Puts web seeds into a torrent file, and takes its trackers out."""
    value = lt.bdecode(torrent.read_bytes())
    value.pop(b"announce", None)
    value[b"url-list"] = [url.encode() for url in urls]
    torrent.write_bytes(lt.bencode(value))
    return torrent


@pytest.mark.root
def test_web_seeds_of_torrents_are_used_on_the_internet(teem, folder, cleanup, internet):
    source = random_file(folder / "root" / "file.bin", 4 * MIB)
    torrent = with_url_list(torrent_of(teem, folder, source), [f"http://{EVIL}:8080/file.bin"])
    server = WebServer(EVIL, folder / "root", namespace=internet)
    cleanup(server)
    get = teem.get(torrent, folder / "out", ip=LEECHER, namespace=internet.name, extra=NO_UTP)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)


@pytest.mark.root
def test_a_magnet_link_brings_web_seeds(teem, folder, cleanup, internet):
    source = random_file(folder / "root" / "file.bin", 4 * MIB)
    server = WebServer(EVIL, folder / "root", namespace=internet)
    cleanup(server)
    url = f"{server.url}file.bin"
    torrent = torrent_of(teem, folder, source, "--format", "v1", "--tracker", f"{EVIL}:1")
    link = f"magnet:?xt=urn:btih:{lt.torrent_info(str(torrent)).info_hash()}&x.pe={SEEDER}:{PEER_PORT}&ws={url}"
    # It has the info dictionary and nothing else.
    extra = [*NO_UTP, "--timeout", "0"]
    teem.get(torrent, folder / "empty", ip=SEEDER, namespace=internet.name, exit=False, extra=extra).event("progress")
    get = teem.get(link, folder / "out", ip=LEECHER, namespace=internet.name, extra=[*NO_UTP, "--tracker", f"http://{EVIL}:1/announce"])
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
    assert server.sent >= 4 * MIB


@pytest.mark.root
def test_web_seeds_do_not_lead_into_our_own_network(teem, folder, cleanup, internet):
    source = random_file(folder / "root" / "file.bin", 2 * MIB)
    trap = Trap(internet)
    cleanup(trap)
    hosts = [*NEAR, "localhost", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]"]

    def inwards(handler):
        host = handler.path.split("/")[1]
        if host == "file.bin":
            return False
        reply(handler, 302, {"Location": f"http://{host}:{TRAP_PORT}/"})
        return True

    server = WebServer(EVIL, folder / "root", namespace=internet, answer=inwards)
    cleanup(server)
    direct = [f"http://{host}:{TRAP_PORT}/file.bin" for host in hosts]
    redirected = [f"{server.url}{host}/x" for host in hosts]
    torrent = with_url_list(torrent_of(teem, folder, source), direct + redirected)
    get = teem.get(torrent, folder / "out", ip=LEECHER, namespace=internet.name, extra=[*NO_UTP, "--timeout", "4"])
    assert get.wait(60) == EXIT_NO_PEERS, get.tail()
    assert {path.split("/")[1] for path, _ in server.asked} == set(hosts)
    # Who listens on an IPv4 address looks for no other.
    refused = 2 * sum("[" not in host for host in hosts)
    assert get.stderr().count("named by the internet") == refused, get.stderr()
    assert trap.caught == []

"""Stock clients in the same swarm, both directions, each format that they know, through Teem's tracker."""

import pytest

import catalogue
from content import MIB, assert_same, random_file, tree
from peers import Aria2Peer, LibtorrentPeer, TransmissionPeer, lt, make_torrent, with_tracker
from teem import EXIT_DONE, EXIT_VERIFY, FORMATS

V1_FORMATS = ("v1", "hybrid")
PROTOCOLS = ("http", "udp")
PIECE_LENGTH = 64 * 1024


def url(tracker, protocol):
    """The announce URL of a tracker in one protocol."""
    return getattr(tracker, protocol)


def share(teem, source, tracker, format):
    """Shares with Teem and returns the torrent file's path."""
    process = teem.share(source, tracker, extra=["--format", format, "--piece-length", "64K"])
    path = teem.folder / f"{source.name}-{format}.torrent"
    path.write_bytes(catalogue.torrent(tracker, source.name))
    return process, path


@pytest.fixture
def small_tree(folder):
    """Files that end in mid-piece, so that hybrids have pads, and an empty one."""
    root = folder / "source" / "tree"
    for number, size in enumerate((100_000, 1, 0, 65_536, 3 * MIB + 5, 16_385)):
        random_file(root / f"sub{number % 2}" / f"file {number}.bin", size, seed=number)
    return root


# libtorrent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("format", FORMATS)
def test_libtorrent_fetches_from_teem(teem, folder, cleanup, small_tree, format, protocol):
    tracker = teem.tracker()
    _, torrent = share(teem, small_tree, tracker, format)
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.leech(torrent, folder / "out", [url(tracker, protocol)]).wait_done(60)
    assert_same(folder / "out" / "tree", small_tree)
    assert peer.failed_bytes() == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("format", FORMATS)
def test_teem_fetches_from_libtorrent(teem, folder, cleanup, small_tree, format, protocol):
    tracker = teem.tracker()
    torrent = folder / "made.torrent"
    make_torrent(small_tree, torrent, format, PIECE_LENGTH, [url(tracker, protocol)])
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.seed(torrent, small_tree.parent)
    get = teem.get(torrent, folder / "out")
    assert get.wait(60) == EXIT_DONE, get.tail() + "\n".join(peer.alerts()[-30:])
    assert_same(folder / "out" / "tree", small_tree)


@pytest.mark.parametrize("format", FORMATS)
def test_a_magnet_link_alone_is_enough_for_libtorrent(teem, folder, cleanup, small_tree, format):
    tracker = teem.tracker()
    share(teem, small_tree, tracker, format)
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.leech(catalogue.magnet(tracker, "tree"), folder / "out").wait_done(60)
    assert_same(folder / "out" / "tree", small_tree)


@pytest.mark.parametrize("format", FORMATS)
def test_a_magnet_link_alone_is_enough_for_teem(teem, folder, cleanup, small_tree, format):
    tracker = teem.tracker()
    torrent = folder / "made.torrent"
    info = make_torrent(small_tree, torrent, format, PIECE_LENGTH, [tracker.udp])
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.seed(torrent, small_tree.parent)
    get = teem.get(lt.make_magnet_uri(info), folder / "out")
    assert get.wait(60) == EXIT_DONE, get.tail() + "\n".join(peer.alerts()[-30:])
    assert_same(folder / "out" / "tree", small_tree)


@pytest.mark.parametrize("which", ["v1", "v2"])
def test_half_a_hybrids_magnet_link_is_enough(teem, folder, cleanup, small_tree, which):
    tracker = teem.tracker()
    share(teem, small_tree, tracker, "hybrid")
    entry = catalogue.entry(tracker, "tree")
    topic = f"urn:btih:{entry['info_hash_v1']}" if which == "v1" else f"urn:btmh:1220{entry['info_hash_v2']}"
    magnet = f"magnet:?xt={topic}&tr={tracker.http}"
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.leech(magnet, folder / "out").wait_done(60)
    assert_same(folder / "out" / "tree", small_tree)
    get = teem.get(magnet, folder / "mine")
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "mine" / "tree", small_tree)


@pytest.mark.parametrize("format", FORMATS)
def test_teem_and_libtorrent_leech_together(teem, folder, cleanup, format):
    source = random_file(folder / "source" / "file.bin", 24 * MIB)
    tracker = teem.tracker()
    _, torrent = share(teem, source, tracker, format)
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.leech(torrent, folder / "theirs", [tracker.http])
    get = teem.get("file.bin", folder / "ours", tracker)
    assert get.wait(90) == EXIT_DONE, get.tail()
    peer.wait_done(60)
    assert_same(folder / "ours" / "file.bin", source)
    assert_same(folder / "theirs" / "file.bin", source)


# Torrent files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["file", "tree"])
def test_libtorrent_computes_the_same_hashes_from_the_same_content(teem, folder, small_tree, kind, format):
    source = random_file(folder / "source" / "one.bin", 3 * MIB + 77) if kind == "file" else small_tree
    out = folder / "ours.torrent"
    made = teem.run(
        "torrent", "create", source, "-o", out, "--format", format, "--piece-length", "64K", "--json"
    )  # fmt: skip
    assert made.returncode == EXIT_DONE, made.tail()
    created = made.latest("created")
    read = lt.torrent_info(str(out)).info_hashes()
    assert (created["info_hash_v1"] or "") == (str(read.v1) if read.has_v1() else "")
    assert (created["info_hash_v2"] or "") == (str(read.v2) if read.has_v2() else "")
    if (kind, format) != ("tree", "v1"):  # libtorrent takes v1's files in the folder's own order
        theirs = make_torrent(source, folder / "theirs.torrent", format, PIECE_LENGTH).info_hashes()
        assert (str(read.v1), str(read.v2)) == (str(theirs.v1), str(theirs.v2))


@pytest.mark.parametrize("format", FORMATS)
def test_libtorrent_verifies_content_by_a_torrent_made_here(teem, folder, cleanup, format):
    source = tree(folder / "source" / "tree", 60, 2 * MIB)
    out = folder / "ours.torrent"
    assert teem.run("torrent", "create", source, "-o", out, "--format", format).returncode == EXIT_DONE
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.seed(out, source.parent, timeout=30)


@pytest.mark.parametrize("format", FORMATS)
def test_torrents_made_by_libtorrent_load_and_verify(teem, folder, format):
    source = tree(folder / "source" / "tree", 60, 2 * MIB)
    torrent = folder / "theirs.torrent"
    hashes = make_torrent(source, torrent, format, PIECE_LENGTH, ["http://tracker.invalid/announce"]).info_hashes()
    shown = teem.run("torrent", "show", torrent, "--json").latest("torrent")
    assert shown["format"] == format and shown["name"] == "tree" and shown["piece_length"] == PIECE_LENGTH
    assert shown["info_hash_v1"] == (str(hashes.v1) if hashes.has_v1() else None)
    assert shown["info_hash_v2"] == (str(hashes.v2) if hashes.has_v2() else None)
    assert shown["trackers"] == [["http://tracker.invalid/announce"]]
    verified = teem.run("torrent", "verify", torrent, source)
    assert verified.returncode == EXIT_DONE, verified.tail()
    with open(source / "large.bin", "r+b") as file:
        file.seek(MIB)
        file.write(b"another byte")
    verified = teem.run("torrent", "verify", torrent, source)
    assert verified.returncode == EXIT_VERIFY and "large.bin" in "\n".join(verified.lines), verified.tail()


# aria2 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("format", V1_FORMATS)
def test_aria2_fetches_from_teem(teem, folder, cleanup, small_tree, format, protocol):
    tracker = teem.tracker()
    _, torrent = share(teem, small_tree, tracker, format)
    only = with_tracker(torrent.read_bytes(), folder / "only.torrent", url(tracker, protocol))
    peer = Aria2Peer(teem.address(), teem.folder)
    cleanup(peer)
    peer.leech(only, folder / "out").wait_done(60)
    remove_pads(folder / "out" / "tree")
    assert_same(folder / "out" / "tree", small_tree)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("format", V1_FORMATS)
def test_teem_fetches_from_aria2(teem, folder, cleanup, format, protocol):
    source = random_file(folder / "source" / "file.bin", 5 * MIB + 123)
    tracker = teem.tracker()
    torrent = folder / "made.torrent"
    make_torrent(source, torrent, format, PIECE_LENGTH, [url(tracker, protocol)])
    peer = Aria2Peer(teem.address(), teem.folder)
    cleanup(peer)
    peer.seed(torrent, source.parent)
    get = teem.get(torrent, folder / "out")
    assert get.wait(60) == EXIT_DONE, get.tail() + peer.process.tail()
    assert_same(folder / "out" / "file.bin", source)


def test_aria2_serves_a_hybrid_tree_that_it_has_fetched(teem, folder, cleanup, small_tree):
    tracker = teem.tracker()
    seeder, torrent = share(teem, small_tree, tracker, "hybrid")
    only = with_tracker(torrent.read_bytes(), folder / "only.torrent", tracker.http)
    peer = Aria2Peer(teem.address(), teem.folder)
    cleanup(peer)
    peer.leech(only, folder / "theirs").wait_done(60)
    seeder.kill()
    peer.seed(only, folder / "theirs")
    get = teem.get("tree", folder / "ours", tracker)
    assert get.wait(60) == EXIT_DONE, get.tail() + peer.process.tail()
    assert_same(folder / "ours" / "tree", small_tree)


# Transmission ----------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("format", V1_FORMATS)
def test_transmission_fetches_from_teem(teem, folder, cleanup, namespace, small_tree, format, protocol):
    announce = f"{protocol}://10.99.0.1:6969/announce"
    torrent = folder / "made.torrent"
    make_torrent(small_tree, torrent, format, PIECE_LENGTH, [announce])
    teem.tracker(ip="10.99.0.1", namespace=namespace.name)
    # The content is there: `get` finds it and goes on as a seeder.
    seeder = teem.get(torrent, small_tree.parent, ip="10.99.0.2", namespace=namespace.name, exit=False)
    seeder.done(30)
    peer = TransmissionPeer("10.99.0.3", teem.folder, namespace)
    cleanup(peer)
    peer.leech(torrent, folder / "out").wait_done(120)
    remove_pads(folder / "out" / "tree")
    assert_same(folder / "out" / "tree", small_tree)


@pytest.mark.root
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("format", V1_FORMATS)
def test_teem_fetches_from_transmission(teem, folder, cleanup, namespace, format, protocol):
    source = random_file(folder / "source" / "file.bin", 5 * MIB + 123)
    announce = f"{protocol}://10.99.0.1:6969/announce"
    torrent = folder / "made.torrent"
    make_torrent(source, torrent, format, PIECE_LENGTH, [announce])
    teem.tracker(ip="10.99.0.1", namespace=namespace.name)
    peer = TransmissionPeer("10.99.0.3", teem.folder, namespace)
    cleanup(peer)
    peer.seed(torrent, source.parent)
    get = teem.get(torrent, folder / "out", ip="10.99.0.4", namespace=namespace.name)
    assert get.wait(120) == EXIT_DONE, get.tail() + peer.info()
    assert_same(folder / "out" / "file.bin", source)


@pytest.mark.root
def test_transmission_serves_a_hybrid_tree_that_it_has_fetched(teem, folder, cleanup, namespace, small_tree):
    torrent = folder / "made.torrent"
    make_torrent(small_tree, torrent, "hybrid", PIECE_LENGTH, ["http://10.99.0.1:6969/announce"])
    teem.tracker(ip="10.99.0.1", namespace=namespace.name)
    seeder = teem.get(torrent, small_tree.parent, ip="10.99.0.2", namespace=namespace.name, exit=False)
    seeder.done(30)
    peer = TransmissionPeer("10.99.0.3", teem.folder, namespace)
    cleanup(peer)
    peer.leech(torrent, folder / "theirs").wait_done(120)
    seeder.kill()
    get = teem.get(torrent, folder / "ours", ip="10.99.0.4", namespace=namespace.name)
    assert get.wait(120) == EXIT_DONE, get.tail() + peer.info()
    assert_same(folder / "ours" / "tree", small_tree)


def remove_pads(root):
    """Removes the pad files that v1 clients write."""
    pads = root / ".pad"
    if pads.exists():
        for path in pads.iterdir():
            path.unlink()
        pads.rmdir()

"""libtorrent in the same swarm, and torrent files that both make of the same content; `test_matrix` has all clients."""

import pytest

import catalogue
from content import MIB, assert_same, random_file, tree
from peers import LibtorrentPeer, lt, make_torrent
from teem import EXIT_DONE, EXIT_VERIFY, FORMATS

PIECE_LENGTH = 64 * 1024


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


# Transfers -------------------------------------------------------------------------------------------


def test_a_magnet_link_alone_is_enough_for_libtorrent(teem, folder, cleanup, small_tree):
    tracker = teem.tracker()
    share(teem, small_tree, tracker, "hybrid")
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.leech(catalogue.magnet(tracker, "tree"), folder / "out").wait_done(60)
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

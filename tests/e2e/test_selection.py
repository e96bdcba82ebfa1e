"""Some files of a torrent: chosen by pattern, number or magnet link (BEP 53), fetched, served, and completed later."""

import libtorrent as lt
import pytest

import bep3
from content import MIB, assert_same, random_file
from peers import LibtorrentPeer, make_torrent
from proc import wait_for
from scripted import ScriptedSeeder
from teem import EXIT_DONE, EXIT_NOT_FOUND, EXIT_USAGE, FORMATS, PEER_PORT

PIECE = 64 * 1024
FILES = {"a.bin": 3 * PIECE // 2, "notes/b.txt": 40_000, "notes/c.txt": 5 * PIECE, "tiny": 700, "z.bin": MIB}


@pytest.fixture
def source(folder):
    """A folder whose files, end to end, share pieces."""
    root = folder / "source" / "box"
    for seed, (path, size) in enumerate(FILES.items(), 1):
        random_file(root / path, size, seed)
    return root


def made(source, folder, format, trackers=()):
    """The torrent file, and what libtorrent reads in it."""
    path = folder / f"{format}.torrent"
    return path, make_torrent(source, path, format, PIECE, trackers)


def listed(info):
    """The numbers by which other clients mean files."""
    files = info.layout()
    paths = [files.file_path(index).removeprefix("box/") for index in range(files.num_files())]
    # Pads of one length have one name.
    return {f"{path}~{index}" if path.startswith(".pad") else path: index for index, path in enumerate(paths)}


def scripted(teem, cleanup, torrent, info, source, **options):
    """A seeder that says what it was asked for."""
    order = sorted((index, path) for path, index in listed(info).items())
    sizes = [info.layout().file_size(index) for index, _ in order]
    data = b"".join(
        bytes(size) if path.startswith(".pad") else (source / path).read_bytes() for size, (_, path) in zip(sizes, order)
    )
    peer = ScriptedSeeder(teem.address(), torrent.read_bytes(), data, **options)
    cleanup(peer)
    return peer


def pieces_of(info, paths):
    """The pieces that have bytes of these files."""
    pieces = set()
    for path in paths:
        index = listed(info)[path]
        start, size = info.layout().file_offset(index), info.layout().file_size(index)
        pieces |= set(range(start // PIECE, (start + size - 1) // PIECE + 1))
    return pieces


def assert_only(out, source, paths):
    """These files are there, and nothing else."""
    root = out / "box"
    assert {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()} == set(paths)
    assert [path.name for path in out.iterdir()] == ["box"]
    for path in paths:
        assert_same(root / path, source / path)


def test_only_what_is_wanted_is_asked_for_and_the_rest_later(teem, folder, cleanup, source):
    tracker = teem.tracker()
    torrent, info = made(source, folder, "v1", [tracker.http])
    peer = scripted(teem, cleanup, torrent, info, source)
    peer.announce(tracker)
    data, out = teem.state("leecher"), folder / "out"
    wanted = ["notes/b.txt", "tiny"]
    get = teem.get(torrent, out, data=data, extra=["--only", "b.*", "--only", "./tiny"])
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert get.done()["bytes"] == sum(FILES[path] for path in wanted)
    assert_only(out, source, wanted)
    first = list(peer.served)
    assert {piece for piece, _ in first} == pieces_of(info, wanted)
    assert len(set(first)) == len(first)
    get = teem.get(torrent, out, data=data)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(out / "box", source)
    assert len(set(peer.served)) == len(peer.served), "a block was fetched twice"
    assert {piece for piece, _ in peer.served} == set(range(info.num_pieces()))
    assert not list((data / "parts").iterdir())


@pytest.mark.parametrize("format", FORMATS)
def test_links_select_files_as_other_clients_number_them(teem, folder, cleanup, source, format):
    torrent, info = made(source, folder, format)
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.seed(torrent, source.parent)
    wanted = ["notes/c.txt", "z.bin"]
    shown = teem.run("torrent", "magnet", torrent, "--only", "notes/c*", "--only", "z.bin", "--json").objects()[0]
    priorities = lt.parse_magnet_uri(shown["magnet"]).file_priorities
    numbers = listed(info)
    chosen = {path for path, index in numbers.items() if index < len(priorities) and priorities[index]}
    assert chosen == set(wanted)
    # As others write it: without order, with a range, with numbers that no file has.
    link = lt.make_magnet_uri(info) + f"&so={numbers['z.bin']},{numbers['notes/c.txt']}-{numbers['notes/c.txt']},900"
    for name, magnet in (("ours", shown["magnet"]), ("theirs", link)):
        get = teem.get(f"{magnet}&x.pe={peer.address}:{PEER_PORT}", folder / name)
        assert get.wait(60) == EXIT_DONE, get.tail()
        assert_only(folder / name, source, wanted)
    # What the person says counts more than the link.
    get = teem.get(f"{link}&x.pe={peer.address}:{PEER_PORT}", folder / "said", extra=["--only", "tiny"])
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_only(folder / "said", source, ["tiny"])


@pytest.mark.parametrize("format", FORMATS)
def test_a_choice_survives_kill_9(teem, folder, cleanup, source, format):
    tracker = teem.tracker()
    torrent, info = made(source, folder, format, [tracker.http])
    peer = scripted(teem, cleanup, torrent, info, source, hold_after=10 * PIECE)
    peer.announce(tracker)
    data, out, wanted = teem.state("leecher"), folder / "out", ["notes/b.txt", "notes/c.txt", "z.bin"]
    chosen = ["--only", "notes/", "--only", "z.bin"]
    get = teem.get(torrent, out, data=data, extra=chosen)
    assert peer.held.wait(30), get.tail()
    told = sum(line["kind"] == "progress" for line in get.objects())
    # Two reports later what was sent is on disk.
    wait_for(lambda: sum(line["kind"] == "progress" for line in get.objects()) > told + 1, 30, "progress", get)
    get.kill()
    assert list(out.rglob("*.part"))
    before = list(peer.served)
    blocks = {piece: -(-info.piece_size(piece) // 16384) for piece in range(info.num_pieces())}
    kept = {piece for piece, _ in before if sum(1 for other, _ in before if other == piece) == blocks[piece]}
    assert kept
    peer.release()
    get = teem.get(torrent, out, data=data, extra=chosen)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_only(out, source, wanted)
    assert not kept & {piece for piece, _ in peer.served[len(before):]}, "fetched though it was there"
    assert {piece for piece, _ in peer.served} == pieces_of(info, wanted)
    again = teem.get(torrent, out, data=data, extra=chosen)
    assert again.wait(30) == EXIT_DONE, again.tail()


def test_a_partial_peer_serves_what_it_has_and_is_counted_as_what_it_is(teem, folder, cleanup, source):
    tracker = teem.tracker()
    torrent, info = made(source, folder, "v1", [tracker.http])
    seeder = scripted(teem, cleanup, torrent, info, source)
    seeder.announce(tracker)
    wanted = ["notes/c.txt"]
    partial = teem.get(torrent, folder / "partial", exit=False, extra=["--only", "notes/c.txt"])
    partial.done()
    seeder.close()
    info_hash = info.info_hashes().v1.to_bytes()
    counts = wait_for(
        lambda: (now := bep3.scraped(tracker.host, info_hash)[info_hash]) and now[b"incomplete"] and now, 20, "leecher"
    )
    assert counts[b"downloaded"] == 0, "it never had everything"
    leecher = LibtorrentPeer(teem.address())
    cleanup(leecher)
    leecher.leech(torrent, folder / "leech")
    leecher.connect(partial.ip)
    expected = pieces_of(info, wanted)
    wait_for(lambda: sum(leecher.handle.status().pieces) == len(expected), 30, f"all that is there: {leecher.describe()}")
    assert {piece for piece, has in enumerate(leecher.handle.status().pieces) if has} == expected
    assert leecher.failed_bytes() == 0
    # The shared pieces brought bytes of files that nobody asked for: they are right, too.
    assert_only(folder / "partial", source, wanted)


def test_a_choice_that_means_nothing_says_what_there_is(teem, folder, cleanup, source):
    torrent, info = made(source, folder, "hybrid")
    get = teem.get(torrent, folder / "out", extra=["--only", "*.mkv"])
    assert get.wait(20) == EXIT_NOT_FOUND, get.tail()
    assert '"*.mkv"' in get.stderr() and "2 notes/b.txt" in get.stderr(), get.stderr()
    peer = LibtorrentPeer(teem.address())
    cleanup(peer)
    peer.seed(torrent, source.parent)
    link = f"{lt.make_magnet_uri(info)}&x.pe={peer.address}:{PEER_PORT}"
    for bad in ([f"{link}&so=70", []], [link, ["--only", "9"]]):
        get = teem.get(bad[0], folder / "out", extra=bad[1])
        assert get.wait(20) == EXIT_NOT_FOUND, get.tail()
    assert not list((folder / "out").iterdir())
    get = teem.get(torrent, folder / "out", extra=["--only", "3-1"])
    assert get.wait(20) == EXIT_USAGE, get.tail()

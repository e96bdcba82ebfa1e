"""Hostile torrent files and peers: refused with one clear line, never a crash, never outside the folder."""

import os
import socket

import pytest

import hostile
from content import MIB, assert_same, random_file
from teem import EXIT_DONE, EXIT_FAILED, PEER_PORT, TRACKER_PORT


@pytest.mark.parametrize("name", hostile.HOSTILE)
def test_a_hostile_torrent_file_is_refused_in_one_line(teem, folder, name):
    path = folder / "hostile.torrent"
    path.write_bytes(hostile.HOSTILE[name])
    shown = teem.run("torrent", "show", path, timeout=10)
    assert shown.returncode == EXIT_FAILED, f"not refused: {shown.tail()}"
    lines = [line for line in shown.stderr().splitlines() if not line.startswith("$ ")]
    assert len(lines) == 1 and lines[0].startswith("error:"), lines
    assert len(lines[0]) < 1000, "the reason is as long as the file"
    assert not shown.lines


def test_the_sound_one_is_not_refused(teem, folder):
    path = folder / "sound.torrent"
    path.write_bytes(hostile.SOUND)
    shown = teem.run("torrent", "show", path, timeout=10)
    assert shown.returncode == EXIT_DONE, shown.tail()


@pytest.mark.parametrize("name", hostile.RESERVED)
def test_names_that_are_odd_elsewhere_stay_inside_and_print_plainly(teem, folder, name):
    path = folder / "odd.torrent"
    path.write_bytes(hostile.v1_files(hostile.file(name), hostile.file("ok")))
    shown = teem.run("torrent", "show", path, timeout=10)
    assert shown.returncode in (EXIT_DONE, EXIT_FAILED), shown.tail()
    text = "\n".join(shown.lines) + shown.stderr()
    assert "\x1b" not in text, "control characters reach the terminal"


def test_memory_stays_small_whatever_a_file_claims(teem, folder):
    path = folder / "hostile.torrent"
    path.write_bytes(b"d4:infod6:lengthi" + str(2**50).encode() + b"e4:name1:n12:piece lengthi16384e6:pieces0:ee")
    shown = teem.run("torrent", "show", path, timeout=10)
    assert shown.returncode == EXIT_FAILED, shown.tail()


GARBAGE = {
    "nothing": b"",
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(200),
    "zeros": bytes(100_000),
    "a handshake for another torrent": b"\x13BitTorrent protocol" + bytes(8) + bytes(20) + b"-XX0001-abcdefghijkl",
    "noise": os.urandom(100_000),
}


def throw(data, host, port):
    """Sends bytes over a connection that may end meanwhile."""
    with socket.create_connection((host, port), 5) as connection:
        try:
            connection.sendall(data)
        except OSError:
            pass


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_at_the_peer_port_does_not_disturb_a_share(teem, folder, name):
    source = random_file(folder / "source" / "file.bin", 2 * MIB)
    tracker = teem.tracker()
    seeder = teem.share(source, tracker)
    for _ in range(20):
        throw(GARBAGE[name], seeder.ip, PEER_PORT)
    get = teem.get("file.bin", folder / "out", tracker)
    assert get.wait(30) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
    assert seeder.running()


def test_garbage_at_the_tracker_does_not_disturb_it(teem, folder):
    tracker = teem.tracker()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for data in GARBAGE.values():
        for cut in (len(data), 1, 15, 16, 17, 98):
            udp.sendto(data[:cut][:1400], (tracker.ip, TRACKER_PORT))
        throw(data, tracker.ip, TRACKER_PORT)
    udp.close()
    source = random_file(folder / "source" / "file.bin", MIB)
    teem.share(source, tracker)
    get = teem.get("file.bin", folder / "out", tracker)
    assert get.wait(30) == EXIT_DONE, get.tail()
    assert tracker.running()


def test_many_idle_connections_do_not_lock_a_peer_out(teem, folder):
    source = random_file(folder / "source" / "file.bin", 2 * MIB)
    tracker = teem.tracker()
    seeder = teem.share(source, tracker)
    idle = [socket.create_connection((seeder.ip, PEER_PORT), 5) for _ in range(60)]
    get = teem.get("file.bin", folder / "out", tracker)
    assert get.wait(45) == EXIT_DONE, get.tail()
    for connection in idle:
        connection.close()

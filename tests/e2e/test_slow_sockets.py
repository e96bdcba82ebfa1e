"""Sockets that are held open and say next to nothing: others must not notice."""

import socket

import pytest

import slow
from content import random_file
from json_protocol import Client
from teem import PEER_PORT


@pytest.mark.parametrize("listener", slow.LISTENERS)
def test_slow_sockets_lock_nobody_out(teem, cleanup, listener):
    slow.allow_descriptors()
    tracker = teem.tracker(extra=slow.tracker_flags(listener, teem.address()))
    good = slow.LISTENERS[listener](tracker)
    crowd = slow.Crowd(good)
    cleanup(crowd)
    steady = good.connect("127.0.0.10")
    for _ in range(slow.SOCKETS // 50):
        crowd.open(50)
        assert good.ask(steady), "a connection that is used stays"
        assert good.ask_anew("127.0.0.9"), "a new one gets in"
        assert good.ask_anew(slow.ONE_OF_THE_CROWD), "and so does one of a network with slow ones"
    assert tracker.memory_peak_kib() < slow.MEMORY_MAX_MIB[listener] * 1024


def test_requests_that_stop_in_the_middle_keep_no_long_one_out(teem, cleanup):
    tracker = teem.tracker()
    good = slow.Json(tracker)
    crowd = slow.Crowd(good)
    cleanup(crowd)
    # More than there may be at once of this length.
    crowd.open(200, b'{"type":"REGISTER","files":{"' + b"x" * 20_000)
    anna = Client(good.dial("127.0.0.9"), "anna").enter()
    cleanup(anna)
    files = {f"a file with a long name {number:06}": 7 for number in range(10_000)}
    assert anna.ask("REGISTER", port=8080, files=files) == {"status": "REGISTERED"}


ENDLESS = {
    "http": b"GET /",
    "http-tls": b"GET / HTTP/1.1\r\nX: ",
    "json": b'{"type":"',
    "json-tls": b'{"type":"',
    "admin": b"GET /metrics HTTP/1.1\r\nX: ",
    "text-lists": b"a",
    "peer": b'{"type":"GET","file_name":"',
}
GIB = 1 << 30


@pytest.mark.parametrize("listener", ENDLESS)
def test_a_line_of_a_gigabyte_is_not_read_to_its_end(teem, folder, listener):
    if listener == "peer":
        process = teem.share(random_file(folder / "source" / "file.bin", 40_000), teem.tracker())
        stream = socket.create_connection((process.ip, PEER_PORT), 30)
    else:
        process = teem.tracker(extra=slow.tracker_flags(listener, teem.address()))
        stream = slow.LISTENERS[listener](process).dial("127.0.0.9")
    before, sent, part = process.memory_peak_kib(), len(ENDLESS[listener]), b"x" * (1 << 20)
    with stream:
        try:
            stream.sendall(ENDLESS[listener])
            while sent < GIB:
                stream.sendall(part)
                sent += len(part)
        except OSError:
            pass  # It was ended while we were still sending.
    assert sent < 64 << 20, "what the system buffers, and no more"
    assert process.memory_peak_kib() - before < 8 * 1024

"""Sockets that are held open and say next to nothing: others must not notice."""

import json

import pytest

import slow


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
    with good.dial("127.0.0.9") as stream:
        lines = stream.makefile("rb")

        def ask(**request):
            stream.sendall(json.dumps({"peer_id": "anna", **request}).encode() + b"\n")
            return json.loads(lines.readline())

        token = ask(type="AUTH")["token"]
        files = {f"a file with a long name {number:06}": 7 for number in range(10_000)}
        assert ask(type="REGISTER", token=token, port=8080, files=files) == {"status": "REGISTERED"}

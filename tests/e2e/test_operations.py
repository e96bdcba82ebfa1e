"""What an operator does with a tracker: look at it, reload it, back it up, stop and start it."""

import http.client
import json
from pathlib import Path
from urllib.parse import quote

from proc import wait_for
from teem import EXIT_TERMINATED


def operator_of(tracker):
    """HOST:PORT of the operator's own listener."""
    return next(each["addr"] for each in tracker.ready()["listeners"] if each["protocol"] == "admin")


def ask(host, path, method="GET", **headers):
    """One request; returns the status and the body as text."""
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.request(method, path, headers=headers)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


def test_the_operator_has_a_port_of_their_own(teem):
    first, second = teem.tracker(), teem.tracker()
    ports = [operator_of(each).split(":") for each in (first, second)]
    assert ports[0][0] == ports[1][0] == "127.0.0.1" and ports[0][1] != ports[1][1], "the next free port"
    assert ask(first.host, "/metrics")[0] == 404, "not where everybody may ask"
    status, text = ask(operator_of(first), "/metrics")
    assert status == 200 and "\nteem_torrents 0\n" in text
    assert ask(operator_of(first), "/metrics", Host="rebound.example")[0] == 403
    assert ask(operator_of(first), "/announce")[0] == 404
    status, text = ask(first.host, "/api/v1/openapi.json")
    assert status == 200 and "/metrics" in json.loads(text)["paths"]
    public = [each["protocol"] for each in json.loads(ask(first.host, "/api/v1/status")[1])["listeners"]]
    assert "admin" not in public, "strangers need not know"


def test_the_operators_port_goes_where_it_is_told(teem):
    none = teem.tracker(extra=["--admin-listen", "off"])
    assert not any(each["protocol"] == "admin" for each in none.ready()["listeners"])
    ip = teem.address()
    open_to_all = teem.tracker(extra=["--admin-listen", f"{ip}:0", "--admin-host", "stats.example"])
    assert operator_of(open_to_all).startswith(f"{ip}:")
    assert ask(operator_of(open_to_all), "/metrics", Host="stats.example:80")[0] == 200
    taken = teem("tracker", "--listen", f"{teem.address()}:0", "--admin-listen", operator_of(open_to_all), "--data", teem.state("x"))
    assert taken.wait(20) == 1 and operator_of(open_to_all) in taken.stderr() and "ss -ltnp" in taken.stderr()


def test_open_connections_do_not_hold_up_the_end(teem):
    tracker = teem.tracker()
    idle = [http.client.HTTPConnection(host, timeout=20) for host in (tracker.host, operator_of(tracker)) for _ in range(20)]
    for connection in idle:
        connection.request("GET", "/health")
        connection.getresponse().read()
    assert "\nteem_http_connections_open 20\n" in ask(operator_of(tracker), "/metrics")[1]
    assert tracker.stop() == EXIT_TERMINATED
    for connection in idle:
        connection.close()


def announce(tracker, info_hash, port, left, peer_id="-TR4060-abcdefghijkl"):
    """An announce over HTTP; returns the reply's bytes."""
    query = f"info_hash={quote(info_hash)}&peer_id={peer_id}&port={port}&uploaded=0&downloaded=0&left={left}&compact=1"
    connection = http.client.HTTPConnection(tracker.host, timeout=20)
    connection.request("GET", f"/announce?{query}")
    body = connection.getresponse().read()
    connection.close()
    return body


def statistics(tracker):
    """The operator's view of the whole."""
    return json.loads(ask(operator_of(tracker), "/api/v1/statistics")[1])


HASH = bytes(range(20))


def test_peers_outlive_a_restart_when_asked(teem):
    for extra, expected in [(["--keep-peers"], 2), ([], 0)]:
        tracker = teem.tracker(extra=extra)
        announce(tracker, HASH, 7001, 0)
        announce(tracker, HASH, 7002, 9, peer_id="-qB5000-abcdefghijkl")
        data = tracker.argv[tracker.argv.index("--data") + 1]
        assert tracker.stop() == EXIT_TERMINATED
        again = teem.tracker(ip=tracker.ip, data=data, extra=extra)
        assert statistics(again)["peers"] == expected
        if expected:
            assert {each["client"] for each in statistics(again)["clients"]} == {"Transmission", "qBittorrent"}
            again.stop()
            dump = Path(data) / "peers.dump"
            dump.write_bytes(dump.read_bytes()[:-9] + b"x" * 9)
            damaged = teem.tracker(ip=tracker.ip, data=data, extra=extra)
            assert "peers of the run before are not used" in damaged.stderr()
            assert statistics(damaged)["peers"] == 0


def test_counts_of_all_torrents_go_to_a_file(teem, folder):
    file = folder / "counts"
    tracker = teem.tracker(extra=["--scrape-export", file, "--scrape-export-every", "1s"])
    announce(tracker, HASH, 7001, 0)
    expected = b"d5:filesd20:" + HASH + b"d8:completei1e10:downloadedi0e10:incompletei0eeee"
    wait_for(lambda: file.exists() and file.read_bytes() == expected, 20, "counts", tracker)
    assert [path.name for path in folder.iterdir() if "tmp" in path.name] == []


def test_the_status_page_is_whole_without_scripts(teem):
    tracker = teem.tracker()
    announce(tracker, HASH, 7001, 0)
    status, page = ask(operator_of(tracker), "/")
    assert status == 200 and HASH.hex() in page and "Transmission" in page and "<script" not in page
    assert ask(operator_of(tracker), "/style.css")[0] == 200

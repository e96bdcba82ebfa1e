"""What an operator does with a tracker: look at it, reload it, back it up, stop and start it."""

import http.client
import json


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

"""The tracker's HTTP API, as a script would use it."""

import http.client
import json
from urllib.parse import quote


def request(tracker, method, path, body=None):
    """One request; returns the status and the body."""
    connection = http.client.HTTPConnection(tracker.host, timeout=20)
    connection.request(method, path, body)
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    return reply.status, data


def torrent(tracker, name):
    """The torrent file that the catalogue keeps for a name."""
    status, data = request(tracker, "GET", f"/api/v1/catalogue/{quote(name, safe='')}/torrent")
    assert status == 200, data
    return data


def magnet(tracker, name):
    """The magnet link of a name."""
    status, data = request(tracker, "GET", f"/api/v1/catalogue/{quote(name, safe='')}/magnet")
    assert status == 200, data
    return data.decode().strip()


def entry(tracker, name):
    """The catalogue's entry for a name, none if it has none."""
    status, data = request(tracker, "GET", f"/api/v1/catalogue/{quote(name, safe='')}")
    return json.loads(data) if status == 200 else None


def publish(tracker, name, data):
    """Publishes a torrent file under a name."""
    status, reply = request(tracker, "PUT", f"/api/v1/catalogue/{quote(name, safe='')}", data)
    assert status in (200, 201), reply
    return json.loads(reply)

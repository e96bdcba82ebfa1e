"""The tracker's HTTP API, as a script would use it."""

import json
from urllib.parse import quote

import web


def request(tracker, method, path, **options):
    """One request below the catalogue, with the options of `web.request`; returns the status and the body."""
    return web.request(tracker.host, method, f"/api/v1/catalogue{path}", **options)


def path_of(name):
    """The path of a name."""
    return f"/{quote(name, safe='')}"


def torrent(tracker, name):
    """The torrent file that the catalogue keeps for a name."""
    status, data = request(tracker, "GET", f"{path_of(name)}/torrent")
    assert status == 200, data
    return data


def magnet(tracker, name):
    """The magnet link of a name."""
    status, data = request(tracker, "GET", f"{path_of(name)}/magnet")
    assert status == 200, data
    return data.decode().strip()


def entry(tracker, name):
    """The catalogue's entry for a name, none if it has none."""
    status, data = request(tracker, "GET", path_of(name))
    return json.loads(data) if status == 200 else None


def names(tracker):
    """Up to 1,000 names of the catalogue, in its order."""
    status, data = request(tracker, "GET", "?limit=1000")
    assert status == 200, data
    return [each["name"] for each in json.loads(data)["entries"]]


def publish(tracker, name, data):
    """Publishes a torrent file under a name."""
    status, reply = request(tracker, "PUT", path_of(name), body=data)
    assert status in (200, 201), reply
    return json.loads(reply)

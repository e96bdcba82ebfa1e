"""A client of the HTTP tracker protocol (BEP 3, 7, 23, 48), request by request."""

import socket
import struct
from urllib.parse import quote, urlencode

import libtorrent as lt

import web

PEER_ID = b"-XX0001-aaaaaaaaaaaa"


def announce_path(info_hash, port=7, left=0, peer_id=PEER_ID, passkey=None, **more):
    """Path and query of an announce; an event, say, is among `more`."""
    fields = {"info_hash": info_hash, "peer_id": peer_id, "port": port, "left": left}
    fields |= {"uploaded": 0, "downloaded": 0, "compact": 1} | more
    return f"{'/' + passkey if passkey else ''}/announce?{urlencode(fields, safe=':', quote_via=quote)}"


def answer(host, path, **options):
    """What HOST:PORT answers, decoded; the options are those of `web.request`."""
    status, body = web.request(host, "GET", path, **options)
    assert status == 200, body
    return lt.bdecode(body)


def announced(tracker, info_hash, port, left, event="started", **fields):
    """The answer to an announce."""
    return answer(tracker.host, announce_path(info_hash, port, left, event=event, **fields))


def scraped(host, *info_hashes, **options):
    """What is known of each of these torrents, by info hash."""
    query = urlencode([("info_hash", each) for each in info_hashes], quote_via=quote)
    return answer(host, f"/scrape?{query}", **options)[b"files"]


def peers(reply):
    """All addresses and ports in the answer to an announce."""
    return compact(reply.get(b"peers", b""), socket.AF_INET) | compact(reply.get(b"peers6", b""), socket.AF_INET6)


def compact(data, family):
    """The addresses and ports of a compact list."""
    size = 18 if family == socket.AF_INET6 else 6
    rows = [data[at : at + size] for at in range(0, len(data), size)]
    return {(socket.inet_ntop(family, row[:-2]), struct.unpack(">H", row[-2:])[0]) for row in rows}

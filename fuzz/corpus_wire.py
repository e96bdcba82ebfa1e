#!/usr/bin/env python3
"""Writes the seeds of the corpora of peer, extension, tracker, dht, text and utp. Same output every time.

    fuzz/corpus_wire.py
"""

import json
import struct
import urllib.parse

from corpus import bencode, write

HASH = bytes(range(20))
PEER_ID = b"-TE0001-abcdefghijkl"
BLOCK = 16384


def message(kind, payload=b""):
    return struct.pack(">IB", 1 + len(payload), kind) + payload


def words(*numbers):
    return struct.pack(">%dI" % len(numbers), *numbers)


def peer():
    reserved = bytes([0, 0, 0, 0, 0, 0x10, 0, 0x05])
    handshake = b"\x13BitTorrent protocol" + reserved + HASH + PEER_ID
    block = words(1, 0) + bytes(100)
    hash_range = bytes(32) + words(0, 0, 4, 2)
    simple = [message(kind) for kind in (0, 1, 2, 3, 14, 15)]
    numbered = [message(kind, words(7)) for kind in (4, 13, 17)]
    requests = [message(kind, words(1, BLOCK, BLOCK)) for kind in (6, 8, 16)]
    hashes = [message(21, hash_range), message(22, hash_range + bytes(128)), message(23, hash_range)]
    every = simple + numbered + requests + hashes
    every += [message(5, b"\xf0"), message(7, block), message(9, b"\x1a\xe1"), bytes(4)]
    every += [message(20, b"\x00de"), message(99, b"odd")]
    write("peer", "handshake", handshake)
    write("peer", "every-message", handshake + b"".join(every))
    write("peer", "no-handshake", b"".join(every))
    write("peer", "cut", b"".join(every)[:-3])
    write("peer", "huge-length", b"\xff\xff\xff\xff\x05")
    write("peer", "huge-bitfield", struct.pack(">IB", 2**31, 5))
    write("peer", "short-have", message(4, b"\x00"))


def extension():
    full = {
        "m": {"ut_metadata": 1, "lt_donthave": 2, "upload_only": 3, "ut_pex": 4},
        "metadata_size": 31235, "p": 6881, "reqq": 2000, "upload_only": 1,
        "v": "Teem 0.1.0", "yourip": b"\x7f\x00\x00\x01",
    }
    write("extension", "handshake", bencode(full))
    write("extension", "handshake-v6", bencode({**full, "yourip": bytes(15) + b"\x01"}))
    write("extension", "handshake-odd", b"d1:mi3e13:metadata_sizei-1e1:vi2e6:yourip1:xe")
    write("extension", "handshake-controls", bencode({"v": b"\x1b[31m\x00\xff"}))
    write("extension", "request", bencode({"msg_type": 0, "piece": 3}))
    write("extension", "data", bencode({"msg_type": 1, "piece": 0, "total_size": 5}) + b"bytes")
    write("extension", "reject", bencode({"msg_type": 2, "piece": 3}))
    for family, ip in (("v4", b"\0abcd"), ("v6", b"\1abcdefghijklmnop")):
        write("extension", f"punch-{family}", b"\1" + ip + b"ef" + bytes(4))
    write("extension", "punch-failed", b"\2\0abcdef\0\0\0\3")
    write("extension", "unknown", bencode({"msg_type": 7, "piece": 3}))
    write("extension", "dont-have", words(9))
    write("extension", "upload-only", b"\x01")


def udp():
    magic = 0x41727101980
    announce = struct.pack(">QII20s20sQQQIIIiH", 7, 1, 9, HASH, PEER_ID, 1, 2, 3, 2, 0, 5, -1, 6881)
    write("tracker", "udp-connect", struct.pack(">QII", magic, 0, 9))
    write("tracker", "udp-announce", announce)
    write("tracker", "udp-announce-url", announce + b"\x02\x06/a?k=v\x00")
    write("tracker", "udp-announce-cut-url", announce + b"\x02\xff/a")
    write("tracker", "udp-announce-big", announce.replace(struct.pack(">Q", 2), b"\xff" * 8))
    write("tracker", "udp-scrape", struct.pack(">QII", 7, 2, 9) + HASH * 3)
    write("tracker", "udp-connected", struct.pack(">IIQ", 0, 9, 7))
    peers = b"\x7f\x00\x00\x01\x1a\xe1" * 3
    write("tracker", "udp-announced", struct.pack(">IIIII", 1, 9, 60, 1, 2) + peers)
    write("tracker", "udp-scraped", struct.pack(">II", 2, 9) + words(1, 2, 3))
    write("tracker", "udp-refused", struct.pack(">II", 3, 9) + b"no\x1b")


def http():
    escaped = urllib.parse.quote_from_bytes(HASH, safe="")
    query = "info_hash=%s&peer_id=%s&port=6881&uploaded=1&downloaded=2&left=3" % (
        escaped, PEER_ID.decode())
    write("tracker", "http-announce", (query + "&compact=1&event=started&key=beef").encode())
    write("tracker", "http-announce-long", (query + "&compact=0&numwant=-1&ipv6=%3A%3A1").encode())
    write("tracker", "http-scrape", ("info_hash=%s&info_hash=%s" % (escaped, escaped)).encode())
    write("tracker", "http-url", b"http://a/x/announce.php?k=v")
    head = "GET /announce?%s HTTP/1.1\r\nHost: t:6969\r\nX-Forwarded-For: 1.2.3.4\r\n%s\r\n"
    write("tracker", "http-head", (head % (query, "Connection: close\r\n")).encode())
    write("tracker", "http-head-pipelined", ((head % (query, "")) * 2).encode())
    write("tracker", "http-head-unusual", (head % (query, "Content-Length: 5\r\n") + "hello").encode())
    counts = {"complete": 1, "incomplete": 2, "interval": 60, "min interval": 30}
    packed = {"peers": b"\x7f\x00\x00\x01\x1a\xe1", "peers6": bytes(15) + b"\x01\x1a\xe1"}
    write("tracker", "http-announced", bencode(
        {**counts, **packed, "external ip": b"\x01\x02\x03\x04", "warning message": "hm"}))
    long = [{"ip": "127.0.0.1", "peer id": PEER_ID, "port": 6881}, {"ip": "a.b", "port": 1}]
    write("tracker", "http-announced-long", bencode({**counts, "peers": long}))
    write("tracker", "http-refused", bencode({"failure reason": "no", "retry in": 5}))
    write("tracker", "http-refused-never", bencode({"failure reason": "no", "retry in": "never"}))
    swarm = {"complete": 1, "downloaded": 2, "incomplete": 3}
    write("tracker", "http-scraped", bencode({"files": {b"a" * 20: swarm}}))


def json_requests():
    register = {"type": "REGISTER", "peer_id": "p", "token": "t", "port": 8080, "files": {"a.pdf": 5}}
    page = {"type": "FILE_LIST", "peer_id": "p", "pattern": "a", "after": "b", "limit": 3}
    write("tracker", "json-auth", b'{\n  "type": "AUTH",\n  "peer_id": "p"\n}')
    write("tracker", "json-register", json.dumps(register).encode() + b"\r\n" + json.dumps(page).encode())
    write("tracker", "json-strings", b'{"a":"}\\"{","b":[{},[]]}{"type":"FLY"} x')
    write("tracker", "json-deep", b'{"a":' * 9)
    name = {"file_name": "tree/a/b.bin"}
    asked = [{"type": "GET", **name, "index": 3}, {"type": "GET_COUNT", **name}, {"type": "STATE"}]
    write("tracker", "json-get", b"".join(json.dumps(each).encode() + b"\n" for each in asked))
    write("tracker", "json-get-odd", b'{ "type" : "GET", "file_name" : "\\u00e4/..//x", "index" : -1 }')


def dht():
    def packet(kind, **entries):
        return bencode({"t": b"aa", "y": kind, **entries})

    def ask(method, **arguments):
        return packet("q", q=method, a={"id": PEER_ID, **arguments})

    node = HASH + b"\x01\x02\x03\x04\x1a\xe1"
    node6 = HASH + bytes(15) + b"\x01\x1a\xe1"
    write("dht", "ping", ask("ping"))
    write("dht", "find-node", ask("find_node", target=HASH, want=["n4", "n6", "n8"]))
    write("dht", "get-peers", packet("q", q="get_peers", a={"id": PEER_ID, "info_hash": HASH}, ro=1, v="TE01"))
    write("dht", "announce", ask("announce_peer", info_hash=HASH, port=6881, token="tok"))
    write("dht", "announce-implied", ask("announce_peer", info_hash=HASH, implied_port=1, token="tok"))
    write("dht", "unknown-method", ask("vote"))
    write("dht", "malformed", ask("find_node"))
    write("dht", "nodes", packet("r", r={"id": HASH, "nodes": node * 8, "nodes6": node6 * 8}, ip=node[20:]))
    write("dht", "peers", packet("r", r={"id": HASH, "token": "tok", "values": [node[20:], node6[20:], "x"]}))
    write("dht", "many-peers", packet("r", r={"id": HASH, "values": [node[20:]] * 200}))
    write("dht", "cut-nodes", packet("r", r={"id": HASH, "nodes": node[:-1]}))
    write("dht", "error", packet("e", e=[203, "no\x1b"]))
    write("dht", "error-odd", packet("e", e="no"))
    write("dht", "deep", b"d1:t2:aa1:x" + b"l" * 99 + b"e" * 100)


def text():
    write("text", "register", b"register; alice; 1.2.3.4; 7000; 1340\n")
    write("text", "register-odd", "register;größe 🐟;::1;1;0".encode())
    write("text", "register-cut", b"register; alice; 1.2.3.4; 7000")
    write("text", "register-big", b"register; " + b"x" * 600)
    write("text", "list-seeder", b" list_seeder\r\n")
    lists = {
        "strings": repr(["a", "it's", 'a "b"', "\n\x00\xe9\u2028\U0001f41f", "größe"]),
        "hashes": repr([bytes(range(i, i + 20)).hex() for i in range(9)]),
        "integers": repr([0, -1, 2**64, 3**300]),
        "loose": "[ 'a'\n,\t\"b\",\r\n+3 , 00 ,] \n",
        "empty": "[]",
        "nested": "[" * 99 + "]" * 99,
        "bytes": "[b'a']",
        "call": "[__import__('os').system('true')]",
        "escapes": "['\\\\', '\\a\\v', '\\ud800', '\\N{BULLET}', '\\q']",
        "cut": "['a', 'b",
    }
    for name, literal in lists.items():
        write("text", f"list-{name}", literal.encode())


def utp():
    def packet(kind, extension=0, tail=b""):
        return struct.pack(">BBHIIIHH", kind << 4 | 1, extension, 7, 1000, 20, 2**20, 65535, 9) + tail

    write("utp", "syn", packet(4))
    write("utp", "data", packet(0, tail=b"bytes"))
    write("utp", "fin", packet(1))
    write("utp", "reset", packet(3))
    write("utp", "selective-ack", packet(2, 1, b"\x00\x04\x81\x00\x00\x02"))
    write("utp", "unknown-extensions", packet(0, 2, b"\x63\x03abc\x01\x00\x00\x04\x01\x00\x00\x00data"))
    write("utp", "endless-extensions", packet(2, 7, b"\x07\x00" * 40))
    write("utp", "odd-mask", packet(2, 1, b"\x00\x03\x01\x01\x01"))
    write("utp", "cut", packet(2, 1, b"\x00\x08\x01"))


if __name__ == "__main__":
    peer()
    extension()
    udp()
    http()
    json_requests()
    dht()
    text()
    utp()

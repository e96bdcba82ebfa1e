#!/usr/bin/env python3
"""Writes the seeds of the corpora of bencode, metainfo, merkle and magnet. Same output every time.

    fuzz/corpus.py

Everything is made here from the specifications, by an encoder of its own, so that the seeds also check
our encoder against another. Inputs that fuzzing found worth keeping lie beside the seeds.
"""

import hashlib
import os
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCK = 16384


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    items = sorted((k.encode() if isinstance(k, str) else k, v) for k, v in value.items())
    return b"d" + b"".join(bencode(k) + bencode(v) for k, v in items) + b"e"


def write(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def content(length):
    return bytes(i % 251 for i in range(length))


def sha256(data):
    return hashlib.sha256(data).digest()


def fold(nodes, pad):
    while len(nodes) > 1:
        nodes = [sha256(nodes[i] + nodes[i + 1]) for i in range(0, len(nodes), 2)]
        pad = sha256(pad + pad)
    return nodes[0], pad


def padded(nodes, width, pad):
    return nodes + [pad] * (width - len(nodes))


def power(number):
    return 1 << (number - 1).bit_length()


def v2_file(data, piece_len, layers):
    """The properties of a file; its piece layer goes to `layers`."""
    if not data:
        return {"": {"length": 0}}
    zero = bytes(32)
    leaves = [sha256(data[i : i + BLOCK]) for i in range(0, len(data), BLOCK)]
    if len(data) <= piece_len:
        root, _ = fold(padded(leaves, power(len(leaves)), zero), zero)
    else:
        width = piece_len // BLOCK
        pieces = [leaves[i : i + width] for i in range(0, len(leaves), width)]
        layer = [fold(padded(piece, width, zero), zero)[0] for piece in pieces]
        pad, _ = fold([zero] * width, zero)
        root, _ = fold(padded(layer, power(len(layer)), pad), pad)
        layers[root] = b"".join(layer)
    return {"": {"length": len(data), "pieces root": root}}


def pieces(data, piece_len):
    cut = [data[i : i + piece_len] for i in range(0, len(data), piece_len)]
    return b"".join(hashlib.sha1(piece).digest() for piece in cut)


def torrent(files, piece_len, v1, v2, tail_pad=True):
    """`files`: pairs of path (list of names) and length, in tree order."""
    layers, tree, space, entries = {}, {}, b"", []
    for number, (path, length) in enumerate(files):
        data = content(length)
        folder = tree
        for name in path[:-1]:
            folder = folder.setdefault(name, {})
        folder[path[-1]] = v2_file(data, piece_len, layers)
        entries.append({"length": length, "path": path})
        space += data
        pad = -len(space) % piece_len
        last = number + 1 == len(files)
        if v1 and v2 and pad and len(files) > 1 and (tail_pad or not last):
            entries.append({"attr": "p", "length": pad, "path": [".pad", str(pad)]})
            space += bytes(pad)
    info = {"name": "content", "piece length": piece_len}
    if v1:
        info |= {"files": entries, "pieces": pieces(space, piece_len)}
    if v2:
        info |= {"file tree": tree, "meta version": 2}
    root = {"info": info}
    if v2:
        root["piece layers"] = layers
    return root


def make_bencode():
    samples = {
        "ints": [0, -1, 2**63 - 1, -(2**63)],
        "strings": ["", "a", b"\xff\x00", "x" * 300],
        "nested": {"a": [{"b": [[], {}]}], "": 1},
        "handshake": {"m": {"ut_metadata": 3, "ut_pex": 1}, "v": "Teem", "reqq": 250, "p": 6881},
    }
    for name, value in samples.items():
        write("bencode", name, bencode(value))
    write("bencode", "deep", b"l" * 64 + b"e" * 64)
    write("bencode", "too-deep", b"d1:a" * 65 + b"le" + b"e" * 65)
    write("bencode", "metadata", bencode({"msg_type": 1, "piece": 0, "total_size": 4}) + b"DATA")
    bent = ["", "i", "ie", "i-0e", "i01e", "i-e", "1", "2:a", "01:a", "d1:b0:1:a0:e", "d1:a0:1:a0:e"]
    bent += ["di1e0:e", "d1:ae", "lee", "i9223372036854775808e", "99999999999999999999:", "-1:a"]
    for number, text in enumerate(bent):
        write("bencode", f"bent-{number:02}", text.encode())


def make_metainfo():
    files = [(["a"], 10), (["d", "größe"], 70000), (["d", "z"], 16384), (["e"], 0)]
    good = {
        "v1-folder": torrent(files, 32768, True, False),
        "v2-folder": torrent(files, 32768, False, True),
        "hybrid-folder": torrent(files, 32768, True, True),
        "hybrid-old": torrent(files, 32768, True, True, tail_pad=False),
        "hybrid-small": torrent(files[:2], BLOCK, True, True),
    }
    one = torrent([(["content"], 50000)], BLOCK, False, True)
    good["v2-file"] = one
    data = {"length": 50000, "pieces": pieces(content(50000), BLOCK)}
    good["hybrid-file"] = one | {"info": one["info"] | data}
    plain = {"name": "content", "piece length": 20000, "private": 1, "attr": "x"} | data
    plain["pieces"] = pieces(content(50000), 20000)
    good["v1-file"] = {"info": plain, "announce": "udp://a:1", "announce-list": [["udp://a:1"], ["b"]]}
    good["v1-file"] |= {"comment": "c", "created by": "teem", "creation date": 1}
    link = {"attr": "l", "length": 0, "path": ["l"], "symlink path": ["a"]}
    linked = torrent(files, 32768, True, False)
    linked["info"]["files"].append(link)
    good["v1-link"] = linked
    for name, value in good.items():
        write("metainfo", name, bencode(value))
        write("metainfo", name + ".info", bencode(value["info"]))

    def bent(label, base, /, **changes):
        info = good[base]["info"] | {key.replace("_", " "): value for key, value in changes.items()}
        write("metainfo", "bent-" + label, bencode(good[base] | {"info": info}))

    for number in (-1, 0, 1, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1):
        bent(f"length-{number}", "v1-file", length=number)
        bent(f"piece-length-{number}", "hybrid-folder", piece_length=number)
    names = ["..", ".", "", "/etc", "a/b", "..\\x", "C:", "NUL", "a\0b", "\x1b[2J", "\u202ex", "x" * 256]
    for number, name in enumerate(names):
        bent(f"name-{number:02}", "v1-folder", name=name)
        bent(f"path-{number:02}", "v1-folder", files=[{"length": 10, "path": ["d", name]}])
        leaf = {"": {"length": 1, "pieces root": b"r" * 32}}
        bent(f"tree-{number:02}", "v2-file", file_tree={"d": {name: leaf}})
    bent("same", "v1-folder", files=[{"length": 1, "path": ["A"]}, {"length": 1, "path": ["a"]}])
    bent("inside", "v1-folder", files=[{"length": 1, "path": ["a"]}, {"length": 1, "path": ["a", "b"]}])
    bent("not-utf-8", "v1-file", name=b"\xff\xfe")
    bent("version", "v2-file", meta_version=3)
    bent("pieces", "hybrid-folder", pieces=b"p" * 20)
    bent("zero-root", "v2-file", file_tree={"a": {"": {"length": 1, "pieces root": bytes(32)}}})
    layers = good["v2-file"]["piece layers"]
    for name, layer in {"short": lambda b: b[:-32], "wrong": lambda b: b[:-1] + b"?"}.items():
        changed = {root: layer(bytes_) for root, bytes_ in layers.items()}
        write("metainfo", f"bent-layer-{name}", bencode(good["v2-file"] | {"piece layers": changed}))
    write("metainfo", "bent-no-layers", bencode({"info": good["v2-file"]["info"]}))
    whole = bencode(good["hybrid-small"])
    for number, at in enumerate(range(1, len(whole), max(1, len(whole) // 12))):
        write("metainfo", f"cut-{number:02}", whole[:at])


def make_merkle():
    requests = [
        # blocks - 1, height, base, log2 length, index, proof layers
        (0, 0, 0, 1, 0, 0),
        (1, 0, 0, 1, 0, 0),
        (15, 2, 0, 1, 4, 3),
        (15, 2, 0, 2, 4, 1),
        (15, 2, 2, 1, 2, 1),
        (599, 0, 0, 9, 512, 9),
        (599, 3, 3, 6, 64, 6),
        (10, 1, 1, 2, 4, 2),
        (10, 1, 1, 2, 4, 3),
        (10, 1, 4, 1, 0, 0),
        (10, 7, 0, 3, 8, 3),
        (299, 4, 0, 4, 16, 8),
    ]
    for number, (blocks, height, base, length, index, proof) in enumerate(requests):
        head = blocks.to_bytes(2, "big") + bytes([height, base, length])
        head += index.to_bytes(2, "big") + bytes([proof])
        write("merkle", f"true-{number:02}", head)
        for place in (0, 1, 200):
            write("merkle", f"bent-{number:02}-{place}", head + bytes([place, 1]))
        write("merkle", f"bent-back-{number:02}", head + bytes([3, 9, 3, 9]))


def make_magnet():
    v1, base32 = "0102030405060708090a0b0c0d0e0f1011121314", "AEBAGBAFAYDQQCIKBMGA2DQPCAIREEYU"
    v2 = "1220" + bytes(range(32)).hex()
    tracker = urllib.parse.quote("http://t:1/announce?a=b&c=d", safe="")
    links = [
        f"magnet:?xt=urn:btih:{v1}",
        f"magnet:?xt=urn:btih:{base32}&dn=a+b%20c",
        f"magnet:?xt=urn:btmh:{v2}",
        f"magnet:?xt.1=urn:btih:{v1}&xt.2=urn:btmh:{v2}&tr.1={tracker}&tr.2=udp%3A%2F%2Ft%3A1",
        f"magnet:?xt=urn:btih:{v1}&x.pe=127.0.0.1:6881&x.pe=[::1]:6881&x.pe=host:1&ws=http://w/",
        f"magnet:?xt=urn:btih:{v1}&dn=%1b[2J%e2%80%ae%ff&xs=http://10.0.0.1/&so=0-999999999999",
        f"magnet:?xt=urn:btih:{v1}&xt=urn:btih:{v1[::-1]}",
        "magnet:?xt=urn:btih:",
        "magnet:?xt=urn:btmh:1220",
        "magnet:?xt=urn:sha1:X",
        "magnet:?&&==&tr=&%",
        "magnet:",
    ]
    for number, link in enumerate(links):
        write("magnet", f"link-{number:02}", link.encode())


if __name__ == "__main__":
    make_bencode()
    make_metainfo()
    make_merkle()
    make_magnet()

"""Torrent files that no honest program makes. Each must be refused with one line of reason."""

import hashlib


def bencode(value):
    """Bencodes; dictionaries keep their order, so that wrong orders can be made too."""
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, str):
        return bencode(value.encode())
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    return b"d" + b"".join(bencode(key) + bencode(item) for key, item in value.items()) + b"e"


def v1(**changes):
    """A sound v1 torrent of one file, with changes to its info; `None` removes a key."""
    info = {"length": 40_000, "name": "name", "piece length": 16_384, "pieces": bytes(60)}
    return whole(info, changes)


def v1_files(*files, **changes):
    """A v1 torrent of several files."""
    length = sum(file.get("length", 0) for file in files if isinstance(file.get("length"), int))
    pieces = bytes(20 * min(1000, max(1, -(-max(length, 0) // 16_384))))
    info = {"files": list(files), "name": "name", "piece length": 16_384, "pieces": pieces}
    return whole(info, changes)


def v2(tree=None, layers=None, **changes):
    """A v2 torrent of one file of one piece."""
    root = hashlib.sha256(b"").digest()
    tree = tree if tree is not None else {"name": {"": {"length": 100, "pieces root": root}}}
    info = {"file tree": tree, "meta version": 2, "name": "name", "piece length": 16_384}
    return whole(info, changes, {"piece layers": layers if layers is not None else {}})


def whole(info, changes, more=None):
    """The file around an info dictionary."""
    for key, value in changes.items():
        key = key.replace("_", " ")
        if value is None:
            info.pop(key, None)
        else:
            info[key] = value
    return bencode({"info": dict(sorted(info.items())), **(more or {})})


def file(*path, length=10):
    """One entry of `files`."""
    return {"length": length, "path": list(path)}


ROOT = hashlib.sha256(b"x").digest()
SOUND = v1()

HOSTILE = {
    "nothing": b"",
    "not bencode": b"hello, this is no torrent",
    "a list": b"le",
    "lists nested 100,000 deep": b"l" * 100_000 + b"e" * 100_000,
    "dictionaries nested 100,000 deep": b"d1:a" * 100_000 + b"e" * 100_000,
    "info nested 100,000 deep": b"d4:info" + b"l" * 100_000 + b"e" * 100_000 + b"e",
    "lists opened and never closed": b"l" * 100_000,
    "a string longer than the file": b"d4:info99999999999999999999:e",
    "a string of 4 GiB": b"d4:info4294967295:e",
    "a negative string": b"d4:info-5:abcdee",
    "an integer with leading zeros": b"d4:infod6:lengthi007eee",
    "minus zero": b"d4:infod6:lengthi-0eee",
    "an integer beyond 64 bits": b"d4:infod6:lengthi99999999999999999999999eee",
    "an integer without end": b"d4:infod6:lengthi1" + b"1" * 50_000,
    "something after the end": SOUND + b"more",
    "no info": bencode({"announce": "http://x/announce"}),
    "info is a string": bencode({"info": "no"}),
    "a key twice": b"d4:infod6:lengthi1e6:lengthi2e4:name1:n12:piece lengthi16384e6:pieces20:" + bytes(20) + b"ee",
    "no name": v1(name=None),
    "an empty name": v1(name=""),
    "a name with a slash": v1(name="a/b"),
    "an absolute name": v1(name="/etc/passwd"),
    "a name that is dot dot": v1(name=".."),
    "a name that is dot": v1(name="."),
    "a name with a zero byte": v1(name=b"a\x00b"),
    "a name of 100,000 bytes": v1(name="n" * 100_000),
    "a path that climbs": v1_files(file("a"), file("..", "..", "etc", "passwd")),
    "a path with a slash inside": v1_files(file("a"), file("../../etc/passwd")),
    "an absolute path": v1_files(file("a"), file("/etc/passwd")),
    "a path with an empty part": v1_files(file("a"), file("b", "", "c")),
    "an empty path": v1_files(file("a"), file()),
    "the same path twice": v1_files(file("a"), file("a")),
    "a file that is also a folder": v1_files(file("a"), file("a", "b")),
    "a symbolic link that climbs": v1_files(
        file("a"), {"attr": "l", "length": 0, "path": ["link"], "symlink path": ["..", "..", "etc", "passwd"]}
    ),
    "a symbolic link to an absolute path": v1_files(
        file("a"), {"attr": "l", "length": 0, "path": ["link"], "symlink path": ["/etc/passwd"]}
    ),
    "no files": v1_files(),
    "a negative length": v1(length=-1),
    "a huge length": v1(length=2**62),
    "lengths that overflow": v1_files(file("a", length=2**63 - 1), file("b", length=2**63 - 1)),
    "both length and files": v1(files=[file("a")]),
    "neither length nor files": v1(length=None),
    "a piece length of zero": v1(piece_length=0),
    "a negative piece length": v1(piece_length=-16_384),
    "a piece length of 4 GiB": v1(piece_length=2**32),
    "a piece length of 1 byte": v1(piece_length=1),
    "hashes of wrong length": v1(pieces=bytes(59)),
    "too few hashes": v1(pieces=bytes(40)),
    "too many hashes": v1(pieces=bytes(80)),
    "hashes that are a list": v1(pieces=[]),
    "v2: a piece length that is no power of two": v2(piece_length=20_000),
    "v2: a piece length below 16 KiB": v2(piece_length=8_192),
    "v2: meta version 3": v2(meta_version=3),
    "v2: an empty tree": v2(tree={}),
    "v2: a path that climbs": v2(tree={"..": {"x": {"": {"length": 1, "pieces root": ROOT}}}}),
    "v2: a name with a slash": v2(tree={"a/b": {"": {"length": 1, "pieces root": ROOT}}}),
    "v2: a file without root": v2(tree={"name": {"": {"length": 10}}}),
    "v2: a root of wrong length": v2(tree={"name": {"": {"length": 10, "pieces root": b"short"}}}),
    "v2: a file that is also a folder": v2(
        tree={"name": {"": {"length": 1, "pieces root": ROOT}, "x": {"": {"length": 1, "pieces root": ROOT}}}}
    ),
    "v2: layers of a wrong root": v2(
        tree={"name": {"": {"length": 40_000, "pieces root": ROOT}}}, layers={ROOT: bytes(96)}
    ),
    "v2: layers of wrong length": v2(
        tree={"name": {"": {"length": 40_000, "pieces root": ROOT}}}, layers={ROOT: bytes(95)}
    ),
    "v2: a tree nested 10,000 deep": b"d4:infod9:file tree" + b"d1:a" * 10_000 + b"e" * 10_000 + b"ee",
    "hybrid: v1 and v2 disagree on length": v2(
        tree={"name": {"": {"length": 100, "pieces root": ROOT}}}, length=200, pieces=bytes(20)
    ),
    "hybrid: v1 and v2 disagree on names": v2(
        tree={"a": {"": {"length": 100, "pieces root": ROOT}}},
        files=[file("b", length=100)],
        pieces=bytes(20),
    ),
}
HOSTILE.update({f"cut after {at} bytes": SOUND[:at] for at in (1, 2, 7, 8, 20, 40, len(SOUND) - 1)})

# What other systems cannot store must not be trouble on this one either: the name is changed, or refused.
RESERVED = ["con", "NUL.txt", "a:b", "trailing.", "trailing ", "a\\b", "..\\..\\x", "new\nline", "\x1b[31mred", "‮txt.exe"]

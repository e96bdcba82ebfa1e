#!/usr/bin/env python3
"""Compares torrents made by Teem with those that libtorrent makes of the same content.

Needs libtorrent 2.1 for Python. Makes random folders and files, runs the example `create` on them and
compares the info dictionaries byte by byte; then loads Teem's torrents with libtorrent.

    cargo build -p teem-proto --example create
    python3 crates/proto/tests/infohash.py target/debug/examples/create [ROUNDS [SEED]]
"""

import os
import random
import subprocess
import sys
import tempfile

import libtorrent as lt

FLAGS = lt.create_torrent
FORMATS = {
    "v1": FLAGS.v1_only | FLAGS.symlinks,
    "v2": FLAGS.v2_only | FLAGS.symlinks,
    "hybrid": FLAGS.symlinks,
}
NAMES = ["a", "b", "B2", "ä", "Ω", "日本", "0", ".x", "long" * 20, "c.txt", "e f", "~"]


def fill(folder, rng, depth=0):
    """Makes files and folders. Returns how many bytes they have."""
    total = 0
    for name in rng.sample(NAMES, rng.randint(1, 6)):
        path = os.path.join(folder, name)
        kind = rng.random()
        if kind < 0.25 and depth < 4:
            os.mkdir(path)
            total += fill(path, rng, depth + 1)
        elif kind < 0.3:
            os.symlink("c.txt" if name != "c.txt" else "a", path)
        else:
            size = rng.choice([0, 1, 16384, 16385, 32768, 40000, 65536, 200000, 65537 * 8])
            with open(path, "wb") as file:
                file.write(rng.randbytes(size))
            total += size
            if rng.random() < 0.3:
                os.chmod(path, 0o755)
    return total


def tree_key(path):
    return [part.encode() for part in path.split("/")]


def by_libtorrent(path, piece_len, flags):
    parent = os.path.dirname(path)
    files = lt.list_files(path, flags=flags)
    # A list for v1 alone is in the order of the file system, which says nothing.
    files = sorted(files, key=lambda file: tree_key(file.filename))
    torrent = lt.create_torrent(files, piece_len, flags)
    lt.set_piece_hashes(torrent, parent)
    return torrent.generate()


def compare(name, ours, theirs):
    ours = lt.bdecode(ours)
    if lt.bencode(ours[b"info"]) != lt.bencode(theirs[b"info"]):
        print(f"{name}: info dictionaries differ")
        for key in sorted(ours[b"info"].keys() | theirs[b"info"].keys()):
            left, right = ours[b"info"].get(key), theirs[b"info"].get(key)
            if left != right:
                print(f"  {key}:\n    teem       {left}\n    libtorrent {right}")
        return False
    if ours.get(b"piece layers") != theirs.get(b"piece layers"):
        print(f"{name}: piece layers differ")
        return False
    return True


def check(create, path, piece_len, out):
    subprocess.run([create, out, str(piece_len), path], check=True)
    good = True
    for name, flags in FORMATS.items():
        with open(os.path.join(out, f"{name}.torrent"), "rb") as file:
            ours = file.read()
        good &= compare(f"{path} {name}", ours, by_libtorrent(path, piece_len, flags))
        try:
            lt.torrent_info(lt.bdecode(ours))
        except RuntimeError as error:
            print(f"{path} {name}: libtorrent does not load it: {error}")
            good = False
    return good


def main():
    create = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    bad = 0
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as place:
            out = os.path.join(place, "out")
            os.mkdir(out)
            path = os.path.join(place, "content")
            if number % 5 == 0:
                with open(path, "wb") as file:
                    file.write(rng.randbytes(rng.choice([1, 16384, 100000, 300000])))
                if number % 10 == 0:
                    os.chmod(path, 0o755)
            else:
                os.mkdir(path)
                if fill(path, rng) == 0:
                    continue
            bad += not check(create, path, rng.choice([16384, 32768, 65536]), out)
    print(f"{rounds} rounds, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

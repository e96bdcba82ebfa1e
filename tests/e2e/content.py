"""Content for tests: random files and trees made from a seed, and manifests to compare them by."""

import hashlib
import os
import random
import stat
from pathlib import Path

MIB = 1 << 20
FULL = os.environ.get("TEEM_E2E_SIZE", "ci") == "full"
"""Whether tests run at the sizes that the project promises, or at sizes that suit a small machine."""


def sized(full, ci):
    """Chooses between the promised size and the one for continuous integration."""
    return full if FULL else ci


def random_file(path, size, seed=1):
    """Writes `size` bytes that depend only on `seed`, and returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    with open(path, "wb") as out:
        left = size
        while left:
            part = min(left, 4 * MIB)
            out.write(rng.randbytes(part))
            left -= part
    return path


def tree(root, files, large, seed=1):
    """Makes `files` files of all the kinds that go wrong, one of them `large` bytes."""
    root = Path(root)
    rng = random.Random(seed)
    folders = ["", "plain", "deep/" + "/".join("abcdefgh"), "with space", "ünïcödé/日本語", "emoji 🦀"]
    for number in range(files - 6):
        folder = folders[number % len(folders)]
        size = 0 if number % 50 == 0 else int(rng.expovariate(1 / 20_000)) + 1
        path = root / folder / str(number % 7) / f"file {number:05}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(size))
    random_file(root / "large.bin", large, seed + 1)
    (root / "empty").write_bytes(b"")
    (root / "ångström.txt").write_text("å composed\n")
    (root / ("n" * 200 + ".long")).write_bytes(rng.randbytes(40_000))
    script = root / "run.sh"
    script.write_text("#!/bin/sh\necho it runs\n")
    script.chmod(0o755)
    (root / "link to large").symlink_to("large.bin")
    return root


def sha256(path):
    """The SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest(root):
    """What a file or folder holds: kind, executable bit, and content of each entry."""
    root = Path(root)
    if root.is_file():
        return {"": ("file", bool(root.stat().st_mode & stat.S_IXUSR), root.stat().st_size, sha256(root))}
    entries = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder) / name
            key = str(path.relative_to(root))
            if path.is_symlink():
                entries[key] = ("link", os.readlink(path))
            elif path.is_file():
                status = path.stat()
                entries[key] = ("file", bool(status.st_mode & stat.S_IXUSR), status.st_size, sha256(path))
    return entries


def differences(left, right):
    """Lines that say how two manifests differ; none when they are equal."""
    lines = []
    for key in sorted(left.keys() | right.keys()):
        if left.get(key) != right.get(key):
            lines.append(f"{key!r}: {left.get(key)} is not {right.get(key)}")
    return lines


def assert_same(left, right):
    """Fails with the first few differences between two files or folders."""
    lines = differences(manifest(left), manifest(right))
    assert not lines, f"{left} and {right} differ in {len(lines)} entries:\n" + "\n".join(lines[:10])

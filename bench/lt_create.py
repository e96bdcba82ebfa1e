"""libtorrent's creator: `lt_create.py PATH OUT FORMAT PIECE_LENGTH`; prints its seconds and CPU seconds."""

import json
import os
import sys
import time

import libtorrent as lt


def main(path, out, format, piece_length):
    """Makes one torrent file; the start of the interpreter does not count."""
    started, used = time.perf_counter(), sum(os.times()[:2])
    flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[format]
    files = lt.file_storage()
    lt.add_files(files, path, flags=flags)
    torrent = lt.create_torrent(files, int(piece_length), flags)
    lt.set_piece_hashes(torrent, os.path.dirname(path))
    with open(out, "wb") as file:
        file.write(lt.bencode(torrent.generate()))
    wall, cpu = time.perf_counter() - started, sum(os.times()[:2]) - used
    print(json.dumps({"seconds": wall, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main(*sys.argv[1:])

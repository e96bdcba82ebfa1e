"""A seeder written for tests: it can lie, be slow, or hold back. One file, v1 (BEP 3) and v2 (BEP 52).

It serves a torrent of one file from a copy of the content in memory, on an address of its own, and
announces itself to an HTTP tracker as a seeder.
"""

import asyncio
import os
import struct
import threading

import libtorrent as lt

import bep3
from teem import PEER_PORT

CHOKE, UNCHOKE, INTERESTED, HAVE, BITFIELD, REQUEST, PIECE = 0, 1, 2, 4, 5, 6, 7
HASH_REQUEST, HASH_REJECT = 21, 23
V2_BIT = 0x10


class ScriptedSeeder:
    """Serves `data` for the torrent in `torrent` (the file's bytes).

    `corrupt(piece, begin, block)` may change what is sent. `hold_after` bytes are served, then the
    rest waits for `release()`. `pause` is a time in seconds between two blocks.
    """

    def __init__(self, address, torrent, data, corrupt=None, hold_after=None, pause=0.0):
        self.address = address
        self.data = data
        self.corrupt = corrupt
        self.hold_after = hold_after
        self.pause = pause
        self.info = lt.torrent_info(lt.bdecode(torrent))
        hashes = self.info.info_hashes()
        self.hashes = []
        if hashes.has_v1():
            self.hashes.append(hashes.v1.to_bytes())
        if hashes.has_v2():
            self.hashes.append(hashes.v2.to_bytes()[:20])
        self.v2 = hashes.has_v2()
        self.peer_id = b"-XX0001-" + os.urandom(6).hex().encode()
        self.served = []
        self.served_bytes = 0
        self.corrupted = []
        self.connections = 0
        self.refused = 0
        self.open = 0
        self.held = threading.Event()
        self._released = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        ready = threading.Event()
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._listen(ready)))
        self._thread.start()
        assert ready.wait(10), "scripted seeder does not listen"

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self, ready):
        self._released = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, self.address, PEER_PORT, limit=1 << 20)
        ready.set()

    def announce(self, tracker):
        """Announces itself under each of the torrent's hashes."""
        for info_hash in self.hashes:
            path = bep3.announce_path(info_hash, PEER_PORT, peer_id=self.peer_id, event="started")
            reply = bep3.answer(tracker.host, path, source=self.address)
            assert b"failure reason" not in reply, reply

    def release(self):
        """Lets the rest go."""
        self._loop.call_soon_threadsafe(self._released.set)

    async def _serve(self, reader, writer):
        self.connections += 1
        self.open += 1
        try:
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _talk(self, reader, writer):
        hello = await reader.readexactly(68)
        info_hash = hello[28:48]
        if hello[:20] != b"\x13BitTorrent protocol" or info_hash not in self.hashes:
            self.refused += 1
            return
        reserved = bytes(7) + bytes([V2_BIT if self.v2 else 0])
        writer.write(hello[:20] + reserved + info_hash + self.peer_id)
        pieces = self.info.num_pieces()
        field = bytearray(b"\xff" * ((pieces + 7) // 8))
        if pieces % 8:
            field[-1] = 0xFF << (8 - pieces % 8) & 0xFF
        writer.write(message(BITFIELD, bytes(field)))
        while True:
            (length,) = struct.unpack(">I", await reader.readexactly(4))
            if length == 0:
                continue
            body = await reader.readexactly(length)
            if body[0] == INTERESTED:
                writer.write(message(UNCHOKE))
            elif body[0] == REQUEST:
                await self._answer(writer, *struct.unpack(">III", body[1:13]))
            elif body[0] == HASH_REQUEST:
                writer.write(message(HASH_REJECT, body[1:]))

    async def _answer(self, writer, piece, begin, length):
        if self.hold_after is not None and self.served_bytes >= self.hold_after:
            self.held.set()
            await self._released.wait()
        if self.pause:
            await asyncio.sleep(self.pause)
        start = piece * self.info.piece_length() + begin
        block = self.data[start : start + length]
        assert len(block) == length, f"request beyond the end: {piece} {begin} {length}"
        if self.corrupt is not None:
            sent = self.corrupt(piece, begin, block)
            if sent != block:
                self.corrupted.append((piece, begin))
            block = sent
        self.served.append((piece, begin))
        self.served_bytes += length
        writer.write(message(PIECE, struct.pack(">II", piece, begin) + block))
        await writer.drain()

    def close(self):
        """Ends it and all its connections."""
        def end():
            self._server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(end)
        self._thread.join(5)


def message(kind, body=b""):
    """One framed peer message."""
    return struct.pack(">IB", len(body) + 1, kind) + body


def flip_first_byte(piece, begin, block):
    """Corrupts every block."""
    return bytes([block[0] ^ 0xFF]) + block[1:]


def flip_one_block(piece, begin, block):
    """Corrupts the third block of each piece only."""
    return flip_first_byte(piece, begin, block) if begin == 2 * 16384 else block

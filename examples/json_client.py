#!/usr/bin/env python3
"""A peer of the JSON protocol (docs/protocols/json.md), with the standard library alone.

    json_client.py TRACKER[:PORT] share NAME PARTS PORT   registers a file and keeps it registered
    json_client.py TRACKER[:PORT] find NAME               prints who has a file
    json_client.py TRACKER[:PORT] list                    prints all files
    json_client.py TRACKER[:PORT] get NAME OUTPUT         fetches a file, and checks each chunk of it
"""

import json, socket, sys, time, uuid  # fmt: skip
from hashlib import sha256


def ask(address, **request):
    """Sends a request on a new connection; returns the answer, and the bytes behind it."""
    try:
        with socket.create_connection(address, 40) as connection:
            connection.sendall(json.dumps(request).encode())
            line, _, data = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\n")
        return json.loads(line), data
    except (OSError, ValueError) as error:
        return {"status": "ERROR", "error": f"{address[0]}:{address[1]}: {error}"}, b""


def root(chunk, width):
    """The root of the SHA-256 tree over the chunk's 16 KiB blocks, filled up to `width` (BEP 52)."""
    nodes = [sha256(chunk[at : at + 16384]).digest() for at in range(0, len(chunk), 16384)]
    nodes += [bytes(32)] * (width - len(nodes))
    while len(nodes) > 1:
        nodes = [sha256(left + right).digest() for left, right in zip(nodes[::2], nodes[1::2])]
    return nodes[0].hex()


def main(address, command, name="", *words):
    host, _, port = address.partition(":")
    me = {"peer_id": f"example-{uuid.uuid4()}"}
    def tracker(type, **request):  # fmt: skip
        reply, _ = ask((host, int(port or 9000)), type=type, **me, **request)
        return reply if reply.get("status") != "ERROR" else sys.exit(reply["error"])
    me["token"] = tracker("AUTH")["token"]  # fmt: skip
    if command == "share":
        print(tracker("REGISTER", port=int(words[1]), files={name: int(words[0])})["status"], flush=True)
        while not time.sleep(60):
            tracker("KEEPALIVE")
    elif command == "get":
        file, blocks = tracker("GET_COUNT", file_name=name), lambda size: -(-size // 16384)
        width = blocks(file["chunk_size"]) if file["count"] > 1 else 1 << (blocks(file["size"]) - 1).bit_length()
        with open(words[0], "wb") as output:
            for index in range(file["count"]):
                (right,) = tracker("CHUNK_HASHES", file_name=name, **{"from": index, "count": 1})["hashes"]
                peers = [(peer["ip"], peer["port"]) for peer in tracker("PEER_LIST", file_name=name)["peers"]]
                chunks = (ask(peer, type="GET", file_name=name, index=index)[1] for peer in peers)
                good = (chunk for chunk in chunks if chunk and root(chunk, width) == right)
                output.write(next(good, None) or sys.exit(f"no peer has chunk {index} just now"))
    else:
        print(json.dumps(tracker("PEER_LIST", file_name=name) if command == "find" else tracker("FILE_LIST")))


main(*sys.argv[1:]) if len(sys.argv) > 2 else sys.exit(__doc__)

#!/usr/bin/env python3
"""A peer of the JSON protocol (docs/protocols/json.md), with the standard library alone.

    json_client.py TRACKER[:PORT] share NAME PARTS PORT   registers a file and keeps it registered
    json_client.py TRACKER[:PORT] find NAME               prints who has a file
    json_client.py TRACKER[:PORT] list                    prints all files
"""

import json
import socket
import sys
import time
import uuid


class Tracker:
    """Opens a new socket for each request."""

    def __init__(self, address, peer_id):
        host, _, port = address.partition(":")
        self.address, self.peer_id = (host, int(port or 9000)), peer_id
        self.token = self.ask(type="AUTH")["token"]

    def ask(self, **request):
        """Sends a request and returns the answer."""
        request["peer_id"] = self.peer_id
        if request["type"] != "AUTH":
            request["token"] = self.token
        with socket.create_connection(self.address, 10) as connection:
            connection.sendall(json.dumps(request).encode())
            reply = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
        if reply.get("status") == "ERROR":
            sys.exit(reply["error"])
        return reply


def main():
    """Does what the command line says."""
    address, command, *words = sys.argv[1:]
    tracker = Tracker(address, f"example-{uuid.uuid4()}")
    if command == "share":
        name, parts, port = words
        print(tracker.ask(type="REGISTER", port=int(port), files={name: int(parts)})["status"], flush=True)
        while True:
            time.sleep(60)
            tracker.ask(type="KEEPALIVE")
    elif command == "find":
        print(json.dumps(tracker.ask(type="PEER_LIST", file_name=words[0])))
    elif command == "list":
        print(json.dumps(tracker.ask(type="FILE_LIST")))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()

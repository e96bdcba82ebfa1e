#!/usr/bin/env python3
"""A seeder and a leecher of the text protocol (docs/protocols/text.md), with the standard library alone.

    text_client.py TRACKER[:PORT] seed NAME PORT FILE   registers a seeder and hands its chunk list to the tracker
    text_client.py TRACKER[:PORT] list                  prints the seeders
    text_client.py TRACKER[:PORT] chunks NAME           prints the chunk list of a seeder
"""

import ast
import hashlib
import socket
import sys


def chunk_list(path):
    """The SHA-256 of each chunk of 512 KiB of a file, as a string of a Python list."""
    with open(path, "rb") as file:
        return str([hashlib.sha256(chunk).hexdigest() for chunk in iter(lambda: file.read(512 * 1024), b"")]).encode()


def seed(udp, tracker, name, port, path):
    """Registers, and sends the chunk list when the tracker connects; if it cannot connect, connects to it."""
    ip, chunks = udp.getsockname()[0], chunk_list(path)
    register = f"register; {name}; {ip}; {port}; {len(chunks)}".encode()
    try:
        with socket.create_server((ip, tracker[1] + 1)) as server:
            server.settimeout(5)
            udp.send(register)
            connection = server.accept()[0]
    except OSError:  # The tracker is on this machine and has the port, or a firewall is between us.
        udp.send(register)
        connection = socket.create_connection((tracker[0], tracker[1] + 1), 10)
    with connection:
        connection.sendall(chunks)
    print(f"registered {name}, {len(chunks)} bytes of chunk list", flush=True)


def main():
    """Does what the command line says."""
    address, command, *words = sys.argv[1:]
    host, _, port = address.partition(":")
    tracker = (host, int(port or 5555))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(tracker)
        if command == "seed":
            return seed(udp, tracker, *words)
        socket.create_connection((host, tracker[1] + 1), 10).close()  # Shows from afar that our address is ours.
        udp.settimeout(5)
        udp.send(b"list_seeder")
        seeders = ast.literal_eval(udp.recv(2048).decode())
        if command == "list":
            return print(seeders)
        with socket.create_connection((host, next(row[3] for row in seeders if row[0] == words[0])), 10) as lists:
            lists.sendall(words[0].encode() + b"\n")
            print(ast.literal_eval(b"".join(iter(lambda: lists.recv(65536), b"")).decode()))


if __name__ == "__main__":
    main()

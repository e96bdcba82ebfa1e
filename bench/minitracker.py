"""A tracker for the benchmark's other clients: HTTP only, in memory, never forgets.

It keeps their runs free of Teem, and costs them nothing that counts: a few announces a run.
"""

import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_to_bytes


class MiniTracker:
    """Serves `url` until `close()`."""

    def __init__(self, address="127.0.0.1"):
        swarms = self.swarms = {}
        lock = self.lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # the name is the library's
                query = {}
                for pair in self.path.partition("?")[2].split("&"):
                    key, _, value = pair.partition("=")
                    query[key] = unquote_to_bytes(value)
                peer = (query.get("ip", self.client_address[0].encode()).decode(), int(query.get("port", b"0")))
                with lock:
                    peers = swarms.setdefault(query.get("info_hash", b""), set())
                    if query.get("event") == b"stopped":
                        peers.discard(peer)
                    elif peer[1]:
                        peers.add(peer)
                    others = [other for other in peers if other != peer]
                packed = b"".join(socket.inet_aton(host) + struct.pack(">H", port) for host, port in others)
                body = b"d8:intervali5e12:min intervali1e5:peers%d:%se" % (len(packed), packed)
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # Clients that end do not wait for the answer.

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer((address, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{address}:{self.server.server_port}/announce"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def clear(self):
        """Forgets all peers."""
        with self.lock:
            self.swarms.clear()

    def wait_for(self, host, timeout):
        """Waits until a peer of that address has announced; tells whether it has."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with self.lock:
                if any(peer[0] == host for peers in self.swarms.values() for peer in peers):
                    return True
            time.sleep(0.02)
        return False

    def close(self):
        """Stops serving."""
        self.server.shutdown()
        self.server.server_close()

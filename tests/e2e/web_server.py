"""A web server that has files, as web seeds are (BEP 19), and that may misbehave."""

import http.server
import re
import threading
import urllib.parse
from pathlib import Path


class WebServer:
    """Serves what is below `root`. `answer`, when given, may answer a request itself: it gets the request's handler,
    and returns whether it did."""

    def __init__(self, address, root, port=8080, ranges=True, answer=None, corrupt=None, namespace=None):
        self.root = Path(root)
        self.ranges = ranges
        self.answer = answer or (lambda _: False)
        self.corrupt = corrupt or (lambda data: data)
        self.asked = []
        self.sent = 0
        self.connections = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def setup(self):
                super().setup()
                server.connections += 1

            def do_GET(self):
                server.asked.append((self.path, self.headers.get("Range")))
                if not server.answer(self):
                    server._serve(self)

            def log_message(self, *_):
                pass

        args = (http.server.ThreadingHTTPServer, (address, port), Handler)
        self.server = namespace.inside(*args) if namespace else args[0](*args[1:])
        self.server.daemon_threads = True
        self.url = f"http://{address}:{port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _serve(self, handler):
        path = self.root / urllib.parse.unquote(urllib.parse.urlsplit(handler.path).path).lstrip("/")
        if not path.is_file():
            return reply(handler, 404)
        size = path.stat().st_size
        start, end, status, headers = 0, size, 200, {}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
        if asked and self.ranges:
            start, end, status = int(asked[1]), int(asked[2]) + 1, 206
            if start >= size:
                return reply(handler, 416)
            end = min(end, size)
            headers = {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
        with open(path, "rb") as file:
            file.seek(start)
            data = self.corrupt(file.read(end - start))
        self.sent += len(data)
        reply(handler, status, headers, data)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def reply(handler, status, headers=None, body=b"", length=None):
    """A reply; `length` is what it says of its length, when that is a lie."""
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    try:
        handler.wfile.write(body)
    except OSError:
        handler.close_connection = True

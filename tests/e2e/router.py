"""A router for the tests of port mapping, run in a namespace of its own: `router.py natpmp|upnp ADDRESS`.

It opens nothing; it prints one JSON object for each mapping that it is asked for.
"""

import http.server
import json
import re
import socket
import struct
import sys
import threading

EXTERNAL = "203.0.113.7"
WAN = "urn:schemas-upnp-org:service:WANIPConnection:1"
ARGUMENTS = {
    "AddPortMapping": (
        "NewRemoteHost", "NewExternalPort", "NewProtocol", "NewInternalPort", "NewInternalClient",
        "NewEnabled", "NewPortMappingDescription", "NewLeaseDuration",
    ),
    "DeletePortMapping": ("NewRemoteHost", "NewExternalPort", "NewProtocol"),
    "GetExternalIPAddress": (),
}  # fmt: skip


def say(protocol, port, client, life):
    """Notes a mapping; life 0 takes it back."""
    print(json.dumps({"protocol": protocol.lower(), "port": port, "client": client, "life": life}), flush=True)


def natpmp(address):
    """RFC 6886: version, operation and result, then what was asked."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 5351))
    print("{}", flush=True)
    while True:
        request, source = server.recvfrom(1100)
        version, operation = request[:2]
        if version != 0:
            server.sendto(struct.pack(">BBHI", 0, 128 | operation, 1, 1), source)
        elif operation == 0:
            server.sendto(struct.pack(">BBHI", 0, 128, 0, 1) + socket.inet_aton(EXTERNAL), source)
        else:
            internal, external, life = struct.unpack(">HHI", request[4:12])
            say({1: "udp", 2: "tcp"}[operation], internal, source[0], life)
            external = external if life else 0
            server.sendto(struct.pack(">BBHIHHI", 0, 128 | operation, 0, 1, internal, external, life), source)


class Pages(http.server.BaseHTTPRequestHandler):
    """What a router of UPnP describes, and its actions."""

    def do_GET(self):
        if self.path == "/root.xml":
            self.reply(
                f'<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device><serviceList><service>'
                f"<serviceType>{WAN}</serviceType><controlURL>/do</controlURL><SCPDURL>/scpd.xml</SCPDURL>"
                f"</service></serviceList></device></root>"
            )
        else:
            actions = "".join(
                f"<action><name>{name}</name><argumentList>"
                + "".join(f"<argument><name>{each}</name><direction>in</direction></argument>" for each in arguments)
                + "</argumentList></action>"
                for name, arguments in ARGUMENTS.items()
            )
            self.reply(f'<?xml version="1.0"?><scpd><actionList>{actions}</actionList></scpd>')

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        action = re.search(r"#(\w+)", self.headers["SOAPAction"])[1]
        values = dict(re.findall(r"<(New\w+)[^>]*>([^<]*)</", body))
        if action != "GetExternalIPAddress":
            life = int(values["NewLeaseDuration"]) if action == "AddPortMapping" else 0
            say(values["NewProtocol"], int(values["NewExternalPort"]), values.get("NewInternalClient"), life)
        inner = f"<NewExternalIPAddress>{EXTERNAL}</NewExternalIPAddress>" if action.startswith("Get") else ""
        self.reply(
            f'<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            f'<u:{action}Response xmlns:u="{WAN}">{inner}</u:{action}Response></s:Body></s:Envelope>'
        )

    def reply(self, text):
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def upnp(address):
    """SSDP over multicast, and the pages."""
    pages = http.server.ThreadingHTTPServer((address, 5000), Pages)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", 1900))
    group = socket.inet_aton("239.255.255.250") + socket.inet_aton(address)
    server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    print("{}", flush=True)
    while True:
        request, source = server.recvfrom(2000)
        target = re.search(rb"\r\nST: *(.*?)\r\n", request, re.I)
        if target is not None:
            reply = f"HTTP/1.1 200 OK\r\nLOCATION: http://{address}:5000/root.xml\r\nST: {target[1].decode()}\r\n\r\n"
            server.sendto(reply.encode(), source)


if __name__ == "__main__":
    {"natpmp": natpmp, "upnp": upnp}[sys.argv[1]](sys.argv[2])

"""HTTP and HTTPS as a script speaks them: each request on a connection of its own."""

import hashlib
import http.client
import ssl


def request(host, method, path, secret=None, body=None, headers=None, source=None, context=None):
    """One request to HOST:PORT; returns the status and the body.

    `secret` is a token to show, `source` the address to ask from, `context` the TLS to speak.
    """
    options = {"timeout": 20, "source_address": source and (source, 0)}
    if context is None:
        connection = http.client.HTTPConnection(host, **options)
    else:
        connection = http.client.HTTPSConnection(host, context=context, **options)
    bearer = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    connection.request(method, path, body, bearer | (headers or {}))
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    return reply.status, data


def fingerprint(address):
    """The SHA-256 of the certificate that a server shows."""
    pem = ssl.get_server_certificate(address, timeout=20)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()

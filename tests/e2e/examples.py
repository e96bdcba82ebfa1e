"""The example clients of the JSON and the text protocol, run as whoever copies them would."""

import subprocess
import sys

from proc import Process, wait_for
from teem import ROOT

JSON = ROOT / "examples" / "json_client.py"
TEXT = ROOT / "examples" / "text_client.py"


def command(client, addr, *words, wrapper=()):
    """The command line; `wrapper` is what Python runs in the client's stead."""
    return [sys.executable, *wrapper, client, addr, *map(str, words)]


def run(client, addr, *words, wrapper=(), prefix=()):
    """Runs a client to its end, through the command `prefix` if there is one; returns what it prints."""
    argv = [*prefix, *command(client, addr, *words, wrapper=wrapper)]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


def share(cleanup, logs, addr, *words, wrapper=(), namespace=None):
    """Starts a JSON client that shares a file, and waits until it is registered."""
    argv = command(JSON, addr, "share", *words, wrapper=wrapper)
    process = Process("json-client", argv, logs, namespace=namespace)
    cleanup(process)
    wait_for(lambda: "REGISTERED" in process.lines, 20, "registration", process)

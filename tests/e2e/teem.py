"""The `teem` binary as tests see it: arguments, JSON objects, exit statuses."""

import os
import signal
from pathlib import Path

from proc import Process, wait_for

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_NOT_FOUND, EXIT_VERIFY, EXIT_AUTH, EXIT_NO_PEERS, EXIT_DISK = range(8)
EXIT_TERMINATED = 143

TRACKER_PORT = 6969
PEER_PORT = 6881
JSON_PORT = 9000
TEXT_PORT = 5555

FORMATS = ("v1", "v2", "hybrid")

ROOT = Path(__file__).resolve().parents[2]
"""The project's folder."""


def binary():
    """The binary under test: `TEEM_BIN`, or the newest build of this workspace."""
    if "TEEM_BIN" in os.environ:
        return Path(os.environ["TEEM_BIN"]).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "teem"


class Teem(Process):
    """One run of `teem`."""

    def event(self, kind, timeout=30, where=None):
        """Waits for a JSON object of `kind` for which `where` holds, and returns it."""
        def find():
            for value in self.objects():
                if value.get("kind") == kind and (where is None or where(value)):
                    return value
            return None

        return wait_for(find, timeout, f"{kind!r} object from {self.name}", alive=self)

    def ready(self, timeout=30):
        """Waits until it says that it is ready."""
        return self.event("ready", timeout)

    def listeners(self, protocol):
        """HOST:PORT of each listener that speaks `protocol`."""
        return [each["addr"] for each in self.ready()["listeners"] if each["protocol"] == protocol]

    def listener(self, protocol):
        """HOST:PORT of the first of them."""
        addrs = self.listeners(protocol)
        assert addrs, f"{self.name} does not speak {protocol}"
        return addrs[0]

    def endpoint(self, protocol):
        """Its host and port, as sockets want them."""
        host, port = self.listener(protocol).rsplit(":", 1)
        return host.strip("[]"), int(port)

    def latest(self, kind):
        """The newest JSON object of `kind`, if there is one."""
        return next((value for value in reversed(self.objects()) if value.get("kind") == kind), None)

    def reload(self, says="were read again"):
        """Sends SIGHUP and waits until it says what came of that."""
        before = self.stderr().count(says)
        self.signal(signal.SIGHUP)
        wait_for(lambda: self.stderr().count(says) > before, 20, f"{says!r} from {self.name}", alive=self)

    def done(self, timeout=120):
        """Waits until a get says that it is done, and returns the object."""
        return self.event("done", timeout)


class Runner:
    """Starts `teem` with a home of its own, and ends all that it started."""

    def __init__(self, folder, address):
        self.folder = Path(folder)
        self.address = address
        self.started = []
        self.count = 0

    def env(self, **extra):
        """A clean environment: nothing of the person's own configuration, no LAN discovery, no DHT."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "TEEM_LAN": "off",
            "TEEM_DHT": "off",
            "TEEM_MAP_PORTS": "off",
            "TEEM_API": "127.0.0.1:0",
            "RUST_BACKTRACE": "1",
        }
        if "TEEM_LOG" in os.environ:
            env["TEEM_LOG"] = os.environ["TEEM_LOG"]
        env.update(extra)
        return env

    def __call__(self, *args, name=None, namespace=None, cwd=None, prefix=(), **env):
        """Starts `teem ARGS`, through the command `prefix` if there is one."""
        self.count += 1
        name = f"{self.count:02}-{name or args[0]}"
        (self.folder / "home").mkdir(exist_ok=True)
        process = Teem(name, [*prefix, binary(), *args], self.folder, env=self.env(**env), cwd=cwd, namespace=namespace)
        self.started.append(process)
        return process

    def state(self, name):
        """A state folder for the instance `name`."""
        path = self.folder / "state" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def tracker(self, ip=None, namespace=None, data=None, extra=()):
        """Starts a tracker on an address of its own and waits until it is ready."""
        ip = ip or self.address()
        data = data or self.state(f"tracker-{self.count}")
        process = self(
            "tracker", "--listen", f"{ip}:{TRACKER_PORT}", "--data", data, "--json", *extra, namespace=namespace
        )
        process.ip, process.data = ip, Path(data)
        process.host = f"{ip}:{TRACKER_PORT}"
        process.http = f"http://{process.host}/announce"
        process.udp = f"udp://{process.host}/announce"
        process.ready()
        return process

    def share(self, path, tracker=None, ip=None, name=None, data=None, extra=(), namespace=None, wait=True, timeout=300, prefix=()):
        """Starts `teem share` on an address of its own and waits until it is ready."""
        ip = ip or self.address()
        args = ["share", path, "--listen", f"{ip}:{PEER_PORT}", "--data", data or self.state(f"share-{self.count}")]
        if tracker is not None:
            args += ["--tracker", tracker.host]
        if name is not None:
            args += ["--name", name]
        process = self(*args, "--json", *extra, namespace=namespace, prefix=prefix)
        process.ip = ip
        if wait:
            process.ready(timeout)
        return process

    def get(self, what, output, tracker=None, ip=None, data=None, exit=True, extra=(), namespace=None, prefix=()):
        """Starts `teem get`, which ends when done unless `exit` is false."""
        ip = ip or self.address()
        args = ["get", what, "--output", output, "--listen", f"{ip}:{PEER_PORT}"]
        args += ["--data", data or self.state(f"get-{self.count}")]
        if tracker is not None:
            args += ["--tracker", tracker.host]
        if exit:
            args.append("--exit")
        process = self(*args, "--json", *extra, namespace=namespace, prefix=prefix)
        process.ip = ip
        return process

    def run(self, *args, timeout=60, **options):
        """Runs `teem ARGS` to its end and returns the process."""
        process = self(*args, **options)
        process.wait(timeout)
        return process

    def cleanup(self):
        """Kills what still runs."""
        for process in reversed(self.started):
            process.kill()

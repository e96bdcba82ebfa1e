"""Fixtures of the end-to-end tests: real processes, real sockets, this machine only."""

import itertools
import os
import shutil
import subprocess

import pytest

import netns
import teem as teem_module
from content import MIB
from matrix import Matrix
import traps

_hosts = itertools.count(2)


_passed = pytest.StashKey[bool]()
"""Whether a test has passed so far; absent while nobody knows."""

_matrix = pytest.StashKey[Matrix]()


def pytest_configure(config):
    """Begins with nothing known."""
    config.stash[_matrix] = Matrix()


def pytest_terminal_summary(terminalreporter, config):
    """Prints the matrix."""
    if config.stash[_matrix].cells:
        terminalreporter.section("matrix")
        terminalreporter.write("\n".join(config.stash[_matrix].lines()) + "\n")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Fails what needs root when there is none."""
    if "root" in item.keywords and os.geteuid() != 0:
        pytest.fail("needs root: run as root or through sudo", pytrace=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the ends of all logs to a failure, and where its folder is."""
    outcome = yield
    report = outcome.get_result()
    if report.when != "call":
        return
    item.stash[_passed] = not report.failed
    if not report.failed:
        return
    if "folder" in item.funcargs:
        report.sections.append(("folder, kept", str(item.funcargs["folder"])))
    if "teem" in item.funcargs:
        for process in item.funcargs["teem"].started:
            report.sections.append((f"{process.name} (ended: {process.returncode})", process.tail(15)))


@pytest.fixture(scope="session", autouse=True)
def built():
    """Fails at once, and plainly, when there is no binary to test."""
    path = teem_module.binary()
    if not path.exists():
        pytest.exit(f"{path} is missing: run `cargo build --release -p teem` first, or set TEEM_BIN", 2)


@pytest.fixture(scope="session")
def address():
    """Gives each peer an address of its own on loopback; other test runs use other ones."""
    net = 20 + os.getpid() % 200

    def new():
        host = next(_hosts)
        return f"127.{net}.{host >> 8}.{host & 255}"

    return new


@pytest.fixture
def folder(request, tmp_path):
    """A folder of the test's own, removed when the test passes (contents are large)."""
    yield tmp_path
    if request.node.stash.get(_passed, False):
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="session")
def matrix(request, tmp_path_factory):
    """What is known of the matrix; in the end it is a file in pytest's temporary folder, too."""
    yield request.config.stash[_matrix]
    (tmp_path_factory.getbasetemp() / "matrix.txt").write_text("\n".join(request.config.stash[_matrix].lines()) + "\n")


@pytest.fixture
def teem(request, folder, address):
    """Starts `teem` processes."""
    logs = folder / "run"
    logs.mkdir()
    runner = teem_module.Runner(logs, address)
    yield runner
    runner.cleanup()
    panics = [process.name for process in runner.started if "panicked at" in process.stderr()]
    if panics:
        request.node.stash[_passed] = False
        pytest.fail(f"panicked: {panics}; the logs are in {logs}")


@pytest.fixture
def namespace():
    """A network namespace with ten addresses, 10.99.0.1 to 10.99.0.10, on its loopback."""
    space = netns.Namespace([f"10.99.0.{host}" for host in range(1, 11)])
    yield space
    space.close()


@pytest.fixture
def internet():
    """A namespace with addresses of the internet and of local networks."""
    space = netns.Namespace([traps.EVIL, traps.SEEDER, traps.LEECHER, *traps.NEAR[1:]])
    yield space
    space.close()


@pytest.fixture
def small_disk(folder):
    """Mounts small file systems in memory; gives a function from size in MiB to a folder."""
    mounted = []

    def mount(mib):
        path = folder / f"disk{len(mounted)}"
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "teem-test", path], check=True)
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=False)


@pytest.fixture
def stoppable_disk(folder):
    """Mounts a file system at a folder; gives a function that stops and restarts all writing to it."""
    image, mounted = folder / "disk.img", []

    def freeze(path, stop):
        subprocess.run(["fsfreeze", "--freeze" if stop else "--unfreeze", path], check=True)

    def mount(path):
        with open(image, "wb") as file:
            file.truncate(128 * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        path.mkdir(parents=True)
        subprocess.run(["mount", "-o", "loop", image, path], check=True)
        mounted.append(path)
        return lambda stop: freeze(path, stop)

    yield mount
    for path in mounted:
        # What waits for it would never end; it is an error when nothing was stopped.
        subprocess.run(["fsfreeze", "--unfreeze", path], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["umount", "-l", path], check=False)


@pytest.fixture
def cleanup():
    """Peers and the like to close at the end of the test."""
    things = []
    yield things.append
    for thing in reversed(things):
        thing.close()



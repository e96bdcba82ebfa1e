"""Fixtures of the end-to-end tests: real processes, real sockets, this machine only."""

import itertools
import os
import shutil
import subprocess

import pytest

import netns
import teem as teem_module

_hosts = itertools.count(2)


def pytest_collection_modifyitems(items):
    """Skips what needs root when there is none."""
    if os.geteuid() == 0:
        return
    for item in items:
        if "root" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the ends of all logs to a failure, and keeps the folder's path in it."""
    outcome = yield
    report = outcome.get_result()
    runner = item.funcargs.get("teem") if hasattr(item, "funcargs") else None
    if report.when == "call" and report.failed and runner is not None:
        for process in runner.started:
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
def folder(tmp_path):
    """A folder of the test's own, emptied when the test passes (contents are large)."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def teem(folder, address):
    """Starts `teem` processes."""
    logs = folder / "run"
    logs.mkdir()
    runner = teem_module.Runner(logs, address)
    yield runner
    runner.cleanup()
    panics = [process.name for process in runner.started if "panicked at" in process.stderr()]
    assert not panics, f"panicked: {panics}"


@pytest.fixture
def namespace():
    """A network namespace with ten addresses, 10.99.0.1 to 10.99.0.10, on its loopback."""
    space = netns.Namespace([f"10.99.0.{host}" for host in range(1, 11)])
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
def cleanup():
    """Peers and the like to close at the end of the test."""
    things = []
    yield things.append
    for thing in reversed(things):
        thing.close()



"""Ports opened on the router, in namespaces: a router of the tests' own, and nothing beyond it."""

import sys
from pathlib import Path

import pytest

import netns
from content import MIB, random_file
from peers import make_torrent
from proc import Process, wait_for

ROUTER = Path(__file__).parent / "router.py"
HERE, THERE = "10.97.0.2", "10.97.0.1"


@pytest.fixture
def behind_a_router():
    """Two namespaces: a machine, and the router of its default route."""
    with netns.machines(HERE, THERE) as (machine, router):
        machine.command("route", "replace", "default", "via", THERE)
        yield machine.name, router.name


@pytest.mark.root
@pytest.mark.parametrize("kind", ["natpmp", "upnp"])
def test_the_router_opens_the_ports_until_the_tracker_ends(teem, folder, behind_a_router, kind):
    machine, outside = behind_a_router
    router = Process("router", [sys.executable, ROUTER, kind, THERE], folder, namespace=outside)
    try:
        wait_for(router.objects, 20, "the router", router)
        tracker = teem("tracker", "--data", teem.state("tracker"), "--text-listen", ":5555", "--json", "--map-ports", namespace=machine)
        ready = tracker.ready(60)
        assert set(ready["external"]) == {f"203.0.113.7:{port}" for port in (6969, 9000, 5555, 5556)}
        opened = {(each["protocol"], each["port"], each["client"], each["life"]) for each in router.objects()[1:]}
        ports = {("tcp", 6969), ("udp", 6969), ("tcp", 9000), ("udp", 5555), ("tcp", 5556)}
        assert opened == {(protocol, port, HERE, 3600) for protocol, port in ports}
        assert tracker.stop() == 143
        closed = [each for each in router.objects() if each.get("life") == 0]
        assert {(each["protocol"], each["port"]) for each in closed} == ports
    finally:
        router.kill()


@pytest.mark.root
def test_without_a_router_that_answers_the_tracker_says_so_and_goes_on(teem, behind_a_router):
    machine, _ = behind_a_router
    tracker = teem("tracker", "--data", teem.state("tracker"), "--json", "--map-ports", namespace=machine)
    assert "external" not in tracker.ready(60)
    assert "the router opens no ports" in tracker.stderr()
    assert tracker.stop() == 143


@pytest.mark.root
@pytest.mark.parametrize("kind", ["natpmp", "upnp"])
def test_the_router_opens_the_peers_port_while_they_run(teem, folder, behind_a_router, kind):
    machine, outside = behind_a_router
    source = random_file(folder / "source" / "file.bin", MIB)
    torrent = folder / "made.torrent"
    make_torrent(source, torrent, trackers=["http://127.0.0.1:9/announce"])
    router = Process("router", [sys.executable, ROUTER, kind, THERE], folder, namespace=outside)
    try:
        wait_for(router.objects, 20, "the router", router)
        args = ["get", torrent, "--output", source.parent, "--port", "7001", "--data", teem.state("get"), "--json"]
        get = teem(*args, namespace=machine, TEEM_MAP_PORTS="on")
        get.done(30)
        wait_for(lambda: len(router.objects()) > 2, 30, "open ports", router)
        opened = {(each["protocol"], each["port"], each["client"], each["life"]) for each in router.objects()[1:]}
        assert opened == {(protocol, 7001, HERE, 3600) for protocol in ("tcp", "udp")}
        assert get.stop() == 143
        closed = {(each["protocol"], each["port"]) for each in router.objects() if each.get("life") == 0}
        assert closed == {("tcp", 7001), ("udp", 7001)}
    finally:
        router.kill()


@pytest.mark.root
def test_nobody_asks_the_router_beside_a_proxy(teem, folder, behind_a_router):
    machine, outside = behind_a_router
    source = random_file(folder / "source" / "file.bin", MIB)
    torrent = folder / "made.torrent"
    make_torrent(source, torrent, trackers=["http://127.0.0.1:9/announce"])
    router = Process("router", [sys.executable, ROUTER, "natpmp", THERE], folder, namespace=outside)
    try:
        wait_for(router.objects, 20, "the router", router)
        args = ["get", torrent, "--output", source.parent, "--port", "7001", "--data", teem.state("get"), "--json"]
        get = teem(*args, "--proxy", f"socks5://{THERE}", namespace=machine, TEEM_MAP_PORTS="on")
        get.done(30)
        assert get.stop() == 143
        assert len(router.objects()) == 1
    finally:
        router.kill()

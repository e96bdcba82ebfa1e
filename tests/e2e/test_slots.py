"""Upload slots and the queue for them (docs/protocols/slots.md): what both sides show of them."""

import json
import signal
import urllib.request

import pytest

from content import MIB, assert_same, random_file
from netns import Namespace
from proc import wait_for
from teem import EXIT_DONE, EXIT_NO_PEERS, PEER_PORT

FAR = [f"198.51.100.{host}" for host in range(1, 7)]
"""Addresses of another network: peers of one's own need no slot."""


@pytest.fixture
def far_away():
    """A namespace whose addresses are far from each other."""
    space = Namespace(FAR)
    yield space
    space.close()


def standing(process, ip, side):
    """What `process` said of the peer there, whatever its port: words, with places where there are some."""
    told = [each for each in process.objects() if each.get("kind") == "peer" and each["addr"].split(":")[0] == ip]
    words = [(each[side]["state"], each[side].get("place")) for each in told if side in each]
    return [word for at, word in enumerate(words) if at == 0 or word != words[at - 1]]


@pytest.mark.root
def test_who_waits_for_a_slot_sees_its_place_until_its_turn_comes(teem, folder, far_away):
    tracker_ip, share_ip, *leechers, _ = FAR
    space = far_away.name
    tracker = teem.tracker(ip=tracker_ip, namespace=space)
    source = random_file(folder / "source" / "file.bin", 2 * MIB)
    extra = ["--upload-slots", "1", "--max-up", "1M"]
    share = teem.share(source, tracker, ip=share_ip, namespace=space, extra=extra)
    # They have nobody but the seeder: each must wait for it.
    blocked = folder / "blocked"
    blocked.write_text("".join(f"{ip}-{ip}\n" for ip in leechers))
    gets = []

    def stands(number, state, place=None):
        """Waits until that leecher says that it stands so."""
        get = gets[number]
        wait_for(lambda: standing(get, share_ip, "gives")[-1:] == [(state, place)], 60, (state, place), get)

    def hold(number):
        """Has a leecher keep its slot: places are told once in ten seconds, and it must not be done before."""
        stands(number, "available")
        gets[number].signal(signal.SIGSTOP)

    for number, ip in enumerate(leechers):
        # Slow enough to be held before the end.
        extra = ["--block-list", blocked, "--max-down", "320K"]
        gets.append(teem.get("file.bin", folder / f"out{number}", tracker, ip=ip, namespace=space, extra=extra))
        # In the order in which they came.
        hold(0) if number == 0 else stands(number, "connected", number)
    slots = {"total": 1, "used": 1, "waiting": 2, "guests": 0}
    share.event("slots", where=lambda told: {key: told[key] for key in slots} == slots)
    progress = gets[2].event("progress", where=lambda told: told["sources"]["connected"] == 1)
    assert progress["sources"]["available"] == 0
    gets[0].signal(signal.SIGCONT)
    hold(1)
    stands(2, "connected", 1)
    gets[1].signal(signal.SIGCONT)
    for number, get in enumerate(gets):
        assert get.wait(120) == EXIT_DONE, get.tail()
        assert_same(folder / f"out{number}" / "file.bin", source)
    # What they saw: each place once, the last one before the slot.
    seen = [[word for word in standing(get, share_ip, "gives") if word != ("connected", None)] for get in gets]
    waits = [("connected", place) for place in (2, 1)]
    assert seen == [[("available", None)], [*waits[1:], ("available", None)], [*waits, ("available", None)]]
    assert standing(share, leechers[2], "gets") == [*waits, ("available", None)], "the seeder says the same"


@pytest.mark.root
def test_who_cannot_be_reached_is_unavailable(teem, folder, far_away):
    tracker_ip, share_ip, ip, *_ = FAR
    tracker = teem.tracker(ip=tracker_ip, namespace=far_away.name)
    source = random_file(folder / "source" / "file.bin", MIB)
    share = teem.share(source, tracker, ip=share_ip, namespace=far_away.name)
    share.kill()
    get = teem.get("file.bin", folder / "out", tracker, ip=ip, namespace=far_away.name, extra=["--timeout", "6"])
    assert get.wait(60) == EXIT_NO_PEERS, get.tail()
    assert standing(get, share_ip, "gives") == [("unavailable", None)]
    assert get.latest("progress")["sources"] == {"available": 0, "connected": 0, "unavailable": 1}


def test_a_daemon_shows_who_takes_part(teem, folder):
    tracker = teem.tracker()
    source = random_file(folder / "files" / "file.bin", 4 * MIB)
    ip, data = teem.address(), teem.state("daemon")
    daemon = teem(
        "daemon", "--files", folder / "files", "--data", data, "--tracker", tracker.host, "--listen", f"{ip}:{PEER_PORT}",
        "--api", "127.0.0.1:0", "--json", "--upload-slots", "3", "--max-up", "64K", "--limit-lan",
    )  # fmt: skip
    api = daemon.ready(60)["api"]
    wait_for(lambda: "published file.bin@1" in daemon.stderr(), 20, "a name", daemon)
    get = teem.get("file.bin", folder / "out", tracker)

    def show(*extra):
        process = teem.run("transfers", "file.bin", "--data", data, *extra, timeout=30)
        assert process.returncode == EXIT_DONE, process.tail()
        return process

    def peers():
        return [each for each in show("--json").objects() if each["kind"] == "peer"]

    # A peer of this machine needs no slot.
    wait_for(lambda: [each.get("gets") for each in peers()] == [{"state": "available"}], 30, "a peer", get)
    slots = next(each for each in show("--json").objects() if each["kind"] == "slots")
    assert (slots["total"], slots["used"], slots["waiting"]) == (3, 0, 0)
    shown = show()
    lines = " ".join(shown.lines)
    assert "GETS" in lines and "available" in lines and get.ip in lines
    assert "upload slots: 0 of 3 slots" in shown.stderr()
    token = json.loads((data / "api.json").read_text())["token"]
    listed = teem.run("transfers", "--data", data, "--json", timeout=30).latest("transfer")
    request = urllib.request.Request(
        f"http://{api}/api/v1/transfers/{listed['id']}/peers", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        answer = json.load(reply)
    assert answer["slots"] == {"total": 3, "used": 0, "waiting": 0, "guests": 0}
    assert [each["gets"] for each in answer["peers"]] == [{"state": "available"}] and answer["unavailable"] == 0

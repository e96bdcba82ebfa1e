"""Finding a tracker without being told: on this machine, and on the LAN by DNS-SD."""

import pytest

import netns
from content import MIB, assert_same, random_file
from teem import EXIT_DONE

LAN = {"TEEM_LAN": "on"}


@pytest.fixture
def two_machines():
    """The namespaces of two machines on a LAN."""
    with netns.machines("10.98.0.1", "10.98.0.2") as (left, right):
        yield left.name, right.name


@pytest.mark.root
def test_a_name_is_enough_on_the_lan(teem, folder, two_machines):
    here, there = two_machines
    source = random_file(folder / "source" / "file.bin", 5 * MIB)
    tracker = teem("tracker", "--data", teem.state("tracker"), "--json", namespace=here, **LAN)
    tracker.ready()
    share = teem("share", source, "--data", teem.state("share"), "--json", namespace=here, **LAN)
    share.ready()
    get = teem("get", "file.bin", "-o", folder / "out", "-e", "--data", teem.state("get"), namespace=there, **LAN)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)
    assert "10.98.0.1" in get.stderr(), "the tracker that was found is not named"


@pytest.mark.root
def test_another_tracker_does_not_silently_take_the_place_of_the_known_one(teem, folder, two_machines):
    here, there = two_machines
    source = random_file(folder / "source" / "file.bin", MIB)
    first = teem("tracker", "--data", teem.state("first"), "--json", namespace=here, **LAN)
    first.ready()
    teem("share", source, "--data", teem.state("share"), "--json", namespace=here, **LAN).ready()
    data = teem.state("get")
    get = teem("get", "file.bin", "-o", folder / "out", "-e", "--data", data, namespace=there, **LAN)
    assert get.wait(60) == EXIT_DONE, get.tail()
    first.stop()
    teem("tracker", "--data", teem.state("second"), "--json", namespace=here, **LAN).ready()
    again = teem("get", "file.bin", "-o", folder / "again", "-e", "--data", data, namespace=there, **LAN)
    assert again.wait(60) != EXIT_DONE, "a stranger's tracker was taken"
    assert "--tracker" in again.stderr(), again.stderr()


@pytest.mark.root
def test_a_tracker_on_this_machine_is_found_at_the_default_port(teem, folder, namespace):
    source = random_file(folder / "source" / "file.bin", MIB)
    tracker = teem("tracker", "--data", teem.state("tracker"), "--json", namespace=namespace.name)
    tracker.ready()
    teem("share", source, "--data", teem.state("share"), "--json", namespace=namespace.name).ready()
    get = teem("get", "file.bin", "-o", folder / "out", "-e", "--data", teem.state("get"), namespace=namespace.name)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "file.bin", source)

"""Sharing by name and getting by name: whole files and folders, from several seeders, in each format."""

import json
import os

import pytest

import catalogue
from content import MIB, assert_same, random_file, sized, tree
from proc import wait_for
from teem import EXIT_AUTH, EXIT_DONE, FORMATS


def test_three_seeders_are_all_used_and_the_first_leecher_serves_the_second(teem, folder):
    size = sized(2048 * MIB, 192 * MIB)
    source = random_file(folder / "source" / "big.bin", size)
    tracker = teem.tracker()
    seeders = [teem.share(source, tracker) for _ in range(3)]
    before = [seeder.io()["rchar"] for seeder in seeders]

    first = teem.get("big.bin", folder / "first", tracker, exit=False)
    done = first.done(300)
    assert done["bytes"] == size
    assert_same(folder / "first" / "big.bin", source)
    for seeder, was in zip(seeders, before):
        served = seeder.io()["rchar"] - was
        assert served > size // 50, f"{seeder.name} at {seeder.ip} served {served} bytes only"

    seeders[0].kill()
    read_before = first.io()["rchar"]
    second = teem.get("big.bin", folder / "second", tracker)
    assert second.wait(300) == EXIT_DONE, second.tail()
    assert_same(folder / "second" / "big.bin", source)
    assert first.io()["rchar"] - read_before > size // 50, "the first leecher did not serve"


def test_a_leecher_alone_serves_once_all_seeders_are_gone(teem, folder):
    source = random_file(folder / "source" / "file.bin", 20 * MIB)
    tracker = teem.tracker()
    seeder = teem.share(source, tracker)
    first = teem.get("file.bin", folder / "first", tracker, exit=False)
    first.done()
    seeder.kill()
    second = teem.get("file.bin", folder / "second", tracker)
    assert second.wait(60) == EXIT_DONE, second.tail()
    assert_same(folder / "second" / "file.bin", source)


@pytest.mark.parametrize("format", FORMATS)
def test_a_tree_of_all_kinds_of_files_arrives_equal(teem, folder, format):
    source = tree(folder / "source" / "tree ü", sized(5000, 400), sized(600 * MIB, 12 * MIB))
    tracker = teem.tracker()
    teem.share(source, tracker, extra=["--format", format])
    get = teem.get("tree ü", folder / "out", tracker)
    assert get.wait(300) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "tree ü", source)
    left = [name for _, _, files in os.walk(folder / "out") for name in files if ".part" in name]
    assert not left, f"left behind: {left}"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [1, 16384, 16385, 524288, 3 * MIB + 7])
def test_files_of_awkward_sizes_arrive_equal(teem, folder, format, size):
    source = random_file(folder / "source" / f"size {size}.bin", size)
    tracker = teem.tracker()
    teem.share(source, tracker, extra=["--format", format])
    get = teem.get(source.name, folder / "out", tracker)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / source.name, source)
    done = get.latest("done")
    assert done["v"] == 1 and done["name"] == source.name and done["bytes"] == size
    assert (done["info_hash_v1"] is not None) == (format != "v2")
    assert (done["info_hash_v2"] is not None) == (format != "v1")
    assert os.path.samefile(done["path"], folder / "out" / source.name)


@pytest.mark.parametrize("how", ["magnet", "v1 hash", "v2 hash", "torrent file"])
def test_every_name_is_also_a_magnet_link_a_hash_and_a_torrent_file(teem, folder, how):
    source = random_file(folder / "source" / "file.bin", 5 * MIB)
    tracker = teem.tracker()
    teem.share(source, tracker, name="a name")
    entry = catalogue.entry(tracker, "a name")
    if how == "magnet":
        what = catalogue.magnet(tracker, "a name")
    elif how == "torrent file":
        what = folder / "it.torrent"
        what.write_bytes(catalogue.torrent(tracker, "a name"))
    else:
        what = entry[f"info_hash_{how[:2]}"]
    get = teem.get(what, folder / "out", tracker)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "a name", source)


def test_the_catalogue_lists_names_with_their_seeders(teem, folder):
    tracker = teem.tracker()
    for name in ("alpha.bin", "beta.bin"):
        teem.share(random_file(folder / name, 100_000), tracker)
    listed = teem.run("ls", "--tracker", tracker.host, "--json")
    assert listed.returncode == EXIT_DONE, listed.tail()
    text = json.dumps(listed.objects(), ensure_ascii=False)
    assert "alpha.bin" in text and "beta.bin" in text
    filtered = teem.run("ls", "alpha", "--tracker", tracker.host)
    assert filtered.returncode == EXIT_DONE
    assert "alpha.bin" in "\n".join(filtered.lines) and "beta.bin" not in "\n".join(filtered.lines)


def test_a_name_that_has_other_content_is_refused(teem, folder):
    tracker = teem.tracker()
    teem.share(random_file(folder / "one" / "same.bin", 100_000, seed=1), tracker)
    other = teem.share(random_file(folder / "two" / "same.bin", 100_000, seed=2), tracker, wait=False)
    assert other.wait(30) == EXIT_AUTH, other.tail()
    assert "same.bin" in other.stderr() and "--name" in other.stderr(), other.stderr()


def test_up_shares_a_folder_and_says_what_the_other_machine_types(teem, folder, address):
    source = tree(folder / "things", 20, MIB)
    ip = address()
    up = teem("up", source, "--listen", f"{ip}:0", "--data", teem.state("up"), cwd=folder)
    line = wait_for(lambda: next((line for line in up.lines if "teem get" in line), None), 60, "line to type", up)
    assert "--tracker" in line or ip in line, line
    words = line[line.index("teem get") :].split("--tracker")
    host = words[1].split()[0]
    get = teem("get", "things", "-o", folder / "out", "--tracker", host, "-e", "--data", teem.state("get"))
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / "things", source)


def test_get_in_words_for_people_ends_with_one_line_of_summary(teem, folder):
    source = random_file(folder / "source" / "file.bin", 3 * MIB)
    tracker = teem.tracker()
    teem.share(source, tracker)
    args = ("get", "file.bin", "-o", folder / "out", "--tracker", tracker.host, "-e", "--data", teem.state("get"))
    get = teem.run(*args)
    assert get.returncode == EXIT_DONE, get.tail()
    assert len(get.lines) == 1, get.lines
    assert str(folder / "out" / "file.bin") in get.lines[0] and "SHA-256" in get.lines[0], get.lines

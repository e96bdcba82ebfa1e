"""A block list: who is on it is neither dialled nor answered."""

import pytest

from content import MIB, assert_same, random_file
from teem import EXIT_DONE, EXIT_USAGE


def test_blocked_seeder_is_not_dialled_and_another_is(teem, folder):
    tracker = teem.tracker()
    source = random_file(folder / "source" / "file.bin", MIB + 3)
    blocked = teem.share(source, tracker)
    listed = folder / "blocked.txt"
    listed.write_text(f"# nobody\nsomebody: of old:{blocked.ip}-{blocked.ip}\n")
    extra = ["--block-list", listed, "--timeout", "5"]
    alone = teem.get(source.name, folder / "out", tracker, extra=extra)
    assert alone.wait(60) != EXIT_DONE, alone.tail()
    assert not (folder / "out" / source.name).exists()
    teem.share(source, tracker)
    get = teem.get(source.name, folder / "out", tracker, extra=extra)
    assert get.wait(60) == EXIT_DONE, get.tail()
    assert_same(folder / "out" / source.name, source)


@pytest.mark.parametrize("utp", ["off", "only"])
def test_blocked_leecher_is_not_answered(teem, folder, utp):
    tracker = teem.tracker()
    source = random_file(folder / "source" / "file.bin", MIB + 3)
    ip = teem.address()
    listed = folder / "blocked.txt"
    listed.write_text(f"{ip}/32\n")
    teem.share(source, tracker, extra=["--block-list", listed])
    get = teem.get(source.name, folder / "out", tracker, ip=ip, extra=["--utp", utp, "--timeout", "5"])
    assert get.wait(60) != EXIT_DONE, get.tail()
    assert not (folder / "out" / source.name).exists()


def test_list_that_cannot_be_read_is_refused_with_its_line(teem, folder):
    listed = folder / "blocked.txt"
    listed.write_text("10.0.0.1\nnonsense\n")
    get = teem.get("x", folder / "out", extra=["--block-list", listed])
    assert get.wait(30) == EXIT_USAGE
    assert "line 2" in get.stderr() and "nonsense" in get.stderr()

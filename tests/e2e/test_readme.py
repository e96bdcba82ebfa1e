"""README's ten examples, as they stand there, on two machines of one network."""

import re

import pytest

import netns
from content import MIB, assert_same, random_file
from proc import Process, wait_for
from teem import EXIT_DONE, ROOT, binary

README = ROOT / "README.md"
NAS, LAPTOP = "10.99.1.1", "10.99.1.2"

# Where each runs, and what it says on standard error when it is ready and goes on.
EXAMPLES = {
    1: (NAS, "running until Ctrl-C"),
    2: (LAPTOP, "seeding until Ctrl-C"),
    3: (LAPTOP, None),
    4: (NAS, "running until Ctrl-C"),
    5: (NAS, "seeding until Ctrl-C"),
    6: (NAS, "seeding until Ctrl-C"),
    7: (LAPTOP, None),
    8: (LAPTOP, "seeding for a while"),
    9: (NAS, None),
    10: (LAPTOP, None),
}

pytestmark = pytest.mark.root


def examples():
    """The commands by their numbers; `nas` becomes the address of that machine."""
    section = README.read_text().split("## Ten examples", 1)[1]
    block = section.split("```sh\n", 1)[1].split("```", 1)[0]
    found = re.findall(r"^# (\d+)\. .*\n(.+)$", block, re.MULTILINE)
    return {int(number): command.replace("nas:", f"{NAS}:") for number, command in found}


@pytest.fixture
def machines(folder):
    """Two network namespaces joined by a cable, each with a folder and a home."""
    started = []

    def run(number, command, machine):
        root = folder / machine
        (root / "work").mkdir(parents=True, exist_ok=True)
        env = {"PATH": f"{binary().parent}:/usr/bin:/bin", "HOME": str(root), "LANG": "C.UTF-8", "NO_COLOR": "1", "TEEM_DHT": "off", "TEEM_MAP_PORTS": "off"}
        argv = ["sh", "-c", command if "&&" in command else f"exec {command}"]
        process = Process(f"example-{number}", argv, root, env, root / "work", spaces[machine].name)
        started.append(process)
        return process

    with netns.machines(NAS, LAPTOP) as (nas, laptop):
        spaces = {NAS: nas, LAPTOP: laptop}
        yield run
        for process in reversed(started):
            process.kill()


def test_the_ten_examples_of_the_readme_work(folder, machines):
    nas, laptop = (folder / machine / "work" for machine in (NAS, LAPTOP))
    random_file(nas / "photos" / "one.jpg", MIB)
    random_file(nas / "photos" / "old" / "two.jpg", 3 * MIB)
    random_file(nas / "big.iso", 8 * MIB)
    random_file(nas / "build" / "program", 2 * MIB)
    commands = examples()
    assert commands.keys() == EXAMPLES.keys()
    output = {}
    for number, command in commands.items():
        machine, going_on = EXAMPLES[number]
        if number == 10:
            (laptop / "big.torrent").write_bytes((nas / "big.torrent").read_bytes())
        process = machines(number, command, machine)
        if going_on is None:
            assert process.wait(60) == EXIT_DONE, f"{command}\n{process.tail()}"
        else:
            wait_for(lambda: going_on in process.stderr(), 60, f"{going_on!r} from: {command}", process)
        output[number] = "\n".join(process.lines)

    for fetched in ("photos", "elsewhere/photos"):
        assert_same(laptop / fetched, nas / "photos")
    assert_same(laptop / "mirror" / "nightly", nas / "build")
    assert_same(laptop / "copy" / "big.iso", nas / "big.iso")
    assert "teem get photos --tracker" in output[1], output[1]
    assert "big.iso" in output[7] and "nightly" in output[7], output[7]
    assert '"kind":"done"' in output[8], output[8]
    assert output[9].splitlines()[-1].startswith("magnet:?"), output[9]

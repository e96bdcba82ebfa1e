"""What packagers take: the systemd unit and the container's recipe."""

import re
import shutil
import subprocess

import pytest

import teem as teem_module
from teem import ROOT

DIST = ROOT / "dist"


def unit():
    """The unit's settings, in order."""
    text = (DIST / "teem-tracker.service").read_text()
    return [tuple(line.split("=", 1)) for line in text.splitlines() if "=" in line and not line.startswith("#")]


def flags(teem):
    """All flags of `teem tracker`, and their variables."""
    text = "\n".join(teem.run("tracker", "--help").lines)
    return set(re.findall(r"--[a-z][a-z-]+", text)), set(re.findall(r"\[env: (TEEM_[A-Z_]+)", text))


def test_flags_and_variables_in_the_recipes_are_known(teem):
    known, variables = flags(teem)
    command = next(value for key, value in unit() if key == "ExecStart")
    assert set(re.findall(r"--[a-z-]+", command)) <= known
    used = {name for path in DIST.iterdir() for name in re.findall(r"\bTEEM_[A-Z_]+", path.read_text())}
    assert used and used <= variables, used - variables


def test_the_unit_is_one_that_systemd_takes(folder):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze on this machine")
    # Verification wants the program to be there.
    copy = folder / "teem-tracker.service"
    text = (DIST / "teem-tracker.service").read_text().replace("/usr/local/bin/teem", str(teem_module.binary()))
    copy.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr


def test_the_unit_gives_away_nothing_that_a_tracker_does_not_need():
    settings = dict(unit())
    assert settings["User"] != "root" and settings["CapabilityBoundingSet"] == ""
    for key in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "MemoryDenyWriteExecute", "RestrictNamespaces"):
        assert settings[key] == "yes", key
    assert settings["ProtectSystem"] == "strict" and settings["StateDirectoryMode"] == "0700"


def test_the_unit_knows_how_a_tracker_ends_and_reloads():
    settings = dict(unit())
    assert settings["SuccessExitStatus"] == str(teem_module.EXIT_TERMINATED)
    assert settings["ExecReload"].split()[1:] == ["-HUP", "$MAINPID"]


def test_the_container_gets_all_that_the_build_needs(folder):
    text = (DIST / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    known = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENV", "ENTRYPOINT", "CMD"}
    assert {step for step, _ in steps} <= known
    copied = [rest.split() for step, rest in steps if step == "COPY" and not rest.startswith("--from")]
    sent = {line[1:] for line in (DIST / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    for *sources, target in copied:
        for source in sources:
            assert source in sent, f"{source} does not reach the builder"
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / source)
            else:
                shutil.copy(ROOT / source, folder / target)
    done = subprocess.run(
        ["cargo", "metadata", "--locked", "--offline", "--format-version", "1"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    toolchain = re.search(r'channel = "([\d.]+)"', (ROOT / "rust-toolchain.toml").read_text())[1]
    assert any(rest.startswith(f"rust:{toolchain.rsplit('.', 1)[0]}") for step, rest in steps if step == "FROM")

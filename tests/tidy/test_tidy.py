"""Walls and sizes that the compiler does not hold: who may depend on what, how long things may be."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CRATES = sorted(path.parent.name for path in ROOT.glob("crates/*/Cargo.toml"))
PURE = ("chance", "proto", "swarm", "dht", "mse", "utp", "registry")
MAY_BE_UNSAFE = ("sys", "digest")
FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
PURE_DEPENDENCIES_MAX = 8

# No clock, runtime or socket: what a pure crate is made of cannot reach one.
IMPURE = {"tokio", "mio", "socket2", "rustix", "hyper", "async-std", "smol", "rusqlite", "libc", "rand", "tracing-subscriber"}

RUST_TEST = re.compile(r"#\[(?:tokio::)?test\b.*\n(?:\s*#.*\n)*\s*(?:async )?fn (\w+)")
FUNCTION = re.compile(r"^( *)(?:pub(?:\([^)]*\))? )?(?:default |const |async |unsafe |extern \"\w+\" )*fn (\w+)")


def sources(crate):
    """The Rust files of a crate."""
    return sorted((ROOT / "crates" / crate).rglob("*.rs"))


@cache
def dependencies(crate, depth=None):
    """Names of the crates that a crate is built from, without those for its tests."""
    command = ["cargo", "tree", "--locked", "-p", package(crate), "-e", "normal", "--prefix", "none", "--format", "{p}"]
    if depth is not None:
        command += ["--depth", str(depth)]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[0] for line in lines[1:] if line}


def package(crate):
    """The package name in a crate's manifest."""
    return re.search(r'^name = "([^"]+)"', (ROOT / "crates" / crate / "Cargo.toml").read_text(), re.M)[1]


@pytest.mark.parametrize("crate", PURE)
def test_pure_crates_are_built_without_clock_runtime_or_socket(crate):
    assert not dependencies(crate) & IMPURE


@pytest.mark.parametrize("crate", PURE)
def test_pure_crates_have_few_direct_dependencies(crate):
    assert len(dependencies(crate, depth=1)) <= PURE_DEPENDENCIES_MAX


@pytest.mark.parametrize("crate", PURE)
def test_pure_crates_forbid_the_calls_that_would_break_determinism(crate):
    text = (ROOT / "crates" / crate / "clippy.toml").read_text()
    for call in ("std::time::Instant::now", "std::time::SystemTime::now"):
        assert call in text


def test_arrows_between_our_crates_point_down():
    below = {
        "proto": {"digest"},
        "digest": set(),
        "sys": set(),
        "chance": set(),
        "swarm": {"proto", "digest", "chance"},
        "dht": {"proto", "chance"},
        "mse": {"proto", "digest"},
        "utp": {"proto", "chance"},
        "registry": {"proto", "chance"},
        "node": {"proto", "digest", "swarm", "dht", "mse", "utp", "sys"},
        "tracker": {"proto", "digest", "registry", "sys"},
        "sim": {"proto", "digest", "swarm", "registry", "chance"},
        "load": {"proto", "sys", "chance"},
        "teem": {"proto", "digest", "swarm", "dht", "registry", "sys", "node", "tracker"},
    }
    names = {package(crate): crate for crate in CRATES}
    for crate in CRATES:
        ours = {names[name] for name in dependencies(crate, depth=1) if name in names}
        assert ours <= below[crate], f"{crate} depends on {ours - below[crate]}"


@pytest.mark.parametrize("crate", [crate for crate in CRATES if crate not in MAY_BE_UNSAFE])
def test_only_two_crates_may_be_unsafe(crate):
    root = ROOT / "crates" / crate / "src"
    top = root / "lib.rs" if (root / "lib.rs").exists() else root / "main.rs"
    assert "#![forbid(unsafe_code)]" in top.read_text()


OPENS_A_SOCKET = re.compile(r"\b(?:TcpStream::connect|TcpSocket::new_v\d|(?:Udp|Std|StdUdp)?Socket::(?:bind|new))\(|\bhost\.connect\(")
MAY_OPEN_SOCKETS = {
    "node/src/egress/mod.rs": "the gate",
    "node/src/roads.rs": "uTP, over the sockets that listen, behind the gate's judgement",
    "node/src/listen.rs": "what listens",
    "node/src/neighbours.rs": "the group of local discovery",
    "teem/src/listen.rs": "asks the system for routes, and sends nothing",
}


@pytest.mark.parametrize("crate", ["node", "teem"])
def test_everything_that_goes_out_passes_the_gate(crate):
    opened = set()
    for path in sorted((ROOT / "crates" / crate / "src").rglob("*.rs")):
        if path.name != "tests.rs" and OPENS_A_SOCKET.search(path.read_text().split("#[cfg(test)]")[0]):
            opened.add(str(path.relative_to(ROOT / "crates")))
    assert opened == {path for path in MAY_OPEN_SOCKETS if path.startswith(crate)}


@pytest.mark.parametrize("crate", CRATES)
def test_files_are_short_and_say_what_they_own(crate):
    for path in sources(crate):
        text = path.read_text()
        lines = len(text.splitlines())
        assert lines <= FILE_LINES_MAX, f"{path.relative_to(ROOT)} has {lines} lines"
        if "src" in path.parts and path.name != "tests.rs" and "tests" not in path.parts:
            assert text.startswith("//!"), f"{path.relative_to(ROOT)} does not open with its module's purpose"


@pytest.mark.parametrize("crate", CRATES)
def test_functions_are_short(crate):
    long = []
    for path in sources(crate):
        if "tests" in path.parts or path.name == "tests.rs":
            continue
        lines = path.read_text().split("#[cfg(test)]\nmod tests {")[0].splitlines()
        for start, line in enumerate(lines):
            match = FUNCTION.match(line)
            if match is None or line.rstrip().endswith((";", "}")):
                continue
            end = next((at for at in range(start + 1, len(lines)) if lines[at].startswith(match[1] + "}")), start)
            if end - start + 1 > FUNCTION_LINES_MAX:
                long.append(f"{path.relative_to(ROOT)}:{start + 1} {match[2]}: {end - start + 1} lines")
    assert not long, "\n".join(long)


@pytest.mark.parametrize("crate", CRATES)
def test_nothing_is_left_open(crate):
    for path in sources(crate):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            open_end = re.search(r"\b(todo|unimplemented)!|\b(TODO|FIXME|XXX)\b", line)
            assert open_end is None, f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_crates_declare_their_dependencies_in_the_workspace():
    for crate in CRATES:
        for line in (ROOT / "crates" / crate / "Cargo.toml").read_text().splitlines():
            assert not re.match(r'^[\w-]+ = (?:"\d|\{ version)', line), f"{crate}: {line}"


@cache
def known_tests():
    """Names of all tests, alone and behind the name of their file."""
    python = {path: re.findall(r"^def (test_\w+)", path.read_text(), re.M) for path in ROOT.glob("tests/**/*.py")}
    rust = {path: RUST_TEST.findall(path.read_text()) for path in ROOT.glob("crates/*/*/**/*.rs")}
    found = [(path.stem, name) for path, names in (python | rust).items() for name in names]
    return {name for _, name in found} | {f"{stem}::{name}" for stem, name in found}


def test_documents_name_tests_that_exist():
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        named = set(re.findall(r"`(test_\w+)`", page.read_text()))
        assert named <= known_tests(), (page.name, named - known_tests())


def test_each_row_of_the_seeds_says_what_shows_it():
    shows = {"not yet", "no test", "—"}
    for line in (ROOT / "docs/seeds.md").read_text().splitlines():
        if not line.startswith("| "):
            continue
        last = line.strip("| ").rsplit(" | ", 1)[1]
        named = re.fullmatch(r"`([\w:]+)`(?:, `[\w:]+`)*", last)
        known = named and set(re.findall(r"`([\w:]+)`", last)) <= known_tests()
        assert last in shows | {"shown by"} or known, line

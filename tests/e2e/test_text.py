"""The text protocol of the tracker (docs/protocols/text.md), and the example client that speaks it."""

import ast
import socket
import sys

import pytest

import examples
import metrics
import netns
from content import MIB, random_file
from proc import wait_for
from teem import EXIT_FAILED, TEXT_PORT
from text_protocol import Client

CHUNK_LIST_LEN_MAX = 1 << 20


@pytest.fixture
def tracker(teem):
    """A tracker that speaks text."""
    process = teem.tracker(extra=("--text-listen", f"{teem.address()}:{TEXT_PORT}"))
    process.text, port = process.endpoint("text")
    assert port == TEXT_PORT and process.endpoint("text-lists") == (process.text, TEXT_PORT + 1)
    return process


@pytest.fixture
def at(tracker, cleanup):
    """Makes clients."""

    def make(source="127.0.0.1"):
        client = Client(tracker.text, source)
        cleanup(client)
        return client

    return make


def counted(tracker, name, count):
    """Waits until a counter of the text protocol has that value."""
    wait_for(lambda: metrics.number(tracker, f"teem_text_{name}_total") == count, 20, f"{count} {name}", tracker)


def test_the_example_client_is_all_that_is_needed(folder, tracker, at):
    source = random_file(folder / "source" / "file.bin", 2 * MIB + 5)

    def example(*words):
        return examples.run(examples.TEXT, tracker.listener("text"), *words)

    assert "registered alice" in example("seed", "alice", 7000, source)
    counted(tracker, "delivered", 1)
    counted(tracker, "fetches", 1)
    [(name, ip, port, lists_port, size)] = ast.literal_eval(example("list"))
    assert (name, ip, port, lists_port) == ("alice", "127.0.0.1", 7000, 5556)
    chunks = ast.literal_eval(example("chunks", "alice"))
    assert len(chunks) == 5 and all(len(each) == 64 for each in chunks) and len(str(chunks)) == size
    assert len(examples.TEXT.read_text().splitlines()) < 60


def test_a_seeder_is_listed_at_once_and_a_register_gets_no_reply(at):
    seeder, leecher = at("127.0.0.9"), at()
    assert leecher.listed() == {}
    seeder.register("alice", size=1340)
    assert seeder.listed() == {"alice": ("127.0.0.9", 7000, 5556, 1340)}, "the list is the first that comes back"
    seeder.register("alice", port=7001, size=12)
    assert leecher.waits("alice") and leecher.listed() == {"alice": ("127.0.0.9", 7001, 5556, 12)}


def test_chunk_lists_are_taken_both_ways_and_handed_out_by_name(tracker, at):
    first, second = [f"{number:064x}" for number in range(40)], [1, -2, 3**200, "größe", "it's \\ \n"]
    connects, listens, leecher = at("127.0.0.7"), at("127.0.0.8"), at()
    chunks = str(first).encode()
    connects.register("connects", chunks)
    assert connects.exchange(chunks) == b""
    chunks = str(second).encode()
    with socket.create_server(("127.0.0.8", TEXT_PORT + 1)) as server:
        server.settimeout(20)
        listens.register("listens", chunks)
        connection, remote = server.accept()
        assert remote[0] == tracker.text
        with connection:
            connection.sendall(chunks)
    counted(tracker, "delivered", 2)
    assert ast.literal_eval(leecher.exchange(b"connects\n").decode()) == first
    assert ast.literal_eval(leecher.exchange(b"listens\n").decode()) == second
    for name, size in (("connects", len(str(first))), ("listens", len(chunks))):
        assert leecher.listed()[name][3] == size == len(leecher.exchange(name.encode() + b"\n"))
    assert leecher.exchange(b"nobody\n") == b""


def test_silence_gets_the_only_list(tracker, at):
    seeder, leecher = at("127.0.0.7"), at()
    with leecher.connect() as connection:
        assert connection.recv(100) == b"", "there is none"
    seeder.register("alice", b"['a']")
    seeder.exchange(b"['a']")
    with leecher.connect() as connection:
        assert connection.recv(100) == b"['a']"
        assert connection.recv(100) == b""
    with leecher.connect() as connection:
        connection.sendall(b"alice")
        assert connection.recv(100) == b"['a']", "a name without its newline"
    seeder.register("bert", b"['bc']")
    seeder.exchange(b"['bc']")
    with leecher.connect() as connection:
        assert connection.recv(100) == b"", "there are two"


def test_a_shared_file_is_a_seeder_with_its_piece_hashes(teem, folder, tracker, at):
    source = random_file(folder / "source" / "it's größe.bin", 2 * MIB + 5)
    tree = random_file(folder / "source" / "tree" / "a" / "b.bin", MIB).parents[1]
    random_file(tree / "c.bin", 10)
    old = random_file(folder / "source" / "old.bin", 3 * MIB)
    leecher = at()
    seeder = teem.share(source, tracker)
    row = leecher.waits("it's größe.bin")
    assert row[:3] == (seeder.ip, 6881, 5556)
    with leecher.connect() as connection:
        hashes = ast.literal_eval(b"".join(iter(lambda: connection.recv(65536), b"")).decode())
        assert len(hashes) == 5, "silence: it is the only list"
    given = leecher.exchange("it's größe.bin\n".encode())
    assert ast.literal_eval(given.decode()) == hashes and len(given) == row[3]
    assert all(len(each) == 64 and bytes.fromhex(each) for each in hashes)

    second = teem.get("it's größe.bin", folder / "out", tracker, exit=False)
    second.done()
    assert leecher.waits("it's größe.bin#2")[3] == row[3]
    addresses = {leecher.listed()[name][0] for name in ("it's größe.bin", "it's größe.bin#2")}
    assert addresses == {seeder.ip, second.ip}
    assert leecher.exchange("it's größe.bin#2\n".encode()) == given

    teem.share(tree, tracker)
    teem.share(old, tracker, extra=("--format", "v1"))
    for name, digits in (("tree", 64), ("old.bin", 40)):
        row = leecher.waits(name)
        given = leecher.exchange(name.encode() + b"\n")
        assert len(given) == row[3], name
        assert {len(each) for each in ast.literal_eval(given.decode())} == {digits}, name
    seeder.stop()
    second.stop()
    leecher.waits("it's größe.bin", listed=False)


def test_the_catalogues_names_are_the_catalogues(teem, folder, tracker, at):
    source = random_file(folder / "source" / "file.bin", MIB)
    stranger, leecher = at("127.0.0.9"), at()
    share = teem.share(source, tracker)
    leecher.waits("file.bin")
    stranger.register("file.bin", b"['a']")
    stranger.exchange(b"['a']")
    assert leecher.listed()["file.bin"][0] == share.ip
    assert leecher.exchange(b"file.bin\n") != b"['a']"


def test_other_peoples_names_and_addresses_are_left_alone(tracker, at):
    owner, stranger, leecher = at("127.0.0.7"), at("127.0.0.8"), at()
    owner.register("alice", b"['a']", ip="8.8.8.8")
    owner.exchange(b"['a']")
    stranger.register("alice", b"['b']", port=666)
    assert stranger.exchange(b"['b']") == b""
    counted(tracker, "refused", 1)
    assert leecher.listed() == {"alice": ("127.0.0.7", 7000, 5556, 5)}, "its own address, not the one that it claims"
    assert leecher.exchange(b"alice\n") == b"['a']"
    stranger.register("bert", b"['b']", ip="127.0.0.7")
    assert stranger.waits("bert")[0] == "127.0.0.8"


def test_names_come_back_as_they_were_sent(at):
    names = ["größe 🐟", "it's", 'a "quote"', "back\\slash", "x" * 255, "é" * 127, "🐟" * 63, "[('a', 1)]"]
    seeder = at("127.0.0.9")
    for name in names:
        seeder.register(name, size=9)
        wait_for(lambda: name in seeder.listed(), 20, f"{name} in some answer")


def test_hostile_chunk_lists_are_refused_and_memory_is_bounded(tracker, at):
    seeder, leecher = at("127.0.0.9"), at()
    seeder.register("alice", size=CHUNK_LIST_LEN_MAX)
    refused = [
        b"[" * 100_000,  # nested
        b"['" + b"x" * (64 * MIB),  # never ends
        b"[" + b" " * (64 * MIB),
        b"[__import__('os').system('touch /tmp/evaluated')]",
        b"['a']",  # another length
        b"['a'] + ['b']",
        b"['\xff']",
        b"[1.5]",
    ]
    for text in refused:
        assert seeder.exchange(text) == b"", text[:40]
    counted(tracker, "not_delivered", len(refused))
    assert leecher.exchange(b"[" + b"1," * MIB) == b"", "nobody registered here"
    assert leecher.exchange(b"x" * (64 * MIB)) == b"", "a line that never ends"
    whole = b"['" + b"x" * (CHUNK_LIST_LEN_MAX - 4) + b"']"
    assert seeder.exchange(whole) == b""
    counted(tracker, "delivered", 1)
    assert leecher.exchange(b"alice\n") == whole
    assert tracker.memory_peak_kib() < 60 * 1024


def test_noise_and_floods_of_datagrams_get_silence_and_take_little_memory(tracker, at):
    flooder, leecher = at("127.0.0.9"), at()
    noise = [b"", b"hello", b"list_seeder " + b" " * 512, b"register; a", b"register; a; b; c; d", b"\xff" * 100]
    noise += [b"register; a; 1.2.3.4; 0; 1", b"register; a; 1.2.3.4; 1; 1048577"]
    for datagram in noise:
        leecher.send(datagram)
    assert leecher.listed() == {}, "what comes back first is the answer to what was good"
    assert metrics.number(tracker, "teem_text_malformed_total") == len(noise)
    for number in range(20_000):
        flooder.register(f"flood {number} {'x' * 200}", size=9)
        if number % 500 == 0:
            leecher.listed()
    seeder = at("127.0.0.10")
    wait_for(lambda: seeder.register("alice", size=9) or "alice" in seeder.listed(), 20, "alice beside the flood")
    assert metrics.number(tracker, "teem_text_seeders") <= 65, "an address has its share"
    assert tracker.memory_peak_kib() < 60 * 1024


def test_port_0_takes_two_free_ports_in_a_row(teem):
    tracker = teem.tracker(extra=("--text-listen", f"{teem.address()}:0"))
    ports = [tracker.endpoint(protocol)[1] for protocol in ("text", "text-lists")]
    assert 0 < ports[0] and ports[1] == ports[0] + 1


def test_a_port_that_cannot_be_used_is_named(teem, cleanup):
    ip = teem.address()

    def refused(port, *extra):
        args = ["--listen", f"{ip}:0", "--data", teem.state(f"refused-{port}"), "--text-listen", f"{ip}:{port}", *extra]
        process = teem.run("tracker", *args)
        assert process.returncode == EXIT_FAILED, process.tail()
        return process.stderr()

    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    cleanup(udp)
    udp.bind((ip, 5555))
    assert f"text {ip}:5555" in refused(5555)
    cleanup(socket.create_server((ip, 5601)))
    assert f"text-lists {ip}:5601" in refused(5600)
    assert "65535" in refused(65535)


def test_up_speaks_text_too(teem, folder):
    source = random_file(folder / "source" / "file.bin", MIB)
    ip = teem.address()
    up = teem("up", source, "--listen", f"{ip}:6969", "--text-listen", ip, "--data", teem.state("up"), "--json")
    up.ready()
    client = Client(ip)
    assert client.waits("file.bin")[2] == TEXT_PORT + 1
    client.close()


def test_text_is_off_unless_asked(teem):
    tracker = teem.tracker()
    assert not [each for each in tracker.ready()["listeners"] if each["protocol"].startswith("text")]


def test_a_private_tracker_does_not_speak_text(teem):
    ip = teem.address()
    args = ["--listen", f"{ip}:0", "--data", teem.state("private"), "--private", "--text-listen", f"{ip}:0"]
    process = teem.run("tracker", *args)
    assert process.returncode == EXIT_FAILED and "private tracker cannot speak text" in process.stderr()


@pytest.fixture
def public():
    """Two machines on a network with public addresses."""
    with netns.machines("203.0.113.1", "203.0.113.2") as both:
        yield both


ASK = """
import socket, sys, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(10)
udp.connect(("203.0.113.1", 5555))
def ask(what=b"list_seeder"):
    udp.send(what)
    return udp.recv(2048).decode()
print(ask(), flush=True)
udp.send(b"register; bert; 203.0.113.1; 7000; 9")
with socket.create_connection(("203.0.113.1", 5556), 10):
    deadline = time.monotonic() + 20
    while (reply := ask()) == "[]" and time.monotonic() < deadline:
        time.sleep(0.02)
print(reply, flush=True)
"""


@pytest.mark.root
@pytest.mark.parametrize("flags", [(), ("--text-public",)])
def test_unproven_public_sources_get_an_empty_list(teem, public, flags):
    here, there = public
    args = ["--data", teem.state("public"), "--json", "--text-listen", ":5555", "--external-ip", "203.0.113.1", *flags]
    tracker = teem("tracker", *args, namespace=here.name)
    tracker.ready()
    assert "203.0.113.1" in tracker.stderr(), "the public address is said"
    local = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'{}', ('127.0.0.1', 5555))"
    here.run(sys.executable, "-c", local.format("register; alice; 203.0.113.1; 7000; 9"), check=True)
    answers = there.run(sys.executable, "-c", ASK, check=True, capture_output=True, text=True, timeout=60).stdout
    unproven, proven = map(ast.literal_eval, answers.splitlines())
    alice = ("alice", "203.0.113.1", 7000, 5556, 9)
    assert unproven == ([alice] if flags else []), "nothing longer than the question"
    assert alice in proven and ("bert", "203.0.113.2", 7000, 5556, 9) in proven

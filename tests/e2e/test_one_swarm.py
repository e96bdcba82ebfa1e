"""One file, shared once: everybody finds it, whatever they speak, and all of them are told the same."""

import ast
import json
import ssl

import pytest

import bep3
import catalogue
import examples
from bep15 import Udp
from content import MIB, assert_same, random_file, sha256
from daemons import Transmission
from peers import Aria2Peer, LibtorrentPeer, with_tracker
from proc import wait_for
from teem import PEER_PORT, TEXT_PORT

TRACKER, SHARE, GET, JSON_PEER = "10.99.0.1", "10.99.0.2", "10.99.0.3", "10.99.0.4"
STOCK = [f"10.99.0.{host}" for host in range(5, 10)]
NAME, CHUNKS = "team/file.bin", 7


class Everywhere:
    """What the tracker says of the swarm, in each of its protocols."""

    def __init__(self, tracker, namespace):
        self.tracker, self.namespace = tracker, namespace
        self.context = ssl.create_default_context(cafile=tracker.cafile)
        entry = namespace.inside(catalogue.entry, tracker, NAME)
        self.hashes = bytes.fromhex(entry["info_hash_v1"]), bytes.fromhex(entry["info_hash_v2"])[:20]

    def json(self, *words):
        """What the example client of the JSON protocol prints."""
        return examples.run(examples.JSON, self.tracker.listener("json"), *words, prefix=self.namespace.prefix)

    def text(self, *words):
        """What that of the text protocol prints, as the value that it is."""
        addr = self.tracker.listener("text")
        return ast.literal_eval(examples.run(examples.TEXT, addr, *words, prefix=self.namespace.prefix))

    def scrape(self, context=None):
        """A scrape of both hashes over HTTP, or HTTPS."""
        files = bep3.scraped(self.tracker.host, *self.hashes, context=context)
        words = (b"complete", b"incomplete", b"downloaded")
        return [tuple(files[each][word] for word in words) for each in self.hashes]

    def counts(self):
        """Seeders, leechers and finished downloads, by protocol."""
        return self.namespace.inside(self.counts_inside)

    def counts_inside(self):
        entry = catalogue.entry(self.tracker, NAME)
        [file] = json.loads(self.json("list"))["files"]
        rows = self.text("list")
        udp = [(each[0], each[2], each[1]) for each in Udp(self.tracker.host).scraped(*self.hashes)]
        return {
            "udp": udp[0],
            "udp, v2": udp[1],
            "http": self.scrape()[0],
            "https, v2": self.scrape(self.context)[1],
            "catalogue": (entry["seeders"], entry["leechers"], entry["completed"]),
            "json": (file["seeders"], file["leechers"], entry["completed"]),
            # This protocol names seeders only.
            "text": (len(rows), entry["leechers"], entry["completed"]),
        }

    def agree(self, seeders, completed):
        """Waits until all say that there are so many seeders, nobody else, and so many downloads that ended."""
        wanted = (seeders, 0, completed)
        try:
            wait_for(lambda: set(self.counts().values()) == {wanted}, 40, f"{seeders} seeders everywhere", self.tracker)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.counts()}") from None


@pytest.mark.root
def test_one_swarm_in_every_protocol(teem, folder, cleanup, namespace, monkeypatch):
    data, where = teem.state("one"), {"namespace": namespace.name}
    flags = ["--tls", "--text-listen", f"{TRACKER}:{TEXT_PORT}"]
    tracker = teem.tracker(ip=TRACKER, data=data, extra=flags, **where)
    tracker.cafile = data / "tls-cert.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(tracker.cafile))
    source = random_file(folder / "source" / "file.bin", (CHUNKS - 1) * MIB // 2 + 5)
    share = teem.share(source, tracker, ip=SHARE, name=NAME, **where)
    all = Everywhere(tracker, namespace)
    all.agree(1, 0)

    torrent = namespace.inside(catalogue.torrent, tracker, NAME)
    urls = {each: f"{each}://{tracker.host}/announce" for each in ("udp", "http", "https")}
    for address, announce in zip(STOCK, urls.values()):
        peer = namespace.inside(LibtorrentPeer, address)
        cleanup(peer)
        peer.leech(with_tracker(torrent, folder / f"{address}.torrent", announce), folder / address).wait_done(60)
        assert_same(folder / address / "file.bin", source)
    aria2 = Aria2Peer(STOCK[3], teem.folder, namespace)
    cleanup(aria2)
    transmission = Transmission(STOCK[4], teem.folder, namespace, "TCP")
    cleanup(transmission)
    for address, peer, protocol, more in (
        (STOCK[3], aria2, "udp", {"stay": True}),
        (STOCK[4], transmission, "http", {}),
    ):
        peer.leech(with_tracker(torrent, folder / f"{address}.torrent", urls[protocol]), folder / address, **more)
        fetched = folder / address / "file.bin"
        wait_for(lambda: fetched.exists() and sha256(fetched) == sha256(source), 60, f"the file at {address}")
    get = teem.get(NAME, folder / "get", tracker, ip=GET, exit=False, **where)
    get.done(60)
    all.agree(7, 6)

    # Who has no BitTorrent finds it as well, checks it, and is counted beside the others.
    all.json("get", NAME, folder / "fetched")
    assert_same(folder / "fetched", source)
    examples.share(cleanup, teem.folder, tracker.listener("json"), NAME, CHUNKS, 8080, namespace=namespace.name)
    found = json.loads(all.json("find", NAME))
    assert {(SHARE, PEER_PORT), (GET, PEER_PORT)} < {(each["ip"], each["port"]) for each in found["peers"]}
    assert len(found["peers"]) == 3 and found["total_parts"] == CHUNKS
    [file] = json.loads(all.json("list"))["files"]
    assert (file["simple_peers"], file["seeders"], file["total_parts"]) == (1, 7, CHUNKS)
    entry = namespace.inside(catalogue.entry, tracker, NAME)
    assert (entry["simple_peers"], entry["seeders"]) == (1, 7)
    rows = all.text("list")
    assert {row[1] for row in rows} == {SHARE, GET, *STOCK}
    assert len(all.text("chunks", NAME)) == CHUNKS

    # Who says that it stops is gone at once, everywhere.
    assert get.stop() is not None
    all.agree(6, 6)
    share.stop()
    all.agree(5, 6)

"""A private tracker: who has no token, or not the right one, gets nothing, in the words of each protocol."""

import json

import libtorrent as lt
import pytest

import bep3
import web
from bep15 import ANNOUNCE, ERROR, Udp
from content import MIB, random_file
from json_protocol import Client, ask_once, dial
from peers import LibtorrentPeer, make_torrent
from proc import wait_for
from teem import EXIT_AUTH, EXIT_NOT_FOUND, EXIT_USAGE

INFO_HASH = b"h" * 20


@pytest.fixture
def tracker(teem):
    """A private tracker that writes down everything it does."""
    process = teem.tracker(extra=["--private", "-vvv"])
    process.admin = process.event("token")["secret"]
    process.secrets = [process.admin]
    return process


@pytest.fixture
def token(teem, tracker):
    """Makes tokens on the tracker's data folder, as its operator does, while it runs."""

    def make(name, *args):
        made = teem.run("token", "create", name, *args, "--data", tracker.data, "--json").latest("token")
        tracker.secrets += [made["secret"], made["passkey"]]
        return made

    return make


def ask(tracker, method, path, *more):
    """One HTTP request, with a secret or without; returns the status and the body."""
    return web.request(tracker.host, method, path, *more)


def known(tracker, secret):
    """Waits until the tracker knows a new token: it looks once a second."""
    wait_for(lambda: ask(tracker, "GET", "/api/v1/catalogue", secret)[0] == 200, 20, "the token", alive=tracker)


def announce_path(passkey=None):
    """Path and query of an HTTP announce."""
    return bep3.announce_path(INFO_HASH, passkey=passkey)


def announce_by_udp(tracker, token):
    """What an announce with a token's passkey gets (BEP 41)."""
    udp = Udp(tracker.host)
    return udp.reply(udp.announce(INFO_HASH, url_data=f"/{token['passkey']}/announce".encode()))[0]


def no_secret_in(text, tracker, where):
    """None of the secrets stands in a text."""
    found = [secret for secret in tracker.secrets if secret in text]
    assert not found, f"a secret in {where}"


def test_without_a_token_every_protocol_refuses_in_its_own_words(tracker, folder):
    make_torrent(random_file(folder / "x.bin", MIB), folder / "x.torrent")
    torrent = (folder / "x.torrent").read_bytes()
    for secret in (None, "teem_" + "0" * 64, "not a secret"):
        for method, path, body in [
            ("GET", "/api/v1/catalogue", None),
            ("GET", "/api/v1/catalogue/x", None),
            ("GET", "/api/v1/catalogue/x/torrent", None),
            ("GET", "/api/v1/catalogue/x/magnet", None),
            ("PUT", "/api/v1/catalogue/x", torrent),
        ]:
            status, reply = ask(tracker, method, path, secret, body)
            assert status == 401 and json.loads(reply)["code"] == "unauthorised", (method, path, status, reply)
    for passkey in (None, "0" * 40):
        for path in (announce_path(passkey), announce_path(passkey).replace("/announce?", "/scrape?")):
            status, reply = ask(tracker, "GET", path)
            refusal = lt.bdecode(reply)
            assert status == 200 and b"passkey" in refusal[b"failure reason"] and refusal[b"retry in"] == b"never"
    udp = Udp(tracker.host)
    wrong = udp.announce(INFO_HASH, url_data=b"/" + b"0" * 40 + b"/announce")
    for packet in (udp.announce(INFO_HASH), wrong, udp.scrape(INFO_HASH)):
        action, reason = udp.reply(packet)
        assert action == ERROR and (b"passkey" in reason or b"PASSKEY" in reason), reason
    for secret in ({}, {"secret": "teem_" + "0" * 64}, {"secret": "x"}):
        reply = ask_once(tracker, type="AUTH", peer_id="anna", **secret)
        assert reply["status"] == "ERROR" and "token" in reply["error"], reply
    assert ask(tracker, "GET", "/health")[0] == 200


def test_a_passkey_announces_and_a_token_does_the_rest(tracker, token):
    anna = token("anna", "--note", "her laptop")
    known(tracker, anna["secret"])
    status, reply = ask(tracker, "GET", announce_path(anna["passkey"]))
    assert status == 200 and lt.bdecode(reply)[b"complete"] == 1
    assert announce_by_udp(tracker, anna) == ANNOUNCE
    # A passkey is no token, and a token is no passkey.
    assert ask(tracker, "GET", "/api/v1/catalogue", anna["passkey"])[0] == 401
    assert ask(tracker, "GET", announce_path(anna["secret"]))[0] == 404


def test_a_token_for_reading_publishes_nothing(tracker, token, folder):
    make_torrent(random_file(folder / "x.bin", MIB), folder / "x.torrent", trackers=["http://other.example/" + "f" * 40 + "/announce"])
    torrent = (folder / "x.torrent").read_bytes()
    reader, publisher = token("rita"), token("paul", "--scope", "publish")
    known(tracker, publisher["secret"])
    status, reply = ask(tracker, "PUT", "/api/v1/catalogue/x", reader["secret"], torrent)
    assert status == 403 and json.loads(reply)["code"] == "forbidden"
    assert ask(tracker, "PUT", "/api/v1/catalogue/x", publisher["secret"], torrent)[0] == 201
    status, handed_out = ask(tracker, "GET", "/api/v1/catalogue/x/torrent", reader["secret"])
    assert status == 200
    urls = [url for tier in lt.bdecode(handed_out)[b"announce-list"] for url in tier]
    assert len(urls) == 2 and all(f"/{reader['passkey']}/announce".encode() in url for url in urls), "its own passkey only"
    rita = Client(dial(tracker), "rita").enter(secret=reader["secret"])
    size = json.loads(ask(tracker, "GET", "/api/v1/catalogue/x", reader["secret"])[1])["size"]
    known_name = rita.ask("BECOME_SEEDER", file_name="x", parts=size // (16 << 10))
    new_name = rita.ask("BECOME_SEEDER", file_name="new", parts=1)
    assert known_name.get("status") == "ACK" or "parts" in known_name["error"], known_name
    assert new_name["status"] == "ERROR" and "new name" in new_name["error"], new_name


def test_expired_and_revoked_tokens_end_within_a_second_or_two(teem, tracker, token):
    short, anna = token("short", "--expires", "2s"), token("anna")
    known(tracker, anna["secret"])
    entered = ask_once(tracker, type="AUTH", peer_id="anna", secret=anna["secret"])
    session = {"peer_id": "anna", "token": entered["token"]}
    assert ask_once(tracker, type="KEEPALIVE", **session) == {"status": "ACK"}
    wait_for(lambda: ask(tracker, "GET", "/api/v1/catalogue", short["secret"])[0] == 401, 20, "the end of a token")
    revoked = teem.run("token", "revoke", str(anna["id"]), "--data", tracker.data, "--json")
    assert revoked.returncode == 0 and revoked.latest("token")["revoked"]
    wait_for(lambda: ask(tracker, "GET", "/api/v1/catalogue", anna["secret"])[0] == 401, 20, "the end of a token")
    assert b"failure reason" in ask(tracker, "GET", announce_path(anna["passkey"]))[1]
    assert announce_by_udp(tracker, anna) == ERROR
    assert ask_once(tracker, type="KEEPALIVE", **session) == {"status": "ERROR", "error": "Invalid token"}


def test_an_administrator_makes_and_revokes_tokens_over_http(tracker):
    def admin(method, path, secret=tracker.admin, **fields):
        body, headers = json.dumps(fields) if fields else None, {"Content-Type": "application/json"}
        status, reply = web.request(tracker.listener("admin"), method, path, secret, body, headers)
        return status, json.loads(reply)

    status, made = admin("POST", "/api/v1/tokens", name="anna", scope="publish", life=3600)
    assert status == 201 and made["expires"] == made["created"] + 3600
    assert ask(tracker, "GET", "/api/v1/catalogue", made["secret"])[0] == 200, "good at once"
    assert b"failure reason" not in ask(tracker, "GET", announce_path(made["passkey"]))[1]
    assert admin("GET", "/api/v1/tokens", made["secret"])[0] == 403
    status, listed = admin("GET", "/api/v1/tokens")
    assert [token["name"] for token in listed["tokens"]] == ["admin", "anna"]
    assert made["secret"] not in json.dumps(listed) and made["passkey"] not in json.dumps(listed)
    for wrong in ({"name": "a b", "scope": "read"}, {"name": "x", "scope": "god"}, {"scope": "read"}, {"name": "x", "scope": "read", "life": -1}):
        status, refusal = admin("POST", "/api/v1/tokens", **wrong)
        assert 400 <= status < 500 and refusal["code"] == "bad_request", (wrong, status, refusal)
    assert admin("DELETE", f"/api/v1/tokens/{made['id']}") == (200, listed["tokens"][1] | {"revoked": True})
    assert ask(tracker, "GET", "/api/v1/catalogue", made["secret"])[0] == 401, "ended at once"
    assert admin("DELETE", "/api/v1/tokens/99")[0] == 404
    assert ask(tracker, "GET", "/api/v1/tokens", tracker.admin)[0] == 404, "not where everybody is"


def test_libtorrent_announces_by_passkey_over_http_and_udp(tracker, token, folder, address):
    anna = token("anna")
    known(tracker, anna["secret"])
    content = random_file(folder / "data" / "x.bin", MIB)
    torrents = {}
    for protocol in ("http", "udp"):
        torrents[protocol] = folder / f"{protocol}.torrent"
        url = f"{protocol}://{tracker.host}/{anna['passkey']}/announce"
        make_torrent(content, torrents[protocol], trackers=[url])
    # libtorrent wants "/announce" alone as the path of trackers on loopback. One session a protocol: all
    # sessions of a process share their UDP connection ids, whatever address they come from.
    seeder, leecher = (LibtorrentPeer(address(), ssrf_mitigation=False) for _ in range(2))
    try:
        seeder.seed(torrents["http"], content.parent)
        leecher.leech(torrents["udp"], folder / "got")
        leecher.wait_done(60)
    finally:
        seeder.close()
        leecher.close()
    assert (folder / "got" / "x.bin").read_bytes() == content.read_bytes()


def test_secrets_are_told_once_and_never_written_down(teem, tracker, token):
    anna = token("anna", "--scope", "admin")
    known(tracker, anna["secret"])
    for path in (announce_path(anna["passkey"]), announce_path("0" * 40), f"/{anna['passkey']}/nothing"):
        ask(tracker, "GET", path)
    announce_by_udp(tracker, anna)
    for path in ("/api/v1/catalogue", "/api/v1/status", "/nothing", "/api/v1/catalogue/" + anna["secret"]):
        status, body = ask(tracker, "GET", path, anna["secret"])
        if anna["secret"] not in path:
            no_secret_in(body.decode(), tracker, path)
    Client(dial(tracker), "anna").enter(secret=anna["secret"]).ask("NOISE", secret=anna["secret"])
    no_secret_in(teem.run("token", "ls", "--data", tracker.data, "--json").tail(), tracker, "the list of tokens")
    tracker.stop()
    no_secret_in(tracker.stderr(), tracker, "the log")
    again = teem.tracker(ip=tracker.ip, data=tracker.data, extra=["--private"])
    assert again.latest("token") is None, "the first token is shown at the first start only"
    assert ask(again, "GET", "/api/v1/catalogue", tracker.admin)[0] == 200, "and is still good"


def test_token_commands_name_what_is_wrong(teem, folder):
    data = teem.state("tokens")
    for args, status in [
        (["create", "no spaces"], EXIT_USAGE),
        (["create", "anna", "--scope", "god"], EXIT_USAGE),
        (["create", "anna", "--expires", "soon"], EXIT_USAGE),
        (["revoke", "7"], EXIT_NOT_FOUND),
    ]:
        assert teem.run("token", *args, "--data", data).returncode == status, args
    made = teem.run("token", "create", "anna", "--data", data)
    assert made.returncode == 0 and len(made.lines) == 1 and made.lines[0].startswith("teem_"), "only the secret on stdout"


def test_share_ls_and_get_show_a_token_and_the_content_stays_private(teem, tracker, token, folder):
    publisher, reader = token("paul", "--scope", "publish"), token("rita")
    known(tracker, reader["secret"])
    files = {}
    for each in (publisher, reader):
        files[each["name"]] = folder / each["name"]
        files[each["name"]].write_text(each["secret"] + "\n")
    content = random_file(folder / "data" / "plan.bin", 3 * MIB)
    refused = teem.share(content, tracker, wait=False)
    assert refused.wait(60) == EXIT_AUTH and "only who has a token" in refused.stderr(), refused.stderr()
    refused = teem.share(content, tracker, extra=["--token-file", files["rita"]], wait=False)
    assert refused.wait(60) == EXIT_AUTH and "for reading only" in refused.stderr(), refused.stderr()
    beside = ["--token-file", files["paul"], "--tracker", "udp://127.0.0.1:9/announce"]
    refused = teem.share(content, tracker, extra=beside, wait=False)
    assert refused.wait(60) == EXIT_USAGE and "is private" in refused.stderr(), refused.stderr()

    seeder = teem.share(content, tracker, extra=["--token-file", files["paul"]])
    ready = seeder.latest("ready")
    no_secret_in(json.dumps(ready), tracker, "what people pass on")
    status, torrent = ask(tracker, "GET", "/api/v1/catalogue/plan.bin/torrent", reader["secret"])
    assert status == 200 and lt.bdecode(torrent)[b"info"][b"private"] == 1
    listed = teem.run("ls", "--tracker", tracker.host, "--token-file", files["rita"], "--json")
    assert listed.latest("entry")["name"] == "plan.bin"
    # Its parts are not for clients that are no peers: nobody is sent there for them.
    rita = Client(dial(tracker), "rita").enter(secret=reader["secret"])
    assert rita.ask("PEER_LIST", file_name="plan.bin") == {"peers": [], "total_parts": 6}
    no_secret_in(json.dumps(listed.objects()) + listed.stderr(), tracker, "a listing")
    assert teem.run("ls", "--tracker", tracker.host).returncode == EXIT_AUTH
    teem.get("plan.bin", folder / "got", tracker, extra=["--token-file", files["rita"]]).done()
    assert (folder / "got" / "plan.bin").read_bytes() == content.read_bytes()
    # The link that `share` prints leads nowhere without a token, and somewhere with one.
    teem.get(ready["magnet"], folder / "linked", tracker, extra=["--token-file", files["rita"]]).done()
    assert (folder / "linked" / "plan.bin").read_bytes() == content.read_bytes()
    by_variable = teem.run("ls", "--tracker", tracker.host, TEEM_TOKEN=reader["secret"])
    assert by_variable.returncode == 0, by_variable.stderr()

"""What an operator does with a tracker: look at it, reload it, back it up, stop and start it."""

import http.client
import json
import re
import socket
import sqlite3
import stat
import threading

import libtorrent as lt

import catalogue
import metrics
import web
from bep3 import announced
from content import random_file
from json_protocol import ask_once
from peers import make_torrent
from proc import wait_for
from teem import EXIT_FAILED, EXIT_TERMINATED, ROOT, TEXT_PORT


def ask(host, path, secret=None, **headers):
    """One request; returns the status and the body as text."""
    status, body = web.request(host, "GET", path, secret, headers=headers)
    return status, body.decode()


def test_the_operator_has_a_port_of_their_own(teem):
    first, second = teem.tracker(), teem.tracker()
    ports = [each.listener("admin").split(":") for each in (first, second)]
    assert ports[0][0] == ports[1][0] == "127.0.0.1" and ports[0][1] != ports[1][1], "the next free port"
    assert ask(first.host, "/metrics")[0] == 404, "not where everybody may ask"
    status, text = ask(first.listener("admin"), "/metrics")
    assert status == 200 and "\nteem_torrents 0\n" in text
    assert ask(first.listener("admin"), "/metrics", Host="rebound.example")[0] == 403
    assert ask(first.listener("admin"), "/announce")[0] == 404
    assert ask(first.host, "/health") == ask(first.listener("admin"), "/health") == (200, "ok\n")
    status, text = ask(first.host, "/api/v1/openapi.json")
    assert status == 200 and "/metrics" in json.loads(text)["paths"]
    public = [each["protocol"] for each in json.loads(ask(first.host, "/api/v1/status")[1])["listeners"]]
    assert "admin" not in public, "strangers need not know"


def test_the_operators_port_goes_where_it_is_told(teem):
    none = teem.tracker(extra=["--admin-listen", "off"])
    assert none.listeners("admin") == []
    ip = teem.address()
    open_to_all = teem.tracker(extra=["--admin-listen", f"{ip}:0", "--admin-host", "stats.example"])
    assert open_to_all.listener("admin").startswith(f"{ip}:")
    assert ask(open_to_all.listener("admin"), "/metrics", Host="stats.example:80")[0] == 200
    taken = teem("tracker", "--listen", f"{teem.address()}:0", "--admin-listen", open_to_all.listener("admin"), "--data", teem.state("x"))
    assert taken.wait(20) == 1 and open_to_all.listener("admin") in taken.stderr() and "ss -ltnp" in taken.stderr()


def test_open_connections_do_not_hold_up_the_end(teem):
    tracker = teem.tracker()
    idle = [http.client.HTTPConnection(host, timeout=20) for host in (tracker.host, tracker.listener("admin")) for _ in range(20)]
    for connection in idle:
        connection.request("GET", "/health")
        connection.getresponse().read()
    assert metrics.number(tracker, "teem_http_connections_open") == 20
    assert tracker.stop() == EXIT_TERMINATED
    for connection in idle:
        connection.close()


def statistics(tracker):
    """The operator's view of the whole."""
    return json.loads(ask(tracker.listener("admin"), "/api/v1/statistics")[1])


HASH = bytes(range(20))
TRANSMISSION, QBITTORRENT = "-TR4060-abcdefghijkl", "-qB5000-abcdefghijkl"


def test_peers_outlive_a_restart_when_asked(teem):
    for extra, expected in [(["--keep-peers"], 2), ([], 0)]:
        tracker = teem.tracker(extra=extra)
        announced(tracker, HASH, 7001, 0, peer_id=TRANSMISSION)
        announced(tracker, HASH, 7002, 9, peer_id=QBITTORRENT)
        assert tracker.stop() == EXIT_TERMINATED
        again = teem.tracker(ip=tracker.ip, data=tracker.data, extra=extra)
        assert statistics(again)["peers"] == expected
        if expected:
            assert {each["client"] for each in statistics(again)["clients"]} == {"Transmission", "qBittorrent"}
            again.stop()
            dump = tracker.data / "peers.dump"
            dump.write_bytes(dump.read_bytes()[:-9] + b"x" * 9)
            damaged = teem.tracker(ip=tracker.ip, data=tracker.data, extra=extra)
            assert "peers of the run before are not used" in damaged.stderr()
            assert statistics(damaged)["peers"] == 0


def test_counts_of_all_torrents_go_to_a_file(teem, folder):
    file = folder / "counts"
    tracker = teem.tracker(extra=["--scrape-export", file, "--scrape-export-every", "1s"])
    announced(tracker, HASH, 7001, 0)
    expected = b"d5:filesd20:" + HASH + b"d8:completei1e10:downloadedi0e10:incompletei0eeee"
    wait_for(lambda: file.exists() and file.read_bytes() == expected, 20, "counts", tracker)
    assert [path.name for path in folder.iterdir() if "tmp" in path.name] == []


def test_the_status_page_is_whole_without_scripts(teem):
    tracker = teem.tracker()
    announced(tracker, HASH, 7001, 0, peer_id=TRANSMISSION)
    status, page = ask(tracker.listener("admin"), "/")
    assert status == 200 and HASH.hex() in page and "Transmission" in page and "<script" not in page
    assert ask(tracker.listener("admin"), "/style.css")[0] == 200


def publications(folder, count):
    """So many small torrent files."""
    for number in range(count):
        make_torrent(random_file(folder / f"name{number}", 40_000, seed=number), folder / f"{number}.torrent")
        yield f"name{number}", (folder / f"{number}.torrent").read_bytes()


def test_a_backup_made_while_names_are_published_is_whole(teem, folder):
    tracker = teem.tracker(extra=["--tls"])
    todo, acknowledged, stop = list(publications(folder, 60)), [], threading.Event()

    def go_on():
        for name, torrent in todo:
            if stop.is_set():
                return
            catalogue.publish(tracker, name, torrent)
            acknowledged.append(name)

    publisher = threading.Thread(target=go_on)
    publisher.start()
    backups = []
    try:
        for number in range(4):
            wait_for(lambda: len(acknowledged) > 5 * number, 30, "publications", tracker)
            before = set(acknowledged)
            copied = teem.run("tracker", "backup", folder / f"copy{number}", "--data", tracker.data, "--json")
            assert copied.returncode == 0, copied.tail()
            assert copied.latest("backup")["bytes"] > 10_000
            backups.append((folder / f"copy{number}", before, len(acknowledged)))
    finally:
        stop.set()
        publisher.join()
    again = teem.run("tracker", "backup", backups[0][0], "--data", tracker.data)
    assert again.returncode == EXIT_FAILED and "replaces nothing" in again.stderr()
    nowhere = teem.run("tracker", "backup", folder / "none", "--data", folder / "no-tracker-here")
    assert nowhere.returncode == EXIT_FAILED and "--data DIR" in nowhere.stderr() and not (folder / "no-tracker-here").exists()
    for copy, before, after in backups:
        assert stat.S_IMODE(copy.stat().st_mode) == 0o700
        database = sqlite3.connect(copy / "tracker.db")
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
        restored = teem.tracker(data=copy, extra=["--tls"])
        kept = set(catalogue.names(restored))
        assert before <= kept and len(kept) <= after + 1, "what was acknowledged before is in it"
        assert restored.ready()["name"] == tracker.ready()["name"]
        assert restored.ready()["tls"] == tracker.ready()["tls"], "clients know it again"
        for name in sorted(kept)[:3]:
            catalogue.torrent(restored, name)
        assert restored.stop() == EXIT_TERMINATED


def test_ended_downloads_outlive_a_restart(teem, folder):
    (name, torrent), = publications(folder, 1)
    tracker = teem.tracker()
    catalogue.publish(tracker, name, torrent)
    info_hash = lt.torrent_info(lt.bdecode(torrent)).info_hashes().v1.to_bytes()
    announced(tracker, info_hash, 7001, 5)
    announced(tracker, info_hash, 7001, 0, event="completed")
    assert catalogue.entry(tracker, name)["completed"] == 1
    assert tracker.stop() == EXIT_TERMINATED
    again = teem.tracker(ip=tracker.ip, data=tracker.data)
    assert catalogue.entry(again, name)["completed"] == 1
    assert statistics(again)["completed"] == 1


def test_logs_are_objects_when_asked(teem):
    tracker = teem.tracker(extra=["--log-format", "json", "-vv"])
    connection = http.client.HTTPConnection(tracker.host, timeout=20)
    for _ in range(200):
        connection.request("GET", "/announce?info_hash=short")
        connection.getresponse().read()
    connection.close()
    assert tracker.stop() == EXIT_TERMINATED
    lines = [json.loads(line) for line in tracker.stderr().splitlines()[1:]]
    assert all({"timestamp", "level", "message"} <= line.keys() for line in lines)
    assert any("in good order" in line["message"] for line in lines)
    refused = [line for line in lines if "refused" in line["message"]]
    assert 1 <= len(refused) < 50, "a sample of them"


def test_who_comes_and_goes_over_json_is_told(teem):
    tracker = teem.tracker(extra=["-v"])
    session = {"peer_id": "anna", "token": ask_once(tracker, type="AUTH", peer_id="anna")["token"]}
    assert ask_once(tracker, type="REGISTER", **session, port=8080, files={"a.bin": 3})["status"] == "REGISTERED"
    assert ask_once(tracker, type="UNREGISTER", **session)["status"] == "ACK"
    assert tracker.stop() == EXIT_TERMINATED
    registered, left = (line for line in tracker.stderr().splitlines() if 'peer_id="anna"' in line)
    assert "registered over JSON" in registered and "left over JSON" in left
    assert "8080" not in registered


def test_there_are_no_more_connections_than_allowed(teem):
    tracker = teem.tracker(extra=["--max-connections", "10"])
    idle = [socket.create_connection(tracker.endpoint("http")) for _ in range(30)]
    try:
        wait_for(lambda: metrics.number(tracker, "teem_http_connections_total") == 30, 20, "connections", tracker)
        assert metrics.number(tracker, "teem_http_connections_open") <= 10
    finally:
        for each in idle:
            each.close()
    assert wait_for(lambda: lively(tracker), 20, "an answer", tracker)


def lively(tracker):
    """Whether it answers."""
    try:
        return ask(tracker.host, "/health")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_statistics_come_in_pages_and_tell_clients_but_no_addresses(teem):
    tracker = teem.tracker()
    hashes = {bytes([value]) * 20 for value in range(65, 90)}
    for info_hash in hashes:
        announced(tracker, info_hash, 7001, 0, peer_id=TRANSMISSION)
        announced(tracker, info_hash, 7002, 5, peer_id=QBITTORRENT)
    seen, cursor = [], ""
    while cursor is not None:
        page = json.loads(ask(tracker.listener("admin"), f"/api/v1/statistics/torrents?limit=7{cursor}")[1])
        assert len(page["torrents"]) <= 7
        seen += [each["info_hash"] for each in page["torrents"]]
        cursor = f"&cursor={page['next']}" if "next" in page else None
    assert sorted(seen) == sorted(info_hash.hex() for info_hash in hashes)
    one = json.loads(ask(tracker.listener("admin"), f"/api/v1/statistics/torrents/{seen[0]}")[1])
    assert (one["seeders"], one["leechers"]) == (1, 1)
    by_client = {each["client"]: (each["seeders_v4"], each["leechers_v4"]) for each in one["clients"]}
    assert by_client == {"Transmission": (1, 0), "qBittorrent": (0, 1)}
    texts = [ask(tracker.listener("admin"), path)[1] for path in ("/", "/metrics", "/api/v1/statistics", f"/api/v1/statistics/torrents/{seen[0]}")]
    assert not any("7001" in text or "127.0.0.1:" in text.replace(tracker.listener("admin"), "") for text in texts)


def test_sighup_takes_in_a_new_certificate_and_keeps_the_old_one_before_a_bad_one(teem):
    tracker, other = teem.tracker(extra=["--tls"]), teem.tracker(extra=["--tls"])
    address = tracker.endpoint("http")
    assert web.fingerprint(address) == tracker.ready()["tls"]["fingerprint"]
    for name in ("tls-key.pem", "tls-cert.pem"):
        (tracker.data / name).write_bytes((other.data / name).read_bytes())
    tracker.reload()
    assert web.fingerprint(address) == other.ready()["tls"]["fingerprint"]
    (tracker.data / "tls-cert.pem").write_text("nonsense")
    tracker.reload("the old certificate stays")
    assert web.fingerprint(address) == other.ready()["tls"]["fingerprint"] and metrics.number(tracker, "teem_reloads_failed") == 1


def test_a_private_trackers_pages_and_logs_hold_no_secret(teem, folder):
    tracker = teem.tracker(extra=["--private", "-vvv", "--log-format", "json"])
    admin = tracker.event("token")["secret"]
    anna = teem.run("token", "create", "anna", "--scope", "publish", "--data", tracker.data, "--json").latest("token")
    tracker.reload()
    assert ask(tracker.host, "/api/v1/catalogue", anna["secret"])[0] == 200, "SIGHUP took the token in"
    (name, torrent), = publications(folder, 1)
    assert catalogue.request(tracker, "PUT", f"/{name}", secret=anna["secret"], body=torrent)[0] == 201
    announced(tracker, HASH, 7001, 0, passkey=anna["passkey"])
    texts = []
    for path in ("/", "/metrics", "/api/v1/statistics", "/api/v1/tokens", "/api/v1/openapi.json"):
        assert ask(tracker.listener("admin"), path)[0] == (200 if path.endswith("openapi.json") else 401)
        assert ask(tracker.listener("admin"), path, anna["secret"])[0] == (200 if path.endswith("openapi.json") else 403)
        status, text = ask(tracker.listener("admin"), path, admin)
        assert status == 200
        texts.append(text)
    assert HASH.hex() in texts[0], "the announce was taken"
    for path in (f"/{anna['passkey']}/nowhere", f"/{anna['passkey']}/announce?info_hash=x"):
        texts.append(ask(tracker.host, path, anna["secret"])[1])
    copy = teem.run("tracker", "backup", folder / "copy", "--data", tracker.data)
    assert copy.returncode == 0
    assert tracker.stop() == EXIT_TERMINATED
    texts += [tracker.stderr(), copy.stderr(), *copy.lines]
    texts += [path.read_bytes().decode("latin-1") for path in [*tracker.data.iterdir(), *(folder / "copy").iterdir()] if path.is_file()]
    for secret in (admin, anna["secret"], anna["passkey"]):
        assert not any(secret in text for text in texts)


MANUAL = ROOT / "docs" / "operating-a-tracker.md"


def test_the_manual_knows_every_metric_and_every_flag_that_it_names(teem, folder):
    manual = MANUAL.read_text()
    tracker = teem.tracker(extra=["--tls", "--text-listen", f"{teem.address()}:{TEXT_PORT}"])
    known = {line.split()[2] for line in metrics.page(tracker).splitlines() if line.startswith("# TYPE ")}
    named = set()
    for word in re.findall(r"`((?:teem|process)_[a-z_{},]+)`", manual):
        before, braces, after = re.fullmatch(r"([a-z_]+)(?:\{([a-z,]+)\})?([a-z_]*)", word).groups()
        named |= {f"{before}{each}{after}" for each in (braces or "").split(",")}
    assert named - {"teem_"} >= known, f"the manual does not explain {sorted(known - named)}"
    assert named <= known, f"the manual explains {sorted(named - known)}, which is gone"
    flags = {flag for words in (["tracker"], ["token", "create"]) for flag in re.findall(r"--[a-z][a-z-]+", "\n".join(teem.run(*words, "--help").lines))}
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", manual)) - {"--now"}
    assert used <= flags, used - flags

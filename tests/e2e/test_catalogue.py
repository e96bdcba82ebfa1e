"""The catalogue: versions, owners, search, and what outlives a restart or a kill."""

import http.client
import json
import random
import threading
from urllib.parse import quote

import pytest

import catalogue
from content import MIB, assert_same, random_file
from proc import wait_for
from teem import EXIT_AUTH, EXIT_DONE, EXIT_NOT_FOUND, EXIT_USAGE


def torrent(name, fill):
    """A small v1 torrent file; another `fill` is other content."""
    pieces = (b"%020d" % fill)[:20]
    info = b"d6:lengthi5e4:name%d:%s12:piece lengthi16384e6:pieces20:%se" % (len(name), name.encode(), pieces)
    return b"d4:info%se" % info


class Api:
    """One connection to the tracker's API, kept open, of somebody with a secret or without."""

    def __init__(self, tracker, secret=None):
        self.connection = http.client.HTTPConnection(tracker.host, timeout=20)
        self.headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}

    def __call__(self, method, path, body=None):
        """Status and object of a request below the catalogue."""
        self.connection.request(method, f"/api/v1/catalogue{path}", body, self.headers)
        reply = self.connection.getresponse()
        return reply.status, json.loads(reply.read())

    def put(self, name, fill):
        """Publishes a torrent; returns the status and the version."""
        status, reply = self("PUT", f"/{quote(name, safe='')}", torrent("file", fill))
        return status, reply.get("entry", {}).get("version")


def test_changed_content_is_the_next_version_and_each_can_be_fetched(teem, folder):
    tracker = teem.tracker()
    data = teem.state("owner")
    first = random_file(folder / "one" / "model.bin", MIB, seed=1)
    second = random_file(folder / "two" / "model.bin", MIB, seed=2)
    share = teem.share(first, tracker, data=data)
    assert share.latest("ready")["version"] == 1
    share.stop()
    key = data / "publisher.key"
    assert key.stat().st_mode & 0o777 == 0o600 and key.read_text().strip() not in share.stderr()

    share = teem.share(second, tracker, data=data)
    assert share.latest("ready")["version"] == 2 and "model.bin@2" in share.stderr()
    again = teem.share(first, tracker)
    assert again.latest("ready")["version"] == 1, "whoever has the first version seeds that one"
    stranger = teem.share(random_file(folder / "three" / "model.bin", MIB, seed=3), tracker, wait=False)
    assert stranger.wait(30) == EXIT_AUTH, stranger.tail()
    assert "--name" in stranger.stderr()

    for what, source in {"model.bin": second, "model.bin@latest": second, "model.bin@1": first}.items():
        output = folder / "out" / what
        get = teem.get(what, output, tracker)
        assert get.wait(60) == EXIT_DONE, get.tail()
        assert_same(output / "model.bin", source)
    missing = teem.get("model.bin@3", folder / "out", tracker)
    assert missing.wait(30) == EXIT_NOT_FOUND, missing.tail()
    history = catalogue.entry(tracker, "model.bin")["history"]
    assert [(each["version"], each["seeders"]) for each in history] == [(2, 1), (1, 1)]


def test_a_name_is_taken_back_by_its_owner_only(teem, folder):
    tracker = teem.tracker()
    data = teem.state("owner")
    for seed in (1, 2):
        teem.share(random_file(folder / str(seed) / "file.bin", 100_000, seed), tracker, data=data).stop()
    unpublish = lambda what, data: teem.run("unpublish", what, "--tracker", tracker.host, "--data", data, "--json")
    refused = unpublish("file.bin", teem.state("stranger"))
    assert refused.returncode == EXIT_AUTH and "not yours" in refused.stderr(), refused.tail()
    one = unpublish("file.bin@2", data)
    assert one.returncode == EXIT_DONE and one.latest("unpublished")["versions"] == [2], one.tail()
    assert catalogue.entry(tracker, "file.bin")["version"] == 1
    assert unpublish("file.bin", data).returncode == EXIT_DONE
    assert unpublish("file.bin", data).returncode == EXIT_NOT_FOUND
    get = teem.get("file.bin", folder / "out", tracker)
    assert get.wait(30) == EXIT_NOT_FOUND, get.tail()


def test_a_given_token_stands_in_for_the_kept_key(teem, folder):
    tracker = teem.tracker()
    token = folder / "token"
    token.write_text("a-secret-of-sixteen-characters\n")
    share = teem.share(random_file(folder / "file.bin", 100_000), tracker, extra=["--token-file", token])
    share.stop()
    run = lambda **env: teem.run("unpublish", "file.bin", "--tracker", tracker.host, "--data", teem.state("other"), **env)
    assert run(TEEM_TOKEN="another-secret-of-many-characters").returncode == EXIT_AUTH
    assert run(TEEM_TOKEN="short").returncode == EXIT_USAGE
    assert run(TEEM_TOKEN=token.read_text()).returncode == EXIT_DONE
    assert not (teem.state("other") / "publisher.key").exists()


def test_what_is_said_and_what_is_inside_is_found(teem, folder):
    tracker = teem.tracker()
    random_file(folder / "pictures" / "2019" / "Lake Ünder.jpg", 50_000)
    random_file(folder / "pictures" / "2020" / "hill.jpg", 50_000)
    about = ["--description", "Our holidays,\nall of them", "--tag", "Family", "--tag", "outdoors"]
    teem.share(folder / "pictures", tracker, extra=about)
    teem.share(random_file(folder / "lake.iso", 50_000), tracker)

    def found(*words):
        run = teem.run("ls", *words, "--tracker", tracker.host, "--json")
        assert run.returncode == EXIT_DONE, run.tail()
        return {each["name"]: each for each in run.objects() if each["kind"] == "entry"}

    assert found().keys() == {"pictures", "lake.iso"}
    assert found("lake").keys() == {"pictures", "lake.iso"}
    assert found("lake", "ünder")["pictures"]["path"] == "2019/Lake Ünder.jpg"
    assert found("*.iso").keys() == {"lake.iso"}
    for words in (["HOLIDAYS"], ["family"], ["hill.jpg"], ["outdoors", "all of them"], ["fa"]):
        assert found(*words).keys() == {"pictures"}, words
    assert found("nothing", "lake") == {}
    entry = found("family")["pictures"]
    assert entry["tags"] == ["family", "outdoors"] and entry["description"].startswith("Our holidays")
    long = teem.run("ls", "-l", "--tracker", tracker.host)
    line = next(line for line in long.lines if line.startswith("pictures"))
    assert "#family" in line and "Our holidays, all of them" in line, long.lines
    wrong = teem.run("share", folder / "lake.iso", "--tag", "two words", "--tracker", tracker.host)
    assert wrong.returncode == EXIT_USAGE, wrong.tail()


def test_a_thousand_names_come_page_by_page(teem):
    tracker = teem.tracker()
    api = Api(tracker)
    names = [f"name {number:04} {'even' if number % 2 == 0 else 'odd'}" for number in range(1_000)]
    for number in random.Random(1).sample(range(1_000), 1_000):
        assert api.put(names[number], number) == (201, 1)
    for query, expected in (("", names), ("even", names[::2]), ("n", names), ("*odd", names[1::2])):
        seen, after = [], None
        while True:
            page = api("GET", f"?q={quote(query)}&limit=70" + (f"&after={quote(after)}" if after else ""))[1]
            assert len(page["entries"]) <= 70
            seen += [entry["name"] for entry in page["entries"]]
            after = page.get("next")
            if after is None:
                break
        assert seen == expected, query
    listed = teem.run("ls", "odd", "--tracker", tracker.host, "--json")
    assert len(listed.objects()) == 500


def test_counts_of_downloads_outlive_the_tracker(teem, folder):
    data = teem.state("tracker")
    tracker = teem.tracker(data=data)
    teem.share(random_file(folder / "file.bin", 300_000), tracker)
    for number in range(2):
        teem.get("file.bin", folder / f"out{number}", tracker, exit=False).done()
    wait_for(lambda: catalogue.entry(tracker, "file.bin")["completed"] == 2, 30, "two downloads", tracker)
    tracker.stop()
    tracker = teem.tracker(data=data)
    assert catalogue.entry(tracker, "file.bin")["completed"] == 2


class Publisher(threading.Thread):
    """Publishes and takes back without end, and remembers what was acknowledged."""

    def __init__(self, tracker, number, round, acknowledged):
        super().__init__(daemon=True)
        self.api = Api(tracker, f"the-secret-of-publisher-{number}")
        self.prefix = f"publisher {number} round {round}"
        self.acknowledged = acknowledged
        self.error = None

    def run(self):
        """Until the tracker is gone."""
        count = 0
        try:
            while True:
                self.turn(f"{self.prefix} name {count}", count)
                count += 1
        except (OSError, http.client.HTTPException):
            pass
        except Exception as error:
            self.error = error

    def turn(self, name, count):
        """A name, each third one with a second version, each fifth one taken back."""
        self.change(name, {0, 1}, 1, lambda: self.api.put(name, count * 2) == (201, 1))
        if count % 3 == 0:
            self.change(name, {1, 2}, 2, lambda: self.api.put(name, count * 2 + 1) == (201, 2))
        if count % 5 == 0:
            path = f"/{quote(name, safe='')}"
            self.change(name, {0, 1, 2}, 0, lambda: self.api("DELETE", path)[0] == 200)

    def change(self, name, meanwhile, afterwards, act):
        """Until the answer is here either may be; then only the new version, 0 for none."""
        self.acknowledged[name] = meanwhile
        assert act()
        self.acknowledged[name] = {afterwards}


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_however_often_it_is_killed(teem):
    data = teem.state("tracker")
    acknowledged = {}
    chance = random.Random(5)
    for round in range(100):
        tracker = teem.tracker(data=data)
        before = len(acknowledged)
        publishers = [Publisher(tracker, number, round, acknowledged) for number in range(4)]
        for publisher in publishers:
            publisher.start()
        enough = chance.randrange(5, 40)
        wait_for(lambda: len(acknowledged) - before >= enough, 60, f"{enough} publications", tracker)
        tracker.kill()
        for publisher in publishers:
            publisher.join(20)
            assert publisher.error is None and not publisher.is_alive(), publisher.error
    tracker = teem.tracker(data=data)
    api = Api(tracker)
    for name, allowed in acknowledged.items():
        status, entry = api("GET", f"/{quote(name, safe='')}")
        version = entry["version"] if status == 200 else 0
        assert version in allowed, (name, allowed, version)
        if version:
            status, page = api("GET", f"?q={quote(name + '*')}")
            assert name in [each["name"] for each in page["entries"]], f"{name} is not in the index"
    assert sum(len(allowed) == 1 for allowed in acknowledged.values()) > len(acknowledged) // 2
    tracker.stop()

"""Tables of trackers and a verdict for each goal."""

from report import middle, number, raw
from trackers import JSON_CONNECTIONS, SEED_ROWS

MIB = 1 << 20
UDP_RIVALS = ("aquatic mio", "aquatic io_uring", "opentracker")
HTTP_RIVALS = ("aquatic_http", "opentracker")
ECHO_AIM = 0.9
COLUMNS = (
    ("answers_per_sec", "answers/s", 11, 0), ("cpu_us_per_answer", "CPU us", 8, 2), ("p50_us", "p50 us", 10, 0),
    ("p99_us", "p99 us", 10, 0), ("p999_us", "p99.9 us", 10, 0), ("lost_share", "lost", 9, 5),
)  # fmt: skip


def grouped(rows):
    """Rows by cell and tracker."""
    cells = {}
    for row in rows:
        cells.setdefault((row["cell"], row["tracker"]), []).append(row)
    return cells


def tables(rows):
    """One line a cell and tracker."""
    if not rows:
        return
    yield ""
    yield f"{'cell':<17}{'tracker':<18}{'n':>2}" + "".join(f"{head:>{width}}" for _, head, width, _ in COLUMNS) + "  resident MiB"
    for (cell, tracker), found in sorted(grouped(rows).items()):
        line = f"{cell:<17}{tracker:<18}{len(found):>2}"
        line += "".join(number(middle(found, key), width, digits) for key, _, width, digits in COLUMNS)
        resident = middle(found, "resident")
        yield line + ("" if resident is None else f"{resident / MIB:14.1f}")


def verdicts(rows):
    """One line a goal: met or not, the ratio, and the values behind it."""
    if not rows:
        return
    cells = grouped(rows)
    yield ""
    for cell in ("announces", "default", "their announces", "their default", "zipf", "hot", "IPv6"):
        yield from against(cells, f"UDP, {cell}", cell, UDP_RIVALS)
    yield from echo(cells)
    yield from forged(cells)
    for cell in ("HTTP keep-alive", "HTTP close"):
        yield from against(cells, cell, cell, HTTP_RIVALS)
    yield from memory(cells)
    yield from json_rows(cells)


def against(cells, what, cell, rivals):
    """Answers a second, at least those of the fastest other."""
    ours = cells.get((cell, "teem"))
    theirs = {name: cells[cell, name] for name in rivals if (cell, name) in cells}
    if not ours or not theirs:
        return
    fastest = max(theirs, key=lambda name: middle(theirs[name], "answers_per_sec"))
    yield compare(f"{what}: answers a second, of the fastest other ({fastest})", ours, theirs[fastest], "answers_per_sec", 1.0)
    least = min(theirs, key=lambda name: middle(theirs[name], "cpu_us_per_answer"))
    yield compare(f"{what}: CPU us an answer, of the least ({least}; no goal)", ours, theirs[least], "cpu_us_per_answer", None)


def compare(what, ours, theirs, key, least):
    """One comparison of medians."""
    value = middle(ours, key) / max(middle(theirs, key), 1e-9)
    word = "      " if least is None else ("met   " if value >= least else "MISSED")
    goal = "" if least is None else f" (goal {least})"
    return f"{word} {what}: {value:.2f}{goal}; teem {raw(ours, key)}; theirs {raw(theirs, key)}"


def echo(cells):
    """How near the floor we are, plain and with everything on."""
    floor = cells.get(("announces", "bare echo"))
    for name in ("teem", "teem private"):
        ours = cells.get(("announces", name))
        if ours and floor:
            yield compare(f"UDP, announces: {name}, of the bare echo (aim {ECHO_AIM})", ours, floor, "answers_per_sec", ECHO_AIM)


def forged(cells):
    """Forged ids are not answered, and cost good peers nothing."""
    ours = cells.get(("forged", "teem"))
    if ours:
        answered = sum(row["forged_answered"] for row in ours)
        lost = middle(ours, "lost_share")
        word = "met   " if answered == 0 and lost < 0.001 else "MISSED"
        sent = sum(row["forged_sent"] for row in ours)
        yield f"{word} UDP, forged ids: {answered} of {sent} answered (goal 0), good requests lost {lost:.5f} (goal below 0.001)"


def memory(cells):
    """Bytes for each IPv4 peer."""
    fills = {name: found for (cell, name), found in cells.items() if cell == "fill"}
    ours = fills.get("teem")
    for name in UDP_RIVALS:
        if ours and name in fills:
            value = middle(ours, "bytes_per_peer") / middle(fills[name], "bytes_per_peer")
            word = "met   " if value <= 1 else "MISSED"
            values = f"teem {raw(ours, 'bytes_per_peer')}; theirs {raw(fills[name], 'bytes_per_peer')}"
            yield f"{word} memory for each IPv4 peer, of {name}: {value:.2f} (goal 1.0); {values}"
    for row in cells.get(("many", "teem"), []):
        yield f"       {row['peers']:,} peers over {row['torrents']:,} torrents: {row['bytes_per_peer']:.1f} bytes a peer"


def json_rows(cells):
    """JSON over TCP: rates, and the seed document's table."""
    for connections in JSON_CONNECTIONS:
        for row in cells.get((f"JSON {connections}", "teem"), []):
            figures = f"p50 {row['p50_us']:.0f} us, p99 {row['p99_us']:.0f} us, p99.9 {row['p999_us']:.0f} us"
            yield f"       JSON, {connections} connections: {row['requests_per_sec']:.0f} requests/s, {figures}"
    for peers, files, bytes_max, millis_max in SEED_ROWS:
        for row in cells.get((f"seed {peers}", "teem"), []):
            slowest, grown = row["max_us"] / 1e3, row["grown"]
            word = "met   " if slowest < millis_max and grown < bytes_max else "MISSED"
            ours = f"slowest {slowest:.2f} ms (below {millis_max}), {grown / 1e6:.2f} MB more (below {bytes_max / 1e6:.0f})"
            yield f"{word} seed's table, {peers} peers, {files} files: {ours}; whole process {row['resident'] / 1e6:.1f} MB"

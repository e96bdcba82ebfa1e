"""Tables of the links and a verdict for each goal."""

from statistics import median, quantiles

from report import middle, number

SHARE_MIN = 0.8
RISE_MS_MAX = 120
YIELD_MAX = 0.2
MBIT = 8e-6


def tables(rows):
    """One line a cell and contestant."""
    rows = [row for row in rows if "error" not in row]
    if not rows:
        return
    yield ""
    yield f"{'link':<18}{'who':<16}{'n':>2}{'wall s':>9}{'Mbit/s':>9}{'lost':>8}{'dropped':>9}  relay late, p99 ms"
    for cell, who in sorted({(row["cell"], row["who"]) for row in rows if "rate" in row}):
        found = [row for row in rows if (row["cell"], row["who"]) == (cell, who)]
        yield (
            f"{cell:<18}{who:<16}{len(found):>2}{number(middle(found, 'wall'), 9, 2)}{middle(found, 'rate') * MBIT:>9.2f}"
            f"{number(middle(found, 'lost'), 8, 0)}{number(middle(found, 'dropped'), 9, 0)}{number(middle(found, 'relay_late_p99_ms'), 10, 2)}"
        )
    yield ""
    yield f"{'ping':<24}{'n':>5}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}"
    for row in rows:
        for key, what in (("idle_ms", "alone"), ("beside_utp_ms", "beside uTP"), ("beside_tcp_ms", "beside TCP")):
            if row.get(key):
                taken = row[key]
                yield f"{row['cell'] + ', ' + what:<24}{len(taken):>5}{median(taken):>9.1f}{p95(taken):>9.1f}{max(taken):>9.1f}"


def verdicts(rows):
    """One line a goal: met or not, the figure, and the values behind it."""
    rows = [row for row in rows if "error" not in row]
    if not rows:
        return
    yield ""
    for cell in sorted({row["cell"] for row in rows if row["who"] == "iperf3"}):
        yield from against_iperf(cell, rows)
    for cell in ("ping", "long"):
        yield from delay(cell, [row for row in rows if row["cell"] == cell])
    yield from yielding([row for row in rows if row["cell"] == "ping"])


def against_iperf(cell, rows):
    """Each contestant's rate, as a share of what iperf3 reached."""
    path, congestion = cell.rsplit(", ", 1)
    theirs = [row for row in rows if row["cell"] == cell and row["who"] == "iperf3"]
    for who in ("teem TCP", "teem uTP", "libtorrent uTP"):
        # uTP goes its own way: it was measured once a path. Where TCP takes no loss for a sign of congestion, LEDBAT
        # still does (RFC 6817), so there it has no goal.
        where = cell if who == "teem TCP" else f"{path}, cubic"
        ours = [row for row in rows if row["cell"] == where and row["who"] == who]
        if not ours:
            continue
        value = middle(ours, "rate") / middle(theirs, "rate")
        word, goal = "      ", ""
        if who == "teem TCP" or (who == "teem uTP" and congestion == "cubic"):
            word, goal = ("met   " if value >= SHARE_MIN else "MISSED"), f" (goal {SHARE_MIN})"
        yield f"{word} link, {cell}: {who}, of iperf3's one stream: {value:.2f}{goal}; Mbit/s {mbit(ours)}; iperf3 {mbit(theirs)}"


def delay(cell, rows):
    """How much longer a ping takes beside a background transfer."""
    for name, of in (("median", median), ("95th percentile", p95)):
        if not rows:
            return
        rises = [of(row["beside_utp_ms"]) - median(row["idle_ms"]) for row in rows]
        word = "met   " if median(rises) < RISE_MS_MAX else "MISSED"
        used = f"; uTP {mbit(rows, 'utp_alone')} Mbit/s"
        yield f"{word} {cell}: beside uTP a ping takes longer by (ms, {name}) {median(rises):.0f} (goal below {RISE_MS_MAX}); {listed(rises)}{used}"
    beside_tcp = [median(row["beside_tcp_ms"]) - median(row["idle_ms"]) for row in rows if "beside_tcp_ms" in row]
    if beside_tcp:
        yield f"       {cell}: beside TCP by (ms, median; no goal) {median(beside_tcp):.0f}; {listed(beside_tcp)}"


def yielding(rows):
    """What uTP leaves to a TCP stream."""
    if not rows:
        return
    shares = [row["utp_beside_tcp"] / (row["utp_beside_tcp"] + row["tcp_beside_utp"]) for row in rows]
    word = "met   " if median(shares) <= YIELD_MAX else "MISSED"
    yield f"{word} ping: uTP's share beside one TCP stream: {median(shares):.2f} (goal at most {YIELD_MAX}); {listed(shares, 2)}"
    kept = [row["tcp_beside_utp"] / row["tcp_alone"] for row in rows]
    word = "met   " if median(kept) >= SHARE_MIN else "MISSED"
    yield f"{word} ping: TCP beside uTP, of TCP alone: {median(kept):.2f} (goal {SHARE_MIN}); {listed(kept, 2)}"


def p95(values):
    """The 95th percentile."""
    return quantiles(values, n=20)[-1]


def mbit(rows, key="rate"):
    """Rates of all runs, sorted."""
    return "[" + " ".join(f"{value * MBIT:.2f}" for value in sorted(row[key] for row in rows)) + "]"


def listed(values, digits=0):
    """All values, sorted."""
    return "[" + " ".join(f"{value:.{digits}f}" for value in sorted(values)) + "]"

"""Tables of medians and a verdict for each goal."""

from statistics import median

GB = 1e9
MIB = 1 << 20
LEECHER_MIB_MAX = 150
SEEDER_MIB_MAX = 50
BYTES_A_PIECE = 64
PIECE_LENGTH = 512 * 1024
CPU_RATIO_MAX = 0.8


def cells(runs):
    """Rows that went well, grouped by suite, medium, format and client."""
    grouped = {}
    for row in runs:
        if "error" not in row:
            grouped.setdefault((row["suite"], row["medium"], row["format"], row["client"]), []).append(row)
    return grouped


def middle(rows, key):
    """The median of one figure, or none."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return median(values) if values else None


def tables(runs):
    """One line a cell."""
    yield ""
    head = f"{'suite':<10}{'medium':<7}{'format':<8}{'client':<12}{'n':>2}{'wall s':>9}{'MB/s':>8}{'first s':>9}"
    yield head + f"{'settled s':>11}{'cpu s/GB':>10}{'seeder':>8}{'leecher':>9}  memory MiB, anonymous: seeder, leecher"
    for (suite, medium, format, client), rows in sorted(cells(runs).items()):
        gigabytes = rows[0]["bytes"] / GB * rows[0].get("leechers", 1)
        wall = middle(rows, "wall")
        columns = [f"{suite:<10}{medium:<7}{format:<8}{client:<12}{len(rows):>2}{wall:>9.3f}"]
        columns.append(f"{gigabytes * 1e3 / wall:>8.0f}{number(middle(rows, 'first'), 9, 3)}")
        columns.append(number(middle(rows, "settled"), 11, 3))
        for key, width in (("cpu", 10), ("cpu_seeder", 8), ("cpu_leecher", 9)):
            value = middle(rows, key)
            columns.append(number(None if value is None else value / gigabytes, width, 2))
        columns.append("  " + memory(rows, "seeder") + ", " + memory(rows, "leecher"))
        yield "".join(columns)
    failed = [row for row in runs if "error" in row]
    for row in failed:
        yield f"FAILED {row['suite']} {row['medium']} {row['format']} {row['client']}: {row['error'].splitlines()[0]}"


def number(value, width, digits):
    """A figure in its column, a dash when there is none."""
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"


def memory(rows, side):
    """Resident and anonymous peaks of one side."""
    resident, anonymous = middle(rows, f"{side}_resident"), middle(rows, f"{side}_anonymous")
    if resident is None:
        return "-"
    return f"{resident / MIB:.0f} ({(anonymous or 0) / MIB:.0f})"


def verdicts(runs):
    """One line a goal: met or not, the ratio, and the values behind it."""
    grouped = cells(runs)
    yield ""
    for (suite, medium, format, client), ours in sorted(grouped.items()):
        if client != "teem":
            continue
        others = {
            name: rows
            for (s, m, f, name), rows in grouped.items()
            if (s, m) == (suite, medium) and name not in ("teem", "pipeline") and f == format
        }
        where = f"{suite} {medium} {format}"
        if others:
            fastest = min(others, key=lambda name: middle(others[name], "wall"))
            yield ratio(f"{where}: wall, of the fastest other ({fastest})", ours, others[fastest], "wall", 1.0)
            if suite == "magnet":
                yield ratio(f"{where}: first bytes, of the fastest other ({fastest})", ours, others[fastest], "first", 1.0)
        if suite == "create" and others:
            least = min(others, key=lambda name: middle(others[name], "cpu"))
            yield ratio(f"{where}: CPU, of the fastest other ({fastest})", ours, others[fastest], "cpu", 1.0)
            if least != fastest:
                yield ratio(f"{where}: CPU, of the least ({least}; no goal)", ours, others[least], "cpu", None)
        elif "libtorrent" in others and suite in ("transfers", "fanout", "crowd", "mse", "utp"):
            yield ratio(f"{where}: CPU, of libtorrent", ours, others["libtorrent"], "cpu", CPU_RATIO_MAX)
            yield ratio(f"{where}: CPU, of libtorrent (aim 0.5)", ours, others["libtorrent"], "cpu", None)
        yield from against_pipeline(grouped, suite, medium, format, ours, where)
        if suite in ("transfers", "fanout", "crowd"):
            yield from memory_verdicts(where, ours)


def against_pipeline(grouped, suite, medium, format, ours, where):
    """The aim beyond the goals: as fast as the bare pipeline."""
    pipeline = grouped.get((suite, medium, "v2" if format == "hybrid" else format, "pipeline"))
    if pipeline:
        yield ratio(f"{where}: wall, of the bare pipeline (aim 1.0)", ours, pipeline, "wall", None)


def memory_verdicts(where, ours):
    """The bounds on memory."""
    pieces = ours[0]["bytes"] // PIECE_LENGTH
    for side, bound_mib in (("leecher", LEECHER_MIB_MAX), ("seeder", SEEDER_MIB_MAX)):
        bound = bound_mib * MIB + BYTES_A_PIECE * pieces
        peak = max(row[f"{side}_resident"] for row in ours)
        word = "met   " if peak <= bound else "MISSED"
        yield f"{word} {where}: {side}'s memory {peak / MIB:.1f} MiB, bound {bound / MIB:.1f} MiB"


def ratio(what, ours, theirs, key, bound):
    """One comparison of medians, with the raw values."""
    value = middle(ours, key) / max(middle(theirs, key), 1e-9)
    word = "      " if bound is None else ("met   " if value <= bound else "MISSED")
    goal = "" if bound is None else f" (goal {bound})"
    return f"{word} {what}: {value:.2f}{goal}; teem {raw(ours, key)}; theirs {raw(theirs, key)}"


def raw(rows, key):
    """All values of a figure, sorted."""
    return "[" + " ".join(f"{value:.2f}" for value in sorted(row[key] for row in rows)) + "]"

"""The matrix: each stock client seeds and leeches, over each transport, in each format, from files and magnet links.

What a client cannot do has its reason in `CANNOT`, and the reason is checked. The table is printed at the end of the
run, and is `matrix.txt` in pytest's temporary folder. rqbit has its rows beside CI: `beside_rqbit.py`.
"""

import pytest

from cells import DAEMONS, Row, link, never_says, refuses_v2
from matrix import TRANSPORTS

CANNOT = {
    ("Transmission", "v2"): ("it takes hybrids for v1, and refuses v2 alone", refuses_v2),
    ("aria2", "v2"): ("it knows v1 alone", refuses_v2),
    ("aria2", "uTP"): ("none of its options is about it", lambda row: never_says("utp", row.daemon.options())),
    ("rTorrent", "v2"): ("it knows v1 alone", refuses_v2),
    ("rTorrent", "both halves of a hybrid's link"): (
        "it refuses such links, so it is given the v1 half",
        lambda row: not row.daemon.takes(link(row.made("hybrid"), row.tracker), row.folder / "out"),
    ),
    ("rTorrent", "uTP"): ("none of its commands is about it", lambda row: never_says("utp", row.daemon.commands())),
}
"""Why a client has no cells of a transport or a format, and how to see that this is still so."""

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("client", "transport"),
    [(client, transport) for client in DAEMONS for transport in TRANSPORTS if (client, transport) not in CANNOT],
)
def test_content_is_equal_in_every_cell(teem, folder, cleanup, matrix, client, transport):
    row = Row(teem, folder, cleanup, client, DAEMONS[client], transport)
    row.check(matrix, CANNOT)


@pytest.mark.parametrize("client", dict.fromkeys(client for client, _ in CANNOT))
def test_what_a_client_cannot_do_it_still_cannot(teem, folder, cleanup, matrix, client):
    row = Row(teem, folder, cleanup, client, DAEMONS[client], "TCP")
    row.check_reasons(matrix, CANNOT)

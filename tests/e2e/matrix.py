"""The matrix: which client was met in which way, and what came of it. Printed when the tests are through."""

CLIENTS = ("libtorrent", "qBittorrent", "Transmission", "aria2", "rTorrent", "rqbit")
ROLES = ("seeds", "leeches")
TRANSPORTS = ("TCP", "uTP", "MSE")
FORMATS = ("v1", "hybrid", "v2")
SOURCES = ("file", "magnet")

OK, FAILED, NOT_RUN = "ok", "FAIL", "-"


class Matrix:
    """The cells, and what is known of them by now."""

    def __init__(self):
        self.cells = {}
        self.versions = {}
        self.reasons = {}
        """Why a client has no cells of a transport or a format."""

    def expect(self, client, transport, formats):
        """Takes cells for failed until they pass."""
        for role in ROLES:
            for format in formats:
                for source in SOURCES:
                    self.cells[client, role, transport, format, source] = FAILED

    def passed(self, client, transport, cell):
        """Notes that the content was equal."""
        self.cells[client, cell.role, transport, cell.format, cell.source] = OK

    def lines(self):
        """The matrix as a table, with the reasons below it."""
        columns = [(format, source) for format in FORMATS for source in SOURCES]
        notes = {key: f"[{number}]" for number, key in enumerate(self.reasons, 1)}
        heads = "".join(f"{format + ', ' + source:<16}" for format, source in columns)
        yield f"{'client':<28}{'it':<9}{'over':<6}{heads}".rstrip()
        for client in CLIENTS:
            yield from self._rows(client, columns, notes)
        for (client, what), note in notes.items():
            yield f"{note} {client}, {what}: {self.reasons[client, what]}"
        if not any(key[0] == "rqbit" for key in self.cells):
            yield "rqbit: beside CI (scripts/beside-ci), since cargo must build it"

    def _rows(self, client, columns, notes):
        known = {key[0] for key in (*self.cells, *self.reasons)}
        for role in ROLES if client in known else ():
            for transport in TRANSPORTS:
                line = f"{client + ' ' + self.versions.get(client, ''):<28}{role:<9}{transport:<6}"
                for format, source in columns:
                    note = notes.get((client, transport)) or notes.get((client, format))
                    cell = note or self.cells.get((client, role, transport, format, source), NOT_RUN)
                    line += f"{cell:<16}"
                yield line.rstrip()

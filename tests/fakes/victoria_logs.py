"""A stand-in for VictoriaLogs on loopback: the part of LogsQL that our store speaks, and
the server's silent losses.

As the real one (seen with v1.26.0) it answers 200 when at least one line of a request was read, and drops
without a word: lines that are no JSON, clocks that are not RFC 3339, rows older than the retention or too far
ahead, lines over 256 KiB, empty fields. An empty message becomes a sentence. Rows are seen a moment later.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Row = dict[str, str]
Match = Callable[[Row], bool]
MISSING = "missing _msg field; see https://docs.victoriametrics.com/victorialogs/keyconcepts/#message-field"
LONGEST_LINE = 256 << 10
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?")


class Server:
    """The rows and what is wrong with it."""

    def __init__(self, retention: timedelta = timedelta(days=36_500), seen_after_s: float = 0.01) -> None:
        self.retention, self.seen_after_s = retention, seen_after_s
        self.rows: list[tuple[float, Row]] = []
        self.requests: list[tuple[str, str]] = []
        self._received = 0
        self.lose_every = 0
        """Drops every n-th row, whatever it holds."""
        self._lock = threading.Lock()

    def insert(self, body: str, parameters: dict[str, list[str]]) -> tuple[int, str]:
        (clock,), (message,) = parameters["_time_field"], parameters["_msg_field"]
        failed = read = 0
        trouble = ""
        for line in filter(None, body.split("\n")):
            if len(line.encode()) > LONGEST_LINE:
                continue
            read += 1
            try:
                fields = json.loads(line)
                at = _clock(fields.pop(clock))
            except (ValueError, KeyError, AttributeError) as why:
                failed += 1
                trouble = f"cannot process jsonline request; error: {why}; line contents: {line!r}"
                continue
            self._keep(at, {**fields, "_msg": fields.pop(message, "") or MISSING})
        return (400, trouble) if failed and failed == read else (200, "")

    def _keep(self, at: datetime, fields: dict[str, Any]) -> None:
        now = datetime.now(UTC)
        if not now - self.retention < at < now + timedelta(days=2):
            return
        row = {name: str(value) for name, value in fields.items() if value not in ("", None)}
        with self._lock:
            self._received += 1
            if not self.lose_every or self._received % self.lose_every:
                self.rows.append((time.monotonic() + self.seen_after_s, row | {"_time": at.isoformat()}))

    def query(self, text: str) -> list[Row]:
        now = time.monotonic()
        with self._lock:
            rows = [row for seen, row in self.rows if seen <= now]
        return Query(text).run(rows)


def _clock(text: str) -> datetime:
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"cannot unmarshal rfc3339 timestamp {text!r}")
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


# ----------------------------------------------------------------------------------------------------- LogsQL

_TOKEN = re.compile(
    r'\s*(_time:\[[^\])]*[\])]|"(?:[^"\\]|\\.)*"|:=|:~|:>=|:<=|:>|:<|:in|[\w.-]+|[(){}|,=*])', re.DOTALL
)


class Query:
    """One query: a filter, then pipes."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def run(self, rows: list[Row]) -> list[Row]:
        match = self._either()
        rows = [row for row in rows if match(row)]
        while self._peek() == "|":
            self._take("|")
            rows = self._pipe(rows)
        if self._peek():
            raise ValueError(f"unexpected token {self._peek()!r}")
        return [{name: value for name, value in row.items() if value != ""} for row in rows]

    # -- filters

    def _either(self) -> Match:
        parts = [self._every()]
        while self._peek() == "or":
            self._take("or")
            parts.append(self._every())
        return lambda row: any(part(row) for part in parts)

    def _every(self) -> Match:
        parts = []
        while self._peek() not in ("", "|", ")", "or"):
            parts.append(self._one())
        return lambda row: all(part(row) for part in parts)

    def _one(self) -> Match:
        token = self._take()
        if token == "*":
            return lambda row: True
        if token == "(":
            inside = self._either()
            self._take(")")
            return inside
        if token == "{":
            labels = dict(self._labels())
            return lambda row: all(row.get(name) == value for name, value in labels.items())
        if token.startswith("_time:["):
            return _filed_between(token)
        return self._field(token)

    def _labels(self) -> Iterable[tuple[str, str]]:
        while self._peek() != "}":
            name = self._take()
            self._take("=")
            yield name, _text(self._take())
            if self._peek() == ",":
                self._take(",")
        self._take("}")

    def _field(self, name: str) -> Match:
        compare = self._take()
        if compare == ":in":
            self._take("(")
            values = set(self._list())
            return lambda row: row.get(name, "") in values
        value = _text(self._take())
        if compare == ":=" and self._peek() == "*":
            self._take("*")
            return lambda row: row.get(name, "").startswith(value)
        if compare == ":~":
            pattern = re.compile(value)
            return lambda row: pattern.search(row.get(name, "")) is not None
        return _COMPARE[compare](name, value)

    def _list(self) -> Iterable[str]:
        while self._peek() != ")":
            yield _text(self._take())
            if self._peek() == ",":
                self._take(",")
        self._take(")")

    # -- pipes

    def _pipe(self, rows: list[Row]) -> list[Row]:
        return {
            "fields": self._fields,
            "sort": self._sort,
            "limit": self._limit,
            "uniq": self._uniq,
            "stats": self._stats,
        }[self._take()](rows)

    def _names(self) -> list[str]:
        names = [self._take()]
        while self._peek() == ",":
            self._take(",")
            names.append(self._take())
        return names

    def _by(self) -> list[str]:
        self._take("by")
        self._take("(")
        return self._names()

    def _fields(self, rows: list[Row]) -> list[Row]:
        names = self._names()
        return [{name: row[name] for name in names if name in row} for row in rows]

    def _sort(self, rows: list[Row]) -> list[Row]:
        (name,) = self._by()
        backwards = self._peek() == "desc"
        if backwards:
            self._take("desc")
        self._take(")")
        rows = sorted(rows, key=lambda row: row.get(name, ""), reverse=backwards)
        offset = self._number("offset") or 0
        limit = self._number("limit")
        return rows[offset : None if limit is None else offset + limit]

    def _number(self, word: str) -> int | None:
        if self._peek() != word:
            return None
        self._take(word)
        return int(self._take())

    def _limit(self, rows: list[Row]) -> list[Row]:
        return rows[: int(self._take())]

    def _uniq(self, rows: list[Row]) -> list[Row]:
        names = self._by()
        self._take(")")
        found = {tuple(row.get(name, "") for name in names): None for row in rows}
        limit = self._number("limit")
        return [dict(zip(names, values, strict=True)) for values in list(found)[:limit]]

    def _stats(self, rows: list[Row]) -> list[Row]:
        names: list[str] = []
        if self._peek() == "by":
            names = self._by()
            self._take(")")
        groups: dict[tuple[str, ...], list[Row]] = {} if names else {(): []}
        for row in rows:
            groups.setdefault(tuple(row.get(name, "") for name in names), []).append(row)
        found = [dict(zip(names, key, strict=True)) for key in groups]
        while True:
            function = self._take()
            self._take("(")
            arguments = [] if self._peek() == ")" else self._names()
            self._take(")")
            name = self._take()
            for answer, members in zip(found, groups.values(), strict=True):
                answer[name] = _STATS[function](members, arguments)
            if self._peek() != ",":
                return found
            self._take(",")

    # -- tokens

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, expected: str | None = None) -> str:
        token = self._peek()
        if expected is not None and token != expected:
            raise ValueError(f"expected {expected!r}, got {token!r}")
        self._at += 1
        return token


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"cannot parse query at {text[at : at + 20]!r}")
        found.append(match[1])
        at = match.end()
    return found


def _text(token: str) -> str:
    """Read a Go string, or a bare word."""
    if not token.startswith('"'):
        return token
    return re.sub(
        r"\\(u[0-9a-f]{4}|U[0-9a-f]{8}|.)",
        lambda found: chr(int(found[1][1:], 16)) if found[1][0] in "uU" else found[1],
        token[1:-1],
    )


def _filed_between(token: str) -> Match:
    """Read `_time:[first, last)`; with `]` the last moment belongs to it."""
    first, last = (_clock(text.strip()) for text in token[len("_time:[") : -1].split(","))

    def match(row: Row) -> bool:
        at = datetime.fromisoformat(row["_time"])
        return first <= at < last or (token[-1] == "]" and at == last)

    return match


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[str, str], Match]:
    def make(name: str, value: str) -> Match:
        def match(row: Row) -> bool:
            found = row.get(name, "")
            if re.fullmatch(r"-?\d+", found) and re.fullmatch(r"-?\d+", value):
                return compare(int(found), int(value))
            return found != "" and compare(found, value)

        return match

    return make


_COMPARE: dict[str, Callable[[str, str], Match]] = {
    ":=": lambda name, value: lambda row: row.get(name, "") == value,
    ":>=": _ordered(lambda found, value: found >= value),
    ":<=": _ordered(lambda found, value: found <= value),
    ":>": _ordered(lambda found, value: found > value),
    ":<": _ordered(lambda found, value: found < value),
}


def _row_min(rows: list[Row], names: list[str]) -> str:
    first = min(rows, key=lambda row: row.get(names[0], ""))
    return json.dumps({name: first.get(name, "") for name in names[1:]}, ensure_ascii=False)


_STATS: dict[str, Callable[[list[Row], list[str]], str]] = {
    "count": lambda rows, names: str(len(rows)),
    "row_min": _row_min,
}


# ---------------------------------------------------------------------------------------------------- serving


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body waits 40 ms for the header's acknowledgement otherwise
    server: Any

    def do_GET(self) -> None:
        self._send(200 if self.path == "/health" else 404, b"OK")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        parts, store = urlsplit(self.path), self.server.store
        store.requests.append((parts.path, body))
        if parts.path == "/insert/jsonline":
            if self.headers["Content-Type"] != "application/stream+json":
                self._send(200, b"")  # the real one reads nothing from a form
                return
            status, said = store.insert(body, parse_qs(parts.query))
            self._send(status, said.encode())
            return
        try:
            rows = store.query(parse_qs(body, keep_blank_values=True)["query"][0])
        except (ValueError, KeyError) as trouble:
            self._send(400, str(trouble).encode())
            return
        self._send(200, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(store: Server) -> str:
    """Serve on loopback until the process ends. Returns the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.store = store  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


@cache
def stand_in() -> str:
    """The address of the one stand-in that all tests share."""
    return serve(Server())

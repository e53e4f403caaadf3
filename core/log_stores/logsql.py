"""Speak with a VictoriaLogs server: LogsQL built by escaping, requests, and what is said when it fails.

A value becomes part of a query only through the functions here, so a word from a log or a model is data and
never syntax. What the queries mean is `core.log_stores.victorialogs`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import httpx

from core.downloads import shown_url
from project_types import DatabaseError

DOCKER = (
    "docker run -d --name victoria-logs -p 9428:9428 -v victoria-logs-data:/victoria-logs-data "
    "victoriametrics/victoria-logs -storageDataPath=/victoria-logs-data -retentionPeriod=100y"
)
"""How to start a server. A short retention drops the rows of older runs without an error."""
_TIMEOUT_S = 30.0
_FIELD = re.compile(r"[a-z_]+")
_REGEX_SYNTAX = re.compile(r"([\\.+*?()|\[\]{}^$])")


# ---------------------------------------------------------------------------------------------------- filters


def quoted(text: str) -> str:
    """Return a text as a LogsQL string. Go reads it, so it has Go's escapes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else _escape(char) for char in escaped) + '"'


def _escape(char: str) -> str:
    code = ord(char)
    if 0xD800 <= code <= 0xDFFF:  # half of a pair is no character in Go
        code = 0xFFFD
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def equals(field: str, value: str) -> str:
    """Match a whole value."""
    return f"{_name(field)}:={quoted(value)}"


def one_of(field: str, values: Iterable[str | int]) -> str:
    """Match any of the whole values; none of none."""
    return f"{_name(field)}:in({','.join(quoted(str(value)) for value in values)})"


def begins(field: str, start: str) -> str:
    """Match values that begin so."""
    return f"{_name(field)}:={quoted(start)}*"


def holds(field: str, part: str) -> str:
    """Match values that hold the text, whatever its case."""
    pattern = _REGEX_SYNTAX.sub(r"\\\1", part)
    return f"{_name(field)}:~{quoted(f'(?i){pattern}')}"


def at_least(field: str, number: int) -> str:
    """Match numbers from this one on."""
    return f"{_name(field)}:>={int(number)}"


def at_most(field: str, number: int) -> str:
    """Match numbers up to this one."""
    return f"{_name(field)}:<={int(number)}"


def filed_between(start: datetime, end: datetime) -> str:
    """Match rows filed under a time from `start` on and before `end`, both UTC."""
    first, last = (one.isoformat(timespec="microseconds").replace("+00:00", "Z") for one in (start, end))
    return f"_time:[{first}, {last})"


def every(filters: Sequence[str]) -> str:
    """Match what all filters match."""
    return " ".join(f"({one})" for one in filters) if filters else "*"


def some(filters: Sequence[str]) -> str:
    """Match what any of the filters matches."""
    return "(" + " or ".join(filters) + ")"


def stream(**labels: str) -> str:
    """Match the stream with these labels."""
    return "{" + ",".join(f"{_name(name)}={quoted(value)}" for name, value in labels.items()) + "}"


def _name(field: str) -> str:
    if not _FIELD.fullmatch(field):
        raise ValueError(f"{field!r} is no field of ours")
    return field


# --------------------------------------------------------------------------------------------------- requests


class Server:
    """A VictoriaLogs server. Safe to use from several threads."""

    def __init__(self, url: str, timeout_s: float = _TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self.shown = shown_url(self.url)
        """What may be printed of the address: it may hold a password."""
        # loading certificates takes longer than a query, and plain HTTP has none
        secure = self.url.startswith("https:")
        self._client = httpx.Client(base_url=self.url, timeout=timeout_s, trust_env=False, verify=secure)

    def query(self, text: str) -> Iterator[dict[str, str]]:
        """Ask, and yield the rows as they come. Raises DatabaseError."""
        try:
            with self._client.stream("POST", "/select/logsql/query", data={"query": text}) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise DatabaseError(f"{self.shown}: refused a query: {answer.text[:300]}")
                for line in answer.iter_lines():
                    if line:
                        yield json.loads(line)
        except httpx.HTTPError as trouble:
            raise self._unreachable(trouble) from trouble
        except ValueError as trouble:
            raise DatabaseError(
                f"{self.shown}: gave an answer that is no JSON; is it VictoriaLogs?"
            ) from trouble

    def insert(self, lines: Sequence[str], stream_fields: str) -> None:
        """Send JSON lines. That the server answers 200 does not mean that it kept them
        all. Raises DatabaseError.
        """
        parameters = {"_stream_fields": stream_fields, "_time_field": "_time", "_msg_field": "_msg"}
        body = ("\n".join(lines) + "\n").encode()
        headers = {"Content-Type": "application/stream+json"}
        try:
            answer = self._client.post("/insert/jsonline", params=parameters, content=body, headers=headers)
        except httpx.HTTPError as trouble:
            raise self._unreachable(trouble) from trouble
        if answer.status_code != 200:
            raise DatabaseError(
                f"{self.shown}: refused rows (HTTP {answer.status_code}): {answer.text[:300]}"
            )

    def health(self) -> tuple[bool, str]:
        """Say whether the server is well, and what to type when it is not."""
        try:
            answer = self._client.get("/health", timeout=5)
        except httpx.HTTPError as trouble:
            return False, str(self._unreachable(trouble))
        if answer.status_code != 200:
            return False, f"{self.shown}: answers HTTP {answer.status_code} to /health; is it VictoriaLogs?"
        return True, f"VictoriaLogs at {self.shown}"

    def _unreachable(self, trouble: Exception) -> DatabaseError:
        why = f"{type(trouble).__name__} {trouble}".strip()[:200]
        return DatabaseError(f"{self.shown}: VictoriaLogs cannot be reached ({why}); to start one: {DOCKER}")


def row_of(value: Any) -> dict[str, str]:
    """Return the row that `row_min` gives as JSON text."""
    found: dict[str, str] = json.loads(value)
    return found

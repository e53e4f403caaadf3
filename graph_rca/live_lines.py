"""Log lines of a live window, from a Loki or from a VictoriaLogs: the first ones of each part of it.

They are bounded, because 10,000 lines a second must not fill memory. What was cut is said. The rows of both
are read by the importers, so a service and a level are found here as they are in a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from core.log_stores import logsql
from core.service_names import UNNAMED
from graph_rca.imported import imported
from importers.asking import ask, no_answer_of
from importers.counting import ImportTrouble
from importers.options import Options
from project_types import DatabaseError, LogRecord, Window

PARTS, LINES_OF_A_PART = 10, 1500
"""Lines are asked for in so many stretches, at most so many in each."""
_LETTERS = 4000
"""Of a field that is kept: a server may hold lines of 256 KB."""
Page = tuple[Sequence[Any], int]
"""What was found, and how many lines that is."""


def loki_lines(url: str, query: str, window: Window, missing: list[str]) -> Sequence[LogRecord]:
    """Return lines of a Loki. What was cut is added to `missing`. Raises ImportTrouble."""

    def page(start: datetime, end: datetime) -> Page:
        asked: dict[str, str | int] = {
            "query": query, "start": _ns(start), "end": _ns(end), "limit": LINES_OF_A_PART, "direction": "forward",
        }  # fmt: skip
        streams = _streams(ask(url, "/loki/api/v1/query_range", asked), url)
        return streams, sum(len(one.get("values", ())) for one in streams)

    found = _of_parts(page, window, missing)
    text = json.dumps({"data": {"resultType": "streams", "result": found}})
    return imported("loki", text).logs if found else ()


def victorialogs_lines(url: str, query: str, window: Window, missing: list[str]) -> Sequence[LogRecord]:
    """Return lines of a VictoriaLogs. What was cut is added to `missing`.

    Raises:
        ImportTrouble: the server does not answer, or refuses the query.
    """
    server = logsql.Server(url)

    def page(start: datetime, end: datetime) -> Page:
        chosen = logsql.every([query, logsql.filed_between(start, end)])
        rows = list(_rows(server, f"{chosen} | sort by (_time) limit {LINES_OF_A_PART}"))
        return rows, len(rows)

    found = _of_parts(page, window, missing)
    return imported("text", "\n".join(found), Options(service=UNNAMED)).logs if found else ()


def _rows(server: logsql.Server, query: str) -> Iterator[str]:
    """Yield rows as lines of JSON, without the fields that only the server has a use for."""
    try:
        for row in server.query(query):
            kept = {name: value[:_LETTERS] for name, value in row.items() if not name.startswith("_stream")}
            yield json.dumps(kept)
    except DatabaseError as trouble:
        raise ImportTrouble(str(trouble)) from trouble


def _of_parts(page: Callable[[datetime, datetime], Page], window: Window, missing: list[str]) -> list[Any]:
    step = (window.end - window.start) / PARTS
    found: list[Any] = []
    full = 0
    for number in range(PARTS):
        start = window.start + number * step
        rows, count = page(start, start + step)
        found += rows
        full += count >= LINES_OF_A_PART
    if full:
        missing.append(
            f"log lines beyond the first {LINES_OF_A_PART} in {full} of {PARTS} parts of the window"
        )
    return found


def _streams(answer: Any, url: str) -> list[Any]:
    try:
        return list(answer["data"]["result"])
    except (LookupError, TypeError) as trouble:
        raise no_answer_of("Loki", url) from trouble


def _ns(moment: datetime) -> int:
    return round(moment.timestamp()) * 10**9

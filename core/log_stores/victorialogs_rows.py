"""How a run's rows lie in VictoriaLogs: the fields that are sent, and what is made of
the fields that come back.

The server drops empty fields, replaces empty messages and files a row under its time. So an empty text is
marked, a clock far from the others is kept in a field of its own, and an order that sorts as text stands in
every row. Asking and sending is `victorialogs`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from core.log_stores.contract import Line, StoredSpan
from core.log_stores.line_columns import Kinds, LogRow
from core.log_stores.ordering import mass
from core.log_stores.scenario_rows import microseconds, one_line
from project_types import MetricSeries

_POINTS_A_ROW = 1000
"""A longer metric is cut into rows: the server drops what is too long."""
_LONGEST_TEXT = 50_000
"""Characters of a row's text that are sent: the server drops lines over 256 KiB, and a
character may take 4 bytes.
"""
_BLANK = "(blank)"
_ZERO = 10**16
"""Added to microseconds before they are written with a fixed width, so that years
before 1970 sort as well.
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def order(at_us: int, row: int) -> str:
    """Return a text that sorts as time and row number do."""
    return f"o{at_us + _ZERO:017d}x{row:013d}"


def place(order: str) -> tuple[int, int]:
    at_us, row = order[1:].split("x")
    return int(at_us) - _ZERO, int(row)


def log_fields(rows: Sequence[LogRow], kinds: Kinds) -> Iterator[dict[str, str]]:
    """Yield log rows as the fields the server stores. A kind is a hash of its mask: no counter is shared."""
    names = {number: key for key, number in reversed(list(kinds.numbers.items()))}
    hashes = {number: _hash(f"{level} {mask}") for number, (level, mask) in names.items()}
    for row, _, id_, at_us, clock, service, level, text, trace_id, span_id, kind in rows:
        fields = {
            "what": "log",
            "log": service,
            "id": id_,
            "at": str(at_us),
            "ord": order(at_us, row),
            "clock": str(clock),
            "service": service,
            "level": str(level),
            "kind": hashes.get(kind) or _hash(str(kind)),
            "_msg": _cut(text) or _BLANK,
        }
        # an empty field is dropped by the server, and an empty text is replaced by a sentence
        optional = {"trace_id": trace_id, "span_id": span_id, "blank": None if text else "1"}
        yield fields | {name: value for name, value in optional.items() if value}


def _cut(text: str) -> str:
    return (
        text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} [+{len(text) - _LONGEST_TEXT} chars]"
    )


def _hash(text: str) -> str:
    return str(int.from_bytes(blake2b(text.encode(), digest_size=6).digest()))


def span_fields(row: tuple[Any, ...]) -> dict[str, str]:
    number, _, trace_id, span_id, parent, service, operation, start_us, duration_ms, status = row
    fields = {
        "what": "span",
        "log": "-spans",
        "id": f"{trace_id}/{span_id}",
        "trace_id": trace_id,
        "span_id": span_id,
        "service": service,
        "at": str(start_us),
        "ord": order(start_us, number),
        "duration": repr(float(duration_ms)),
        "status": status,
        "_msg": operation or _BLANK,
    }
    return fields | ({"parent": parent} if parent else {})


def metric_fields(series: MetricSeries) -> Iterator[dict[str, str]]:
    points = sorted((microseconds(at), value) for at, value in series.points)
    for part in range(0, max(1, len(points)), _POINTS_A_ROW):
        some = points[part : part + _POINTS_A_ROW]
        first_us = some[0][0] if some else 0
        yield {
            "what": "metric",
            "log": "-metrics",
            "id": f"{series.id}#{first_us}",
            "service": series.service,
            "name": one_line(series.name),
            "at": str(first_us),
            "ord": order(first_us, part),
            "_msg": json.dumps(some),
        }


def batch_fields(first_us: int | None, last_us: int | None) -> dict[str, str]:
    """Return the row that tells of a batch, and what stretch it covers, if anything in it has a clock."""
    known = {"what": "batch", "ord": order(time.time_ns() // 1000, 0), "_msg": "batch", "log": "-batches"}
    covered = {} if first_us is None else {"first": str(first_us), "last": str(last_us)}
    return known | covered


def mass_of(clocks: Sequence[int]) -> tuple[int, int] | None:
    if not clocks:
        return None
    first, last = mass(clocks)
    return clocks[first], clocks[last]


def filed_under(row: Mapping[str, str], near: tuple[int, int] | None) -> str:
    """Return the time under which the server files a row: its own, or the nearest one of the mass.

    Without any clock it is now: the server would drop 1970.
    """
    at_us = (
        time.time_ns() // 1000
        if near is None or "at" not in row
        else min(max(int(row["at"]), near[0]), near[1])
    )
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def line(row: Mapping[str, str]) -> Line:
    return Line(
        row["id"],
        int(row["at"]),
        row["clock"] == "1",
        row["service"],
        int(row["level"]),
        text_of(row),
        row.get("trace_id") or None,
    )


def text_of(row: Mapping[str, str]) -> str:
    return "" if row.get("blank") else row["_msg"]


def span(row: Mapping[str, str]) -> StoredSpan:
    return StoredSpan(
        row["trace_id"],
        row["span_id"],
        row.get("parent") or None,
        row["service"],
        "" if row["_msg"] == _BLANK else row["_msg"],
        int(row["at"]),
        float(row["duration"]),
        row["status"],
    )

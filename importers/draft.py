"""Incidents under way: rows go to disk as they come, and the files appear all together
when everything was read.

A draft keeps what an incident needs as a whole (services, when it was, metric points in 16 bytes each) and
spools the rest, so memory does not grow with a source. Rows that overlapping files share are dropped. An id
says nothing but that it is one: it is a digest, because names of files and folders often hold the answer.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from io import TextIOWrapper
from itertools import chain, pairwise
from math import isfinite
from pathlib import Path
from typing import IO, Any

from core.log_stores.ordering import mass
from core.service_names import MOST_LETTERS, service_name
from importers.clocks import iso
from importers.counting import Counts, ImportTrouble
from importers.labels import Label, truth_of
from importers.overlaps import Overlaps
from importers.rows import EventRow, LogRow, SpanRow

BATCH = 4000
"""Rows that are checked for overlaps and written together."""
MOST_MESSAGE = 64 << 10
MOST_OPERATION = 300
DESCRIPTION = "Something is wrong; users complain."
_MINUTE_NS = 60_000_000_000
_EARLIEST_NS, _LATEST_NS = -62_135_596_800 * 10**9, 253_402_300_799 * 10**9
"""The years 1 to 9999."""
_json = json.JSONEncoder(ensure_ascii=False).encode
"""Made once: `json.dumps` with an option makes an encoder for every row."""


class Output:
    """The folder that gets the files, all of them at the end."""

    def __init__(self, folder: Path, counts: Counts, *, description: str = "", time_hint: str = "") -> None:
        self.folder, self.counts = folder, counts
        self.description, self.time_hint = description, time_hint
        self.written: list[Path] = []
        self._scratch = Path()

    @contextmanager
    def opened(self) -> Iterator[Output]:
        """Write into a folder of its own, and move everything to its place when the block ends well."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._scratch = Path(tempfile.mkdtemp(prefix=".importing-", dir=self.folder))
        except OSError as trouble:
            raise ImportTrouble(
                f"{self.folder}: cannot be written ({trouble.strerror}); give another --out"
            ) from trouble
        try:
            yield self
            for path in self.written:
                os.replace(path, self.folder / path.name)
            self.written = [self.folder / path.name for path in self.written]
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @contextmanager
    def incident(self, key: str) -> Iterator[Draft]:
        """Collect one incident; its file is written when the block ends. `key` makes
        its id, and is not shown.
        """
        draft = Draft(f"inc-{digest(key)[:12]}", self.counts, self._scratch)
        try:
            yield draft
            written = draft.write(self.description, self.time_hint)
            self.written += [written] if written else []
        finally:
            draft.close()


def digest(text: str) -> str:
    """Return 16 hexadecimal digits that say nothing about the text."""
    return _digest_of(text).hexdigest()


def _digest_of(text: str) -> blake2b:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8)


class Draft:
    """One incident that is being collected."""

    def __init__(self, incident_id: str, counts: Counts, scratch: Path) -> None:
        self.id, self.counts = incident_id, counts
        self._digests = {kind: _digest_of(f"{incident_id} {kind} ") for kind in ("logs", "events")}
        """Digests of how ids begin; each id goes on with a number."""
        self._folder = Path(tempfile.mkdtemp(dir=scratch))
        self._logs, self._spans = self._spool("logs"), self._spool("spans")
        self._log_rows: list[LogRow] = []
        self._span_rows: list[SpanRow] = []
        self._log_overlaps, self._span_overlaps = Overlaps(), Overlaps()
        self._events: dict[EventRow, None] = {}
        self._points: dict[tuple[str, str], tuple[array[int], array[float]]] = defaultdict(
            lambda: (array("q"), array("d"))
        )
        self._edges: dict[tuple[str, str], None] = {}
        self._services: dict[str, None] = {}
        self._minutes: Counter[int] = Counter()
        self._kept: Counter[str] = Counter()
        self.label: Label | None = None

    def _spool(self, name: str) -> TextIOWrapper:
        return (self._folder / name).open("w+", encoding="utf-8", errors="replace")

    def close(self) -> None:
        """Free the disk."""
        self._logs.close()
        self._spans.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # ------------------------------------------------------------------------------------------- taking rows

    def next_file(self) -> None:
        """Say that the rows that follow come from another file, which may overlap with earlier ones."""
        self._flush()
        self._log_overlaps.next_file()
        self._span_overlaps.next_file()

    def log(self, row: LogRow) -> None:
        """Take a log line."""
        self._log_rows.append(row)
        if len(self._log_rows) >= BATCH:
            self._flush()

    def span(self, row: SpanRow) -> None:
        """Take a span."""
        self._span_rows.append(row)
        if len(self._span_rows) >= BATCH:
            self._flush()

    def event(self, row: EventRow) -> None:
        """Take an event."""
        if row in self._events:
            self.counts.drop("event that another file has too")
        else:
            self._events[row] = None
            self._service(row.service)

    def point(self, service: str, name: str, at_ns: int, value: float) -> None:
        """Take a point of a metric."""
        if not isfinite(value):
            self.counts.drop("metric point that is no finite number")
            return
        times, values = self._points[self._service(service), name]
        times.append(at_ns)
        values.append(value)

    def edge(self, caller: str, callee: str) -> None:
        """Take a call from one service to another."""
        self._edges[self._service(caller), self._service(callee)] = None

    def knows(self, service: str) -> bool:
        """Whether the service wrote anything so far."""
        return service in self._services

    def _service(self, name: str) -> str:
        safe = service_name(name)
        self._services[safe] = None
        return safe

    def _flush(self) -> None:
        logs, spans = self._log_rows, self._span_rows
        self._log_rows, self._span_rows = [], []
        for row, is_new in zip(logs, self._log_overlaps.is_new(logs), strict=True):
            if is_new or row.at_ns is None:
                self._write_log(row)
            else:
                self.counts.drop("row that an earlier file has too")
        for span, is_new in zip(spans, self._span_overlaps.is_new(spans), strict=True):
            if is_new:
                self._write_span(span)
            else:
                self.counts.drop("span that an earlier file has too")

    def _next_id(self, kind: str) -> str:
        self._kept[kind] += 1
        made = self._digests[kind].copy()
        made.update(b"%d" % self._kept[kind])
        return made.hexdigest()

    def _write_log(self, row: LogRow) -> None:
        if len(row.message) > MOST_MESSAGE:
            self.counts.repair("row of more than 64 kB cut")
            row = row._replace(message=row.message[:MOST_MESSAGE])
        at_ns = self._believable(row.at_ns)
        self._count_minute(at_ns)
        made = self._log_as_json(row, at_ns)
        _append(self._logs, made, self._kept["logs"])

    def _log_as_json(self, row: LogRow, at_ns: int | None) -> str:
        """Write a row by hand, which takes half the time: ids, names and clocks hold
        nothing that JSON escapes.
        """
        clock = "null" if at_ns is None else f'"{iso(at_ns)}"'
        made = (
            f'{{"id": "{self._next_id("logs")}", "timestamp": {clock}, "service": "{self._service(row.service)}", '
            f'"level": "{row.level}", "message": {_json(row.message)}'
        )
        if row.trace_id:
            made += f', "trace_id": "{_safe_id(row.trace_id)}"'
        if row.span_id:
            made += f', "span_id": "{_safe_id(row.span_id)}"'
        if row.attributes:
            made += f', "attributes": {_json(row.attributes)}'
        return made + "}"

    def _write_span(self, row: SpanRow) -> None:
        start_ns = self._believable(row.start_ns)
        if start_ns is None:
            self.counts.drop("span without a clock")
            return
        if row.duration_ns < 0:
            self.counts.repair("span that ended before it began")
        self._kept["spans"] += 1
        made: dict[str, Any] = {
            "trace_id": _safe_id(row.trace_id),
            "span_id": _safe_id(row.span_id),
            "service": self._service(row.service),
            "operation": row.operation[:MOST_OPERATION],
            "start": iso(start_ns),
            "duration_ms": max(0, row.duration_ns) / 1e6,
            "status": row.status,
        }
        if row.parent_span_id:
            made["parent_span_id"] = _safe_id(row.parent_span_id)
        self._count_minute(start_ns)
        _append(self._spans, _json(made), self._kept["spans"])

    def _believable(self, at_ns: int | None) -> int | None:
        if at_ns is None or _EARLIEST_NS <= at_ns <= _LATEST_NS:
            return at_ns
        self.counts.repair("clock outside the years 1 to 9999 taken away")
        return None

    def _count_minute(self, at_ns: int | None) -> None:
        if at_ns is not None:
            self._minutes[at_ns // _MINUTE_NS] += 1

    # ---------------------------------------------------------------------------------------------- writing

    def write(self, description: str, time_hint: str) -> Path | None:
        """Write the file and return its path; None when there is nothing to write."""
        self._flush()
        self.counts.rows.update(
            {
                "log lines": self._kept["logs"],
                "spans": self._kept["spans"],
                "metric points": sum(len(times) for times, _ in self._points.values()),
                "events": len(self._events),
            }
        )
        if not (self._kept["logs"] or self._kept["spans"] or self._points or self._events):
            self.counts.note("an incident without any row was left out")
            return None
        label = self.label
        if label:
            self._service(label.service)
        parts: dict[str, Any] = {
            "id": self.id,
            "description": (label.description if label else "") or description or DESCRIPTION,
            "time_hint": (label.time_hint if label else "") or time_hint or self._stretch_told(),
            "services": sorted(self._services),
            "topology": [{"caller": caller, "callee": callee} for caller, callee in sorted(self._edges)],
            **(truth_of(label) if label else {}),
        }
        kind = "scenario" if label else "incident"
        path = self._folder.parent / f"{kind}-{self.id}.json"
        with path.open("w", encoding="utf-8", errors="replace") as file:
            file.write(_json(parts)[:-1])
            for name, spool in (("logs", self._logs), ("spans", self._spans)):
                file.write(f', "{name}": [\n')
                file.flush()
                spool.seek(0)
                for content in iter(partial(spool.buffer.read, 1 << 20), b""):
                    file.buffer.write(bytes(content))
                file.write("]")
            _write_list(file, "events", map(self._event, self._events))
            _write_list(file, "metrics", (self._series(*named) for named in sorted(self._points)))
            file.write("}\n")
        return path

    def _event(self, row: EventRow) -> Mapping[str, Any]:
        at_ns = self._believable(row.at_ns)
        first_ns = self._believable(row.first_ns)
        made: dict[str, Any] = {
            "id": self._next_id("events"),
            "timestamp": None if at_ns is None else iso(at_ns),
            "service": service_name(row.service),
            "object": row.object[:500],
            "reason": row.reason[:200],
            "message": row.message[:MOST_MESSAGE],
            "type": "Warning" if row.warning else "Normal",
            "count": max(1, row.times),
        }
        return made | ({"first_timestamp": iso(first_ns)} if first_ns is not None else {})

    def _series(self, service: str, name: str) -> Mapping[str, Any]:
        """A series in time order; regular steps are written compactly."""
        times, values = self._points[service, name]
        points = sorted(dict(zip(times, values, strict=True)).items())
        steps = {later[0] - earlier[0] for earlier, later in pairwise(points)}
        if len(steps) == 1 and len(points) > 2:
            step_s, start = steps.pop() / 1e9, iso(points[0][0])
            return {"service": service, "name": name, "start": start, "step_s": step_s,
                    "values": [value for _, value in points]}  # fmt: skip
        return {"service": service, "name": name, "points": [[iso(at_ns), value] for at_ns, value in points]}

    def _other_minutes(self) -> set[int]:
        """When metrics and events are: they say when it was where there are no lines and no spans."""
        points = chain.from_iterable(times for times, _ in self._points.values())
        events = (row.at_ns for row in self._events if row.at_ns is not None)
        return {at_ns // _MINUTE_NS for at_ns in chain(points, events) if self._believable(at_ns) is not None}

    def _stretch_told(self) -> str:
        """When most rows are, in words; clocks far from the mass are left aside."""
        minutes = sorted(self._minutes or self._other_minutes())
        if not minutes:
            return "an unknown time"
        first, last = mass([minute * 60_000_000 for minute in minutes])
        begin, end = (datetime.fromtimestamp(minutes[place] * 60, UTC) for place in (first, last))
        if begin.date() == end.date():
            return f"{begin:%Y-%m-%d}, {begin:%H:%M} to {end:%H:%M} UTC"
        return f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


def _safe_id(text: str) -> str:
    """Return an id as a name. Most are safe as they are, and as each is another one, no cache helps."""
    return text if len(text) <= MOST_LETTERS and text.isascii() and text.isalnum() else service_name(text)


def _append(spool: IO[str], row: str, number: int) -> None:
    spool.write(f",\n{row}" if number > 1 else row)


def _write_list(file: IO[str], name: str, rows: Iterator[Mapping[str, Any]]) -> None:
    file.write(f', "{name}": [')
    for number, row in enumerate(rows, 1):
        _append(file, _json(row), number)
    file.write("]")

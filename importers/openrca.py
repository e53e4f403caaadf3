"""OpenRCA's telemetry: `record.csv` and `telemetry/YYYY_MM_DD/{log,metric,trace}/*.csv`, a
scenario for each record.

Bank, Telecom and Market name their columns differently; what a file holds is seen at its header. Days and the
clock of a record's text are of UTC+8; the numbers are seconds or milliseconds of UTC. An incident is the half
hour of its record and the one before, which is healthy. A day is read once for all its records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from core.service_names import UNNAMED, service_name
from importers.clocks import SECOND_NS, moment
from importers.counting import ImportTrouble
from importers.draft import Draft, Output
from importers.labels import Label, vague
from importers.levels import level_in
from importers.options import Options
from importers.rcaeval import status_of
from importers.reading import Source
from importers.rows import LogRow, SpanRow
from project_types import Window

_CHINA = timezone(timedelta(hours=8))
_HALF_HOUR = timedelta(minutes=30)
_RECORD = ("component", "timestamp", "reason")
_NODE = re.compile(r"^node-\d+\.")
_NO_PARENT = {"", "None", "nan", "-1"}
_NOT_VALUES = {
    "timestamp",
    "service",
    "tc",
    "cmdb_id",
    "itemid",
    "bomc_id",
    "name",
    "kpi_name",
    "value",
    "startTime",
}
Row = Mapping[str, str]


class Record(NamedTuple):
    """One labelled fault."""

    component: str
    reason: str
    at: datetime
    """UTC."""

    @property
    def window(self) -> tuple[datetime, datetime]:
        """Return the half hour before the one in which the fault began, and the end of that."""
        begins = self.at.replace(minute=self.at.minute // 30 * 30, second=0, microsecond=0)
        return begins - _HALF_HOUR, begins + _HALF_HOUR


class _Case(NamedTuple):
    first_ns: int
    last_ns: int
    draft: Draft


def read(source: Source, output: Output, options: Options) -> None:
    """Write a scenario for each record. Raises ImportTrouble when there is none."""
    with source.folder() as folder:
        found = sorted(folder.rglob("record.csv"))
        if not found:
            raise ImportTrouble(
                f"{source.where}: holds no record.csv; give a folder such as Bank or Market/cloudbed-1"
            )
        for path in found:
            _read_system(source, path, output, path.parent.relative_to(folder).as_posix())


def records(source: Source, path: Path) -> Iterator[Record]:
    """Yield the faults of a list."""
    for line, row in source.open_table(path, _RECORD):
        at_ns = moment(row["timestamp"])
        if at_ns is None or not row["component"]:
            raise ImportTrouble(f"{path}:{line}: has no time or no component; mend or remove the row")
        yield Record(row["component"], row["reason"], datetime.fromtimestamp(at_ns // SECOND_NS, UTC))


def _read_system(source: Source, path: Path, output: Output, name: str) -> None:
    by_day: dict[str, list[Record]] = {}
    for record in records(source, path):
        by_day.setdefault(f"{record.at.astimezone(_CHINA):%Y_%m_%d}", []).append(record)
    for day, found in sorted(by_day.items()):
        folder = path.parent / "telemetry" / day
        if not folder.is_dir():
            source.counts.note(f"telemetry/{day} is missing; {len(found)} faults of that day were left out")
            continue
        with ExitStack() as stack:
            cases = [
                _opened(stack, output, record, f"openrca {name} {day} {n}") for n, record in enumerate(found)
            ]
            for file in sorted(folder.rglob("*.csv*")):
                for case in cases:
                    case.draft.next_file()
                _read_file(source, file, cases)


def _opened(stack: ExitStack, output: Output, record: Record, key: str) -> _Case:
    draft = stack.enter_context(output.incident(key))
    begins, ends = record.window
    middle = begins + _HALF_HOUR
    draft.label = Label(
        component(record.component),
        record.reason,
        vague(key),
        f"{middle:%H:%M} to {ends:%H:%M}",
        "OpenRCA",
        None,
        Window(start=begins, end=middle),
    )
    return _Case(round(begins.timestamp()) * SECOND_NS, round(ends.timestamp()) * SECOND_NS, draft)


def component(name: str) -> str:
    """Return the component of a name; a container's node is left out."""
    return service_name(_NODE.sub("", name), UNNAMED)


def _read_file(source: Source, path: Path, cases: Sequence[_Case]) -> None:
    for _, row in source.open_table(path, ()):
        at_ns = moment(row.get("timestamp") or row.get("startTime"))
        if at_ns is None:
            source.counts.drop("row without a clock")
            continue
        into = [case.draft for case in cases if case.first_ns <= at_ns < case.last_ns]
        for draft in into:
            if path.parent.name == "trace":
                _span(row, at_ns, draft)
            elif path.parent.name == "log":
                text = row.get("value") or row.get("message") or ""
                draft.log(LogRow(at_ns, component(row.get("cmdb_id", "")), level_in(text), text))
            else:
                _points(row, at_ns, draft)


def _first(row: Row, *names: str) -> str:
    return next((row[name] for name in names if row.get(name)), "")


def _span(row: Row, at_ns: int, draft: Draft) -> None:
    trace, span = _first(row, "trace_id", "traceId"), _first(row, "span_id", "id")
    parent = _first(row, "parent_span", "parent_id", "pid")
    try:
        took = float(_first(row, "duration", "elapsedTime"))
    except ValueError:
        took = -1.0
    if not trace or not span or took < 0:
        draft.counts.drop("span without an id or a duration")
        return
    # Market counts microseconds, the others milliseconds
    unit = 1000 if "operation_name" in row else 1_000_000
    named = _first(row, "operation_name", "serviceName", "dsName", "callType", "type") or "call"
    status = {"True": "ok", "False": "error"}.get(row.get("success", "")) or status_of(row.get("status_code"))
    draft.span(
        SpanRow(
            trace, span, None if parent in _NO_PARENT else parent, component(row.get("cmdb_id", "")), named, at_ns,
            round(took * unit), status,
        )
    )  # fmt: skip


def _points(row: Row, at_ns: int, draft: Draft) -> None:
    """Take one value with its name, or a table's row of several values."""
    service = component(_first(row, "cmdb_id", "service", "tc"))
    kpi = _first(row, "kpi_name", "name")
    values = (
        {kpi: row["value"]}
        if kpi and "value" in row
        else {k: v for k, v in row.items() if k not in _NOT_VALUES}
    )
    for name, text in values.items():
        try:
            draft.point(service, name, at_ns, float(text))
        except ValueError:
            draft.counts.drop("metric point that is no number")

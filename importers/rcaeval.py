"""RCAEval's cases (RE1, RE2, RE3): a folder with `inject_time.txt` is a case, and becomes a scenario.

Older archives nest `RE2-TT/SERVICE_FAULT/N/`, newer ones name one folder `re2tt_SERVICE_FAULT_N/`; both names
are the label, and so neither reaches an agent. Logs, traces and metrics have clocks of their own units. Of
several files of metrics the most detailed one is read. Not read: the files that baselines aggregate
beforehand (logts, tracets).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from core.service_names import UNNAMED, service_name
from importers.clocks import SECOND_NS, moment, of_number
from importers.counting import ImportTrouble
from importers.draft import Draft, Output
from importers.labels import Label, vague
from importers.levels import level_in, level_named
from importers.options import Options
from importers.parquet import parquet_rows
from importers.reading import Source, SourceFile
from importers.rows import LogRow, SpanRow
from project_types import Window

_CASE = re.compile(r"re\d(?:ob|ss|tt)_(?P<service>.+)_(?P<fault>[a-z0-9]+)_\d+", re.IGNORECASE)
_FOLDER = re.compile(r"(?P<service>.+)_(?P<fault>[a-z0-9]+)", re.IGNORECASE)
_METRICS = ("metrics.json", "metrics.parquet", "metrics.csv", "simple_metrics.csv", "data.csv")
_LOG = ("timestamp", "container_name", "message")
_SPAN = ("traceID", "spanID", "serviceName", "startTime", "duration")
_AROUND_NS = 720 * SECOND_NS
_BASELINE = timedelta(minutes=10)
_OTHER_METRICS = {"time", "timestamp", "time.1"}


class Case(NamedTuple):
    """One case and its label."""

    folder: Path
    service: str
    fault: str
    injected: datetime


def read(source: Source, output: Output, options: Options) -> None:
    """Write a scenario for each case. Raises ImportTrouble when there is none."""
    with source.folder() as folder:
        found = list(cases(folder))
        if not found:
            raise ImportTrouble(
                f"{source.where}: no folder holds inject_time.txt; give the unpacked archive of RCAEval"
            )
        for case in found:
            _write(source, case, output, case.folder.relative_to(folder).as_posix())


def cases(folder: Path) -> Iterator[Case]:
    """Yield the cases below a folder, by name."""
    for path in sorted(folder.rglob("inject_time.txt")):
        named = _CASE.fullmatch(path.parent.name) or _FOLDER.fullmatch(path.parent.parent.name)
        if not named:
            raise ImportTrouble(
                f"{path.parent}: is named neither re2tt_SERVICE_FAULT_N nor SERVICE_FAULT/N; rename it"
            )
        at_ns = moment(path.read_text(encoding="utf-8", errors="replace"))
        if at_ns is None:
            raise ImportTrouble(f"{path}:1: holds no time in seconds; download it again")
        injected = datetime.fromtimestamp(at_ns // SECOND_NS, UTC)
        yield Case(path.parent, service_name(named["service"]), named["fault"].lower(), injected)


def _write(source: Source, case: Case, output: Output, key: str) -> None:
    with output.incident(f"rcaeval {key}") as draft:
        window = _Window(case, draft)
        for path in sorted(case.folder.glob("logs.*")):
            window.take("logs", _log_rows(source, path), draft.log)
        for path in sorted(case.folder.glob("traces.*")):
            window.take("traces", _spans(source, path), draft.span)
        metrics = next((path for name in _METRICS if (path := case.folder / name).exists()), None)
        if metrics is not None:
            _read_metrics(source, metrics, draft, case)
        begins = case.injected.replace(second=0, microsecond=0)
        draft.label = Label(
            case.service, case.fault, vague(key), f"{begins:%H:%M}", "RCAEval", "MIT",
            Window(start=begins - _BASELINE, end=begins),
        )  # fmt: skip


class _Window:
    """Twelve minutes on both sides of the injection: what every file of a case must overlap with."""

    def __init__(self, case: Case, draft: Draft) -> None:
        at_ns = round(case.injected.timestamp()) * SECOND_NS
        self._first, self._last = at_ns - _AROUND_NS, at_ns + _AROUND_NS
        self._draft = draft

    def take(self, what: str, rows: Iterator[Any], take: Callable[[Any], None]) -> None:
        """Take the rows; say so when none is of that time, because then a clock was read wrongly."""
        inside = outside = 0
        for row in rows:
            at_ns = row.start_ns if isinstance(row, SpanRow) else row.at_ns
            inside, outside = (
                (inside + 1, outside)
                if at_ns and self._first <= at_ns <= self._last
                else (inside, outside + 1)
            )
            take(row)
        if outside and not inside:
            self._draft.counts.note(f"a case's {what} are not of the time of its injection")


def _rows(source: Source, path: Path, needed: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    if path.suffix == ".parquet":
        source.counts.files += 1
        yield from parquet_rows(path, needed, source.counts)
    else:
        yield from (row for _, row in source.open_table(path, needed))


def _log_rows(source: Source, path: Path) -> Iterator[LogRow]:
    for row in _rows(source, path, _LOG):
        message = str(row["message"] or "").rstrip()
        error = str(row.get("error") or "")
        if not message:
            source.counts.drop("empty log line")
            continue
        level = level_named(row.get("level")) or level_in(message)
        text = f"{message} {error}" if error and error not in message else message
        yield LogRow(moment(row["timestamp"]), str(row["container_name"] or UNNAMED), level, text)


def _spans(source: Source, path: Path) -> Iterator[SpanRow]:
    for row in _rows(source, path, _SPAN):
        try:
            start_ns, duration_ns = of_number(int(row["startTime"])), int(float(row["duration"])) * 1000
        except (TypeError, ValueError):
            start_ns, duration_ns = None, 0
        if start_ns is None or not row["traceID"] or not row["spanID"]:
            source.counts.drop("span without a clock or an id")
            continue
        operation = str(row.get("operationName") or row.get("methodName") or "")
        ids = str(row["traceID"]), str(row["spanID"]), str(row.get("parentSpanID") or "") or None
        yield SpanRow(*ids, str(row["serviceName"] or UNNAMED), operation, start_ns, duration_ns,
                      status_of(row.get("statusCode")))  # fmt: skip


def status_of(code: Any) -> str:
    """Return what a status code of gRPC or HTTP says."""
    text = str(code if code is not None else "").removesuffix(".0").strip()
    if not text.isdecimal():
        return {"OK": "ok", "ERROR": "error"}.get(text.upper(), "unknown")
    return "ok" if text == "0" or 100 <= int(text) < 400 else "error"


# --------------------------------------------------------------------------------------------------- metrics


def _read_metrics(source: Source, path: Path, draft: Draft, case: Case) -> None:
    if path.suffix == ".json":
        _read_json_metrics(source, path, draft, case)
        return
    for row in _rows(source, path, ("time",)):
        at_ns = moment(row["time"])
        if at_ns is None:
            source.counts.drop("metric row without a clock")
            continue
        for column, value in row.items():
            if column not in _OTHER_METRICS and value not in (None, ""):
                _point(draft, case, column, at_ns, value)


def _read_json_metrics(source: Source, path: Path, draft: Draft, case: Case) -> None:
    """Read an object of column and [[seconds, value or null], ...]."""
    with path.open("rb") as content:
        file = SourceFile(str(path), content, datetime.now(UTC))
        source.counts.files += 1
        for element in source.elements(file, [()]):
            if not isinstance(element.value, dict):
                raise ImportTrouble(f"{path}:{element.line}: is no object of metrics; download it again")
            for column, points in element.value.items():
                for at, value in points:
                    at_ns = moment(at)
                    if at_ns is not None and value is not None:
                        _point(draft, case, column, at_ns, value)


def _point(draft: Draft, case: Case, column: str, at_ns: int, value: Any) -> None:
    service, name = owner_of(column, case, draft)
    try:
        draft.point(service, name, at_ns, float(value))
    except (TypeError, ValueError):
        draft.counts.drop("metric point that is no number")


def owner_of(column: str, case: Case, draft: Draft) -> tuple[str, str]:
    """Divide a column's name into service and metric: either may hold an underscore."""
    parts = column.split("_")
    for cut in range(len(parts) - 1, 0, -1):
        service = "_".join(parts[:cut])
        if service == case.service or draft.knows(service):
            return service, "_".join(parts[cut:])
    service, _, name = column.rpartition("_")
    return (service, name) if service else (UNNAMED, column)

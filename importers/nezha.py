"""The Nezha data set: `rca_data/DAY/{log,trace,metric}/...` and `DAY-fault_list.json`,
a scenario for each fault.

A fault's files are those of its minute and the two that follow. `inject_time` is on the clock of the logs;
`inject_timestamp` is hours off and is not read. The rows of a pod belong to its service. What was before the
injection is healthy. Descriptions are made up and vague, because the source has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from core.service_names import workload
from importers.clocks import SECOND_NS, moment
from importers.counting import ImportTrouble
from importers.draft import Draft, Output
from importers.labels import Label, vague
from importers.levels import level_in, level_named
from importers.options import Options
from importers.reading import Source
from importers.rows import LogRow, SpanRow
from project_types import Window

MINUTES = 3
_LOG = ("Timestamp", "PodName", "TraceID", "SpanID", "Log")
_SPAN = ("TraceID", "SpanID", "ParentID", "PodName", "OperationName", "StartTimeUnixNano", "EndTimeUnixNano")
_HEAD = re.compile(r"^\d\d:\d\d:\d\d\.\d+ +(?:(?P<level>[A-Z]{4,5}) +)?")
"""The pod's own clock, which is of another zone, and the level."""
_IDS = re.compile(r"TraceID: \S+ SpanID: \S+ ")
"""Said again in the row's own fields."""
_NO_PARENT = {"root", "0", ""}
_METRICS_BEFORE, _METRICS_AFTER = timedelta(minutes=30), timedelta(minutes=MINUTES)


def read(source: Source, output: Output, options: Options) -> None:
    """Write a scenario for each fault. Raises ImportTrouble when there is no list of faults."""
    with source.folder() as folder:
        lists = sorted(folder.rglob("*-fault_list.json"))
        if not lists:
            raise ImportTrouble(f"{source.where}: holds no DAY-fault_list.json; give the folder rca_data")
        for path in lists:
            for fault in faults(path):
                _write(source, path.parent, fault, output)


def faults(path: Path) -> Iterator[Mapping[str, str]]:
    """Yield the faults of a day, in the order of the list."""
    try:
        found = json.loads(path.read_bytes())
        for hour in found.values():
            for fault in hour:
                datetime.fromisoformat(fault["inject_time"])
                workload(fault["inject_pod"]), fault["inject_type"]
                yield fault
    except (ValueError, TypeError, LookupError, AttributeError) as trouble:
        raise ImportTrouble(f"{path}: is no list of faults by hour ({trouble}); export it again") from trouble


def _write(source: Source, day: Path, fault: Mapping[str, str], output: Output) -> None:
    injected = datetime.fromisoformat(fault["inject_time"]).replace(tzinfo=UTC)
    key = f"nezha {fault['inject_time']} {fault['inject_pod']}"
    minutes = [injected + timedelta(minutes=number) for number in range(MINUTES)]
    logs = [path for at in minutes for path in [day / "log" / f"{at:%H_%M}_log.csv"] if path.exists()]
    if not logs:
        output.counts.note(f"{day.name}: {injected:%H:%M} has no log files; that fault was left out")
        return
    with output.incident(key) as draft:
        for path in logs:
            draft.next_file()
            _read_logs(source, path, draft)
            if (spans := day / "trace" / path.name.replace("_log", "_trace")).exists():
                _read_spans(source, spans, draft)
        for path in sorted((day / "metric").glob("*.csv")):
            _read_metrics(source, path, draft, injected)
        begins = injected.replace(second=0)
        draft.label = Label(
            workload(fault["inject_pod"]),
            fault["inject_type"],
            vague(key),
            f"{injected:%H:%M}",
            "Nezha TrainTicket",
            "MIT",
            Window(start=begins - timedelta(minutes=2), end=begins),
        )


def _read_logs(source: Source, path: Path, draft: Draft) -> None:
    for _, row in source.open_table(path, _LOG):
        text = _said(row["Log"]).rstrip()
        if not text:
            source.counts.drop("empty log line")
            continue
        head = _HEAD.match(text)
        level = level_named(head["level"]) if head else None
        message = _IDS.sub("", text[head.end() :] if head else text, count=1)
        draft.log(
            LogRow(
                moment(row["Timestamp"]),
                workload(row["PodName"]),
                level or level_in(text),
                message,
                row["TraceID"] or None,
                row["SpanID"] or None,
            )
        )


def _said(cell: str) -> str:
    """Return what docker's JSON around a line holds."""
    try:
        found: Any = json.loads(cell)
    except ValueError:
        return cell
    return str(found.get("log", cell)) if isinstance(found, dict) else cell


def _read_spans(source: Source, path: Path, draft: Draft) -> None:
    for _, row in source.open_table(path, _SPAN):
        try:
            start, end = int(row["StartTimeUnixNano"]), int(row["EndTimeUnixNano"])
        except ValueError:
            source.counts.drop("span without a clock")
            continue
        parent = None if row["ParentID"] in _NO_PARENT else row["ParentID"]
        named = (row["TraceID"], row["SpanID"], parent, workload(row["PodName"]), row["OperationName"])
        draft.span(SpanRow(*named, start, end - start, "unknown"))


def _read_metrics(source: Source, path: Path, draft: Draft, injected: datetime) -> None:
    """Take a pod's metrics from half an hour before to the end of the incident."""
    first = (injected - _METRICS_BEFORE).timestamp() * SECOND_NS
    last = (injected + _METRICS_AFTER).timestamp() * SECOND_NS
    for _, row in source.open_table(path, ("Time",)):
        at_ns = moment(row["Time"])  # TimeStamp is hours off
        if at_ns is None or not first <= at_ns <= last:
            continue
        service = workload(row.get("PodName") or row.get("ServiceName") or path.stem)
        for name, text in row.items():
            if name in ("Time", "TimeStamp", "PodName", "ServiceName"):
                continue
            try:
                draft.point(service, name, at_ns, float(text))
            except ValueError:
                source.counts.drop("metric point that is no number")

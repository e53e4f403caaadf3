"""Datapacks of rcabench (OpenRCA 2): parquet of a normal and an abnormal stretch,
`injection.json`, `env.json`.

A folder with `injection.json` is a datapack and becomes a scenario; its name is the label and is not shown.
The normal stretch is the healthy baseline. Histograms and sums of metrics are not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.service_names import UNNAMED, service_name
from importers.clocks import SECOND_NS, moment
from importers.counting import ImportTrouble
from importers.draft import Draft, Output
from importers.labels import Label, vague
from importers.levels import level_in, level_named
from importers.options import Options
from importers.parquet import parquet_rows
from importers.reading import Source
from importers.rows import LogRow, SpanRow, as_attributes
from project_types import UNKNOWN, Window

_LOG = ("time", "service_name", "message")
_SPAN = ("time", "trace_id", "span_id", "service_name", "span_name", "duration")
_METRIC = ("time", "metric", "value", "service_name")
_STATUS = {"error": "error", "ok": "ok", "status_code_error": "error", "status_code_ok": "ok"}
_MOST_NAME = 300


def read(source: Source, output: Output, options: Options) -> None:
    """Write a scenario for each datapack. Raises ImportTrouble when there is none."""
    with source.folder() as folder:
        found = sorted(folder.rglob("injection.json"))
        if not found:
            raise ImportTrouble(f"{source.where}: no folder holds injection.json; give a folder of datapacks")
        for path in found:
            key = f"rcabench {path.parent.relative_to(folder).as_posix()}"
            with output.incident(key) as draft:
                _read_pack(source, path, draft, key)


def _read_pack(source: Source, path: Path, draft: Draft, key: str) -> None:
    injection = _object(path)
    normal: list[int] = []
    for stretch in ("normal", "abnormal"):
        for row in _rows(source, path.parent / f"{stretch}_logs.parquet", _LOG):
            text = str(row["message"] or "")
            level = level_named(row.get("level")) or level_in(text)
            ids = row.get("trace_id") or None, row.get("span_id") or None
            draft.log(
                LogRow(row["time"], str(row["service_name"] or UNNAMED), level, text, *ids, _attributes(row))
            )
            _widen(normal, row["time"], stretch)
        for row in _rows(source, path.parent / f"{stretch}_traces.parquet", _SPAN):
            draft.span(_span(row))
            _widen(normal, row["time"], stretch)
        for row in _rows(source, path.parent / f"{stretch}_metrics.parquet", _METRIC):
            if row["value"] is not None:
                draft.point(
                    str(row["service_name"] or UNNAMED), _series(row), row["time"], float(row["value"])
                )
    draft.label = _label(injection, path, key, normal)


def _rows(source: Source, path: Path, needed: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    if not path.exists():
        source.counts.drop("file of a datapack that is missing")
        return
    source.counts.files += 1
    for row in parquet_rows(path, needed, source.counts):
        at_ns = moment(row["time"])
        if at_ns is None:
            source.counts.drop("row without a clock")
        else:
            yield {**row, "time": at_ns}


def _widen(normal: list[int], at_ns: int, stretch: str) -> None:
    """Remember the first and the last moment of the normal stretch."""
    if stretch == "normal":
        normal[:] = [min([*normal, at_ns]), max([*normal, at_ns])]


def _span(row: Mapping[str, Any]) -> SpanRow:
    status = _STATUS.get(str(row.get("attr.status_code") or "").lower(), "unknown")
    parent = row.get("parent_span_id") or None
    service, operation = str(row["service_name"] or UNNAMED), str(row["span_name"] or "")
    return SpanRow(
        str(row["trace_id"]),
        str(row["span_id"]),
        parent,
        service,
        operation,
        row["time"],
        int(row["duration"] or 0),
        status,
    )


def _attributes(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return as_attributes(
        {key[5:]: value for key, value in row.items() if key.startswith("attr.") and value is not None}
    )


def _series(row: Mapping[str, Any]) -> str:
    """Name a series: the metric, and what else tells series of one service apart."""
    labels = {
        key[5:]: value
        for key, value in sorted(row.items())
        if key.startswith("attr.") and value not in (None, "")
    }
    told = ",".join(f"{key}={value}" for key, value in labels.items())
    return (f"{row['metric']}{{{told}}}" if told else str(row["metric"]))[:_MOST_NAME]


def _object(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as trouble:
        raise ImportTrouble(f"{path}: is no JSON ({trouble}); download the datapack again") from trouble
    if not isinstance(found, dict):
        raise ImportTrouble(f"{path}: is no JSON object; download the datapack again")
    return found


def _label(injection: Mapping[str, Any], path: Path, key: str, normal: list[int]) -> Label:
    truth = injection.get("ground_truth") or {}
    services = truth.get("service") if isinstance(truth, dict) else None
    service = str(services[0]) if isinstance(services, list) and services else injection.get("target_service")
    fault = injection.get("fault_type")
    if not isinstance(fault, str) or fault.isdecimal():  # a number that only its generator knows
        fault = str(injection.get("injection_name") or path.parent.name).replace(str(service), "")
    start = moment(injection.get("start_time"))
    hint = datetime.fromtimestamp(start // SECOND_NS, UTC).strftime("%H:%M") if start else ""
    baseline = None
    if normal:
        ends = [datetime.fromtimestamp(at_ns / SECOND_NS, UTC) for at_ns in normal]
        baseline = Window(start=ends[0], end=ends[1])
    return Label(
        service_name(str(service)) if service else UNKNOWN,
        fault,
        vague(key),
        hint,
        "rcabench",
        None,
        baseline,
    )

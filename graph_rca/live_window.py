"""A sliding window of a live system as an incident: series and calls, log lines, traces, each from its server.

A server that does not answer is said, and the others still count. Only when none answers there is an error, because
silence would look like health. Lines are bounded: of a busy system each part of the window gives its first ones.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from graph_rca.prometheus_window import series_of, topology_of
from graph_rca.topology import ServiceGraph
from importers.asking import ask
from importers.command import import_source
from importers.counting import Counts, ImportTrouble
from importers.draft import Output
from importers.options import Options
from importers.reading import Source
from project_types import Edge, Incident, LogRecord, MetricSeries, Span, Window, read_incident

PARTS, LINES_OF_A_PART = 10, 1500
"""Lines are asked for in so many stretches, at most so many in each: 10,000 lines a second must not fill memory."""
TRACES_OF_A_SERVICE = 200
Found = TypeVar("Found")


class Sources(NamedTuple):
    """Where to look. Only what has an address is asked."""

    prometheus: str
    loki: str | None = None
    loki_query: str = ""
    jaeger: str | None = None


class LiveWindow(NamedTuple):
    """A window as an incident."""

    incident: Incident
    topology: ServiceGraph | None
    missing: Sequence[str]
    """What was asked for and not found."""
    silent: Sequence[str]
    """Which servers did not answer, and why."""


def look(sources: Sources, now: datetime, minutes: float) -> LiveWindow | None:
    """Ask for a window that ends now; None when nothing at all was found.

    Raises:
        ImportTrouble: no server answers.
    """
    window = Window(start=now - timedelta(minutes=minutes), end=now)
    missing: list[str] = []
    silent: list[str] = []

    def answer(name: str, asked: Callable[[], Found], otherwise: Found) -> Found:
        try:
            return asked()
        except ImportTrouble as trouble:
            silent.append(f"{name}: {trouble}")
            return otherwise

    none: tuple[list[MetricSeries], list[str]] = ([], [])
    series, lacking = answer("metrics", lambda: series_of(sources.prometheus, window), none)
    missing += lacking
    topology = None
    if not silent:
        topology = answer("calls", lambda: topology_of(sources.prometheus, now, minutes, missing), None)
    logs, spans = _lines_and_spans(sources, window, missing, answer)
    if not series and not logs and not spans:
        if silent:
            raise ImportTrouble("; ".join(silent))
        return None
    return LiveWindow(_incident(window, series, logs, spans, topology), topology, missing, silent)


def _lines_and_spans(
    sources: Sources, window: Window, missing: list[str], answer: Callable[[str, Callable[[], Any], Any], Any]
) -> tuple[Sequence[LogRecord], Sequence[Span]]:
    logs: Sequence[LogRecord] = ()
    spans: Sequence[Span] = ()
    if loki := sources.loki:
        logs = answer("logs", lambda: _logs(loki, sources.loki_query, window, missing), ())
    if jaeger := sources.jaeger:
        spans = answer("traces", lambda: _spans(jaeger, window), ())
    return logs, spans


def _incident(
    window: Window, series: Sequence[MetricSeries], logs: Sequence[LogRecord], spans: Sequence[Span],
    topology: ServiceGraph | None,
) -> Incident:  # fmt: skip
    split = window.start + (window.end - window.start) / 2
    calls = tuple(Edge(caller=one.caller, callee=one.callee) for one in topology.calls) if topology else ()
    names = set(topology.services if topology else ())
    for rows in (series, logs, spans):
        names |= {str(one.service) for one in rows}
    return Incident(
        id=f"live-{window.end:%Y%m%dT%H%M%S}", description="A live window.", time_hint="now",
        services=tuple(sorted(names)), logs=tuple(logs), spans=tuple(spans), metrics=tuple(series), topology=calls,
        baseline=Window(start=window.start, end=split),
    )  # fmt: skip


def _logs(loki: str, query: str, window: Window, missing: list[str]) -> Sequence[LogRecord]:
    """Return the first lines of each part of the window. Raises ImportTrouble."""
    step = (window.end - window.start) / PARTS
    streams: list[Any] = []
    full = 0
    for number in range(PARTS):
        start = window.start + number * step
        asked: dict[str, str | int] = {
            "query": query, "start": _ns(start), "end": _ns(start + step), "limit": LINES_OF_A_PART,
            "direction": "forward",
        }  # fmt: skip
        found = _result(ask(loki, "/loki/api/v1/query_range", asked), loki)
        full += sum(len(one.get("values", ())) for one in found) >= LINES_OF_A_PART
        streams += found
    if full:
        missing.append(
            f"log lines beyond the first {LINES_OF_A_PART} in {full} of {PARTS} parts of the window"
        )
    answer = {"data": {"resultType": "streams", "result": streams}}
    return _imported("loki", answer).logs if streams else ()


def _result(answer: Any, loki: str) -> list[Any]:
    try:
        return list(answer["data"]["result"])
    except (LookupError, TypeError) as trouble:
        raise ImportTrouble(
            f"{loki}: the answer is none of Loki's; give the server's own address"
        ) from trouble


def _ns(moment: datetime) -> int:
    return round(moment.timestamp()) * 10**9


def _spans(jaeger: str, window: Window) -> Sequence[Span]:
    """Return the spans of a Jaeger, the first traces of each service. Raises ImportTrouble."""
    start, end = (round(one.timestamp() * 1e6) for one in (window.start, window.end))
    traces: dict[str, Any] = {}
    try:
        for service in ask(jaeger, "/api/services", {})["data"] or ():
            asked: dict[str, str | int] = {
                "service": str(service), "start": start, "end": end, "limit": TRACES_OF_A_SERVICE,
            }  # fmt: skip
            traces |= {str(one["traceID"]): one for one in ask(jaeger, "/api/traces", asked)["data"]}
    except (LookupError, TypeError) as trouble:
        raise ImportTrouble(f"{jaeger}: the answer is none of Jaeger's; give its query address") from trouble
    return _imported("jaeger", {"data": list(traces.values())}).spans if traces else ()


def _imported(name: str, answer: Any) -> Incident:
    """Return what the importer of that name makes of an answer."""
    counts = Counts()
    with tempfile.TemporaryDirectory(prefix="window-") as scratch:
        file = Path(scratch) / "answer.json"
        file.write_text(json.dumps(answer), encoding="utf-8")
        (path,) = import_source(
            name, Source(str(file), counts), Output(Path(scratch) / "out", counts), Options()
        )
        return read_incident(path)

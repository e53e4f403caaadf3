"""A sliding window of a live system as an incident: series and calls, log lines,
traces, each from its server.

A server that does not answer is said, and the others still count. Only when none answers there is an error,
because silence would look like health. Lines are those of `live_lines`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from graph_rca.imported import imported
from graph_rca.live_lines import loki_lines, victorialogs_lines
from graph_rca.prometheus_window import series_of, topology_of
from graph_rca.topology import ServiceGraph
from importers.asking import ask, no_answer_of
from importers.counting import ImportTrouble
from project_types import Edge, Incident, LogRecord, MetricSeries, Span, Window

TRACES_OF_A_SERVICE = 200
Found = TypeVar("Found")


class Sources(NamedTuple):
    """Where to look. Only what has an address is asked."""

    prometheus: str
    loki: str | None = None
    loki_query: str = ""
    jaeger: str | None = None
    victorialogs: str | None = None
    victorialogs_query: str = "*"


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
        logs = answer("logs", lambda: loki_lines(loki, sources.loki_query, window, missing), ())
    if victorialogs := sources.victorialogs:
        query = sources.victorialogs_query
        logs = answer("logs", lambda: victorialogs_lines(victorialogs, query, window, missing), ())
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
        raise no_answer_of("Jaeger", jaeger) from trouble
    return imported("jaeger", json.dumps({"data": list(traces.values())})).spans if traces else ()

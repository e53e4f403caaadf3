"""A sliding window of a live system as an incident: series and calls of a Prometheus, lines of a Loki.

The names asked for are those of Istio, of OpenTelemetry's service graph, and of cAdvisor. A query that finds nothing is
no error: it is said as missing. A server that does not answer is an error, because silence would look like health.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from core.service_names import service_name, workload
from graph_rca.topology import ServiceGraph, TopologyError, from_prometheus
from importers.asking import ask
from importers.command import import_source
from importers.counting import Counts
from importers.draft import Output
from importers.options import Options
from importers.reading import Source
from project_types import Edge, Incident, LogRecord, MetricSeries, Window, read_incident

STEP_S = 15
_ISTIO, _OTEL = "destination_workload", "server"
_OWNERS = (_ISTIO, _OTEL, "container")
SERIES: Mapping[str, Sequence[str]] = {
    "requests": (f"sum by ({_ISTIO}) (rate(istio_requests_total[60s]))",
                 f"sum by ({_OTEL}) (rate(traces_service_graph_request_total[60s]))"),
    "errors": (f'sum by ({_ISTIO}) (rate(istio_requests_total{{response_code=~"5..|0"}}[60s]))',
               f"sum by ({_OTEL}) (rate(traces_service_graph_request_failed_total[60s]))"),
    "latency_p95_ms": (
        f"histogram_quantile(0.95, sum by ({_ISTIO}, le) (rate(istio_request_duration_milliseconds_bucket[60s])))",
        f"1000 * histogram_quantile(0.95, sum by ({_OTEL}, le) (rate(traces_service_graph_request_server_seconds_bucket[60s])))"),
    "cpu": ('sum by (container) (rate(container_cpu_usage_seconds_total{container!=""}[60s]))',),
    "memory": ('sum by (container) (container_memory_working_set_bytes{container!=""})',),
    "disk": ('sum by (container) (container_fs_usage_bytes{container!=""})',),
    "open_sockets": ('sum by (container) (container_sockets{container!=""})',),
}  # fmt: skip
"""What is asked by the kind of series; the first query that finds something counts."""


class LiveWindow(NamedTuple):
    """A window as an incident, and what was not found."""

    incident: Incident
    topology: ServiceGraph | None
    missing: Sequence[str]


def look(
    url: str, now: datetime, minutes: float, loki: str | None = None, loki_query: str = ""
) -> LiveWindow | None:
    """Ask for a window that ends now; None when nothing at all was found.

    Raises:
        ImportTrouble: a server does not answer or refuses.
    """
    window = Window(start=now - timedelta(minutes=minutes), end=now)
    series, missing = _series(url, window)
    topology = _topology(url, now, minutes, missing)
    logs = _logs(loki, loki_query, window) if loki else ()
    names = (
        {one.service for one in series}
        | {row.service for row in logs}
        | set(topology.services if topology else ())
    )
    if not series and not logs:
        return None
    return LiveWindow(_incident(window, sorted(names), series, logs, topology), topology, missing)


def _incident(
    window: Window, names: Sequence[str], series: Sequence[MetricSeries], logs: Sequence[LogRecord],
    topology: ServiceGraph | None,
) -> Incident:  # fmt: skip
    split = window.start + (window.end - window.start) / 2
    calls = tuple(Edge(caller=one.caller, callee=one.callee) for one in topology.calls) if topology else ()
    return Incident(
        id=f"live-{window.end:%Y%m%dT%H%M%S}", description="A live window.", time_hint="now", services=tuple(names),
        logs=tuple(logs), metrics=tuple(series), topology=calls, baseline=Window(start=window.start, end=split),
    )  # fmt: skip


def _topology(url: str, now: datetime, minutes: float, missing: list[str]) -> ServiceGraph | None:
    try:
        return from_prometheus(url, now, round(60 * minutes))
    except TopologyError:
        missing.append("no metric of calls between services")
        return None


def _series(url: str, window: Window) -> tuple[list[MetricSeries], list[str]]:
    found: list[MetricSeries] = []
    missing: list[str] = []
    for name, queries in SERIES.items():
        for query in queries:
            mine = list(_asked(url, name, query, window))
            if mine:
                found += mine
                break
        else:
            missing.append(f"no series of {name}")
    return found, missing


def _asked(url: str, name: str, query: str, window: Window) -> Iterator[MetricSeries]:
    step = max(STEP_S, math.ceil((window.end - window.start).total_seconds() / 2000))
    asked: dict[str, str | int] = {
        "query": query,
        "start": f"{window.start.timestamp():.3f}",
        "end": f"{window.end.timestamp():.3f}",
        "step": step,
    }
    answer = ask(url, "/api/v1/query_range", asked)
    for row in answer["data"]["result"]:
        owner = next((row["metric"][label] for label in _OWNERS if row["metric"].get(label)), None)
        points = tuple(
            (float(at), float(value)) for at, value in row["values"] if math.isfinite(float(value))
        )
        if owner and points:
            yield _one(service_name(workload(str(owner))), name, points)


def _one(service: str, name: str, points: Sequence[tuple[float, float]]) -> MetricSeries:
    given: Any = [(at, value) for at, value in points]
    return MetricSeries.model_validate({"service": service, "name": name, "points": given})


def _logs(loki: str, query: str, window: Window) -> Sequence[LogRecord]:
    options = Options(
        query=query, start=f"{window.start:%Y-%m-%dT%H:%M:%SZ}", end=f"{window.end:%Y-%m-%dT%H:%M:%SZ}"
    )
    counts = Counts()
    with tempfile.TemporaryDirectory(prefix="window-") as scratch:
        files = import_source("loki", Source(loki, counts), Output(Path(scratch), counts), options)
        return tuple(row for file in files for row in read_incident(file).logs)

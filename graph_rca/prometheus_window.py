"""Series and calls of a Prometheus for a stretch of time.

The names asked for are those of Istio, of OpenTelemetry's service graph, and of cAdvisor. A query
that finds nothing is no error: it is said as missing. A server that does not answer is one;
`live_window` says what that means.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from core.service_names import service_name, workload
from graph_rca.topology import ServiceGraph, TopologyError, of_both_halves
from importers.asking import ask, no_answer_of
from project_types import MetricSeries, Window

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


def topology_of(url: str, now: datetime, minutes: float, missing: list[str]) -> ServiceGraph | None:
    """Return the calls of the window, its healthy half beside each, or add to `missing` that there are none.

    Raises:
        ImportTrouble: the server does not answer.
    """
    try:
        return of_both_halves(url, now, round(30 * minutes))
    except TopologyError:
        missing.append("no metric of calls between services")
        return None


def series_of(url: str, window: Window) -> tuple[list[MetricSeries], list[str]]:
    """Return the series of the window, and what was not found, in words. Raises ImportTrouble."""
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
    try:
        for row in answer["data"]["result"]:
            owner = next((row["metric"][label] for label in _OWNERS if row["metric"].get(label)), None)
            points = tuple(
                (float(at), float(value)) for at, value in row["values"] if math.isfinite(float(value))
            )
            if owner and points:
                yield _one(service_name(workload(str(owner))), name, points)
    except (LookupError, TypeError, ValueError, AttributeError) as trouble:
        raise no_answer_of("Prometheus", url) from trouble


def _one(service: str, name: str, points: Sequence[tuple[float, float]]) -> MetricSeries:
    given: Any = [(at, value) for at, value in points]
    return MetricSeries.model_validate({"service": service, "name": name, "points": given})

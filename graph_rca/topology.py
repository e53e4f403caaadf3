"""Step 1: who calls whom: from spans, a scenario, Prometheus, or socket records of an eBPF agent.

Every reader gives the same `ServiceGraph`: calls with their rate, error share and latency, None where the
source does not say. Prometheus is asked for a time, never for now. Socket records are JSON lines with source,
destination, port, bytes, rtt_ms and retransmits; they know no errors, and retransmits stand beside.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from core.service_names import service_name, workload
from project_types import InvestigatorError, Span

LATEST_S = 300
"""Seconds that a rate is taken over."""
ISTIO = "istio_requests_total"
SERVICE_GRAPH = "traces_service_graph_request_total"
_NO_SERVICE = ("", "unknown", "user")


class TopologyError(InvestigatorError):
    """A source of the topology cannot be read; the text says what to do."""


class Rate(NamedTuple):
    """How a call went in a stretch of time."""

    per_s: float
    error_share: float
    latency_ms: float | None


class Call(NamedTuple):
    """What is known of one caller and callee."""

    caller: str
    callee: str
    per_s: float | None = None
    error_share: float | None = None
    latency_ms: float | None = None
    retransmits: int | None = None
    before: Rate | None = None
    """Of the healthy stretch, where it was asked for."""

    @property
    def weight(self) -> float:
        """Return the edge's weight for this window: half from its traffic, half from its errors, 0 to 1.

        The form of DynaCausal (arXiv 2510.22613): a sigmoid of both, here with equal
        parts and no learned scale.
        """
        traffic = (self.per_s or 0.0) / (1.0 + (self.per_s or 0.0))
        return 0.5 * traffic + 0.5 * (self.error_share or 0.0)


class ServiceGraph(NamedTuple):
    """Services and calls."""

    services: Sequence[str]
    calls: Sequence[Call]


def graph_of(calls: Iterable[Call], more: Iterable[str] = ()) -> ServiceGraph:
    """Return the graph of these calls, with services that have none."""
    kept = sorted(calls)
    names = {name for call in kept for name in (call.caller, call.callee)}
    return ServiceGraph(sorted(names | set(more)), kept)


def from_spans(spans: Sequence[Span], declared: Iterable[tuple[str, str]] = ()) -> ServiceGraph:
    """Return the calls that spans show, and the declared ones without numbers."""
    owner = {(span.trace_id, span.span_id): span.service for span in spans}
    made: dict[tuple[str, str], list[Span]] = {edge: [] for edge in declared}
    for span in spans:
        caller = owner.get((span.trace_id, span.parent_span_id or ""))
        if caller and caller != span.service:
            made.setdefault((caller, span.service), []).append(span)
    starts = [span.start for span in spans]
    covered_s = max(1.0, (max(starts) - min(starts)).total_seconds()) if starts else 1.0
    return graph_of(
        (_call_of(edge, found, covered_s) for edge, found in made.items()), (span.service for span in spans)
    )


def _call_of(edge: tuple[str, str], spans: Sequence[Span], covered_s: float) -> Call:
    if not spans:
        return Call(*edge)
    failed = sum(span.failed for span in spans) / len(spans)
    middle = sorted(span.duration_ms for span in spans)[len(spans) // 2]
    return Call(*edge, len(spans) / covered_s, failed, middle)


# ------------------------------------------------------------------------------------------- Prometheus


def queries(seconds: int = LATEST_S) -> Mapping[str, tuple[str, str, str]]:
    """Return what is asked by metric: all calls, failed calls, and the sum of their latencies."""
    istio = "sum by (source_workload, destination_workload)"
    graph = "sum by (client, server)"
    return {
        ISTIO: (
            f"{istio} (rate({ISTIO}[{seconds}s]))",
            f'{istio} (rate({ISTIO}{{response_code=~"5..|0"}}[{seconds}s]))',
            f"{istio} (rate(istio_request_duration_milliseconds_sum[{seconds}s]))",
        ),
        SERVICE_GRAPH: (
            f"{graph} (rate({SERVICE_GRAPH}[{seconds}s]))",
            f"{graph} (rate(traces_service_graph_request_failed_total[{seconds}s]))",
            f"{graph} (1000 * rate(traces_service_graph_request_server_seconds_sum[{seconds}s]))",
        ),
    }


_ENDS = (("source_workload", "destination_workload"), ("client", "server"))


def from_prometheus(url: str, at: datetime, seconds: int = LATEST_S) -> ServiceGraph:
    """Ask a Prometheus which calls there were in the seconds before `at`.

    Raises:
        TopologyError: it holds neither Istio's nor OpenTelemetry's metric then.
        ImportTrouble: it does not answer, or is no Prometheus.
    """
    found = _calls(url, at, seconds)
    if not found:
        raise _no_calls(url, at)
    return graph_of(found.values())


def of_both_halves(url: str, end: datetime, seconds: int) -> ServiceGraph:
    """Ask a Prometheus for the calls of a stretch, and of the healthy one before it, each `seconds` long.

    A call that was made before and is not made any more has a rate of 0. Raises as `from_prometheus` does.
    """
    before, now = (_calls(url, at, seconds) for at in (end - timedelta(seconds=seconds), end))
    if not before and not now:
        raise _no_calls(url, end)
    silent = {edge: Call(*edge, 0.0, 0.0) for edge in before.keys() - now.keys()}
    rates = {
        edge: Rate(call.per_s or 0.0, call.error_share or 0.0, call.latency_ms)
        for edge, call in before.items()
    }
    return graph_of(call._replace(before=rates.get(edge)) for edge, call in (now | silent).items())


def _no_calls(url: str, at: datetime) -> TopologyError:
    from core.downloads import shown_url

    return TopologyError(
        f"{shown_url(url)}: holds neither {ISTIO} nor {SERVICE_GRAPH} at {at:%Y-%m-%d %H:%M}Z; "
        "check the time (--at), or take the topology from spans"
    )


def _calls(url: str, at: datetime, seconds: int) -> dict[tuple[str, str], Call]:
    """Return what the first metric of calls that the server holds says about each."""
    for total, failed, latency in queries(seconds).values():
        rates = _instant(url, total, at)
        if rates:
            bad, spent = _instant(url, failed, at), _instant(url, latency, at)
            return {edge: _measured(edge, rate, bad, spent) for edge, rate in rates.items()}
    return {}


def _measured(
    edge: tuple[str, str],
    rate: float,
    bad: Mapping[tuple[str, str], float],
    spent: Mapping[tuple[str, str], float],
) -> Call:
    latency = spent[edge] / rate if rate and edge in spent else None
    return Call(*edge, rate, min(1.0, bad.get(edge, 0.0) / rate) if rate else 0.0, latency)


def _instant(url: str, query: str, at: datetime) -> dict[tuple[str, str], float]:
    from importers.asking import ask, no_answer_of

    answer = ask(url, "/api/v1/query", {"query": query, "time": f"{at.timestamp():.3f}"})
    found: dict[tuple[str, str], float] = {}
    try:
        for row in answer["data"]["result"]:
            edge, value = _ends_of(row["metric"]), float(row["value"][1])
            if edge and value == value and value not in (float("inf"), float("-inf")):
                found[edge] = found.get(edge, 0.0) + value
    except (LookupError, TypeError, ValueError, AttributeError) as trouble:
        raise no_answer_of("Prometheus", url) from trouble
    return found


def _ends_of(labels: Mapping[str, Any]) -> tuple[str, str] | None:
    for one, other in _ENDS:
        caller, callee = str(labels.get(one, "")), str(labels.get(other, ""))
        if caller not in _NO_SERVICE and callee not in _NO_SERVICE and caller != callee:
            return service_name(caller), service_name(callee)
    return None


# --------------------------------------------------------------------------------------- socket records


def from_sockets(path: Path) -> ServiceGraph:
    """Read socket records, one JSON object a line. Raises TopologyError naming the line."""
    seen: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as trouble:
        raise TopologyError(f"{path}: cannot be read ({trouble.strerror}); check the path") from trouble
    for number, line in enumerate(lines, 1):
        if line.strip():
            edge, record = _record(path, number, line)
            if edge[0] != edge[1]:
                seen[edge].append(record)
    return graph_of(_socket_call(edge, records) for edge, records in seen.items())


def _record(path: Path, number: int, line: str) -> tuple[tuple[str, str], Mapping[str, Any]]:
    try:
        record = json.loads(line)
        ends = (
            service_name(workload(str(record["source"]))),
            service_name(workload(str(record["destination"]))),
        )
        float(record.get("rtt_ms") or 0), int(record.get("retransmits") or 0)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as trouble:
        raise TopologyError(
            f"{path}:{number}: is no socket record ({type(trouble).__name__}); a line needs source and destination, "
            'such as {"source": "cart-6d5f7c9b4-x2x4z", "destination": "db-0", "port": 5432, "rtt_ms": 0.4}'
        ) from trouble
    return ends, record


def _socket_call(edge: tuple[str, str], records: Sequence[Mapping[str, Any]]) -> Call:
    trips = sorted(float(record["rtt_ms"]) for record in records if record.get("rtt_ms") is not None)
    again = sum(int(record.get("retransmits") or 0) for record in records)
    return Call(*edge, None, None, trips[len(trips) // 2] if trips else None, again)

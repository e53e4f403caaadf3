"""Trivial rules that answer without investigating.

Each names a service and quotes the row it relied on. Where a healthy window is known, its rows and spans are
left out. A set on which such a rule passes its bar teaches nothing (docs/scenarios.md).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from core.log_stores.masks import masked
from project_types import Level, LogRecord, Report, Scenario, Span

SLOW_QUANTILE = 0.9
"""Traces at least as slow as this quantile count as slow."""

Rule = Callable[[Scenario, random.Random], Report]


def random_service(scenario: Scenario, rng: random.Random) -> Report:
    """A service picked at random, with its most severe line."""
    service = rng.choice(scenario.services)
    return _blame(scenario, service, _logs(scenario))


def loudest_error_service(scenario: Scenario, rng: random.Random) -> Report:
    """The service with the most ERROR lines."""
    errors = _at_least(_logs(scenario), Level.ERROR)
    counts = Counter(row.service for row in errors)
    return _blame(scenario, _commonest(counts, scenario, rng), errors)


def first_error_service(scenario: Scenario, rng: random.Random) -> Report:
    """The service of the earliest ERROR line."""
    errors = _at_least(_logs(scenario), Level.ERROR) or scenario.logs
    first = min(errors, key=lambda row: row.sort_key)
    return quote(first)


def deepest_failing_span(scenario: Scenario, rng: random.Random) -> Report:
    """The service of the failing span furthest from its trace's root; the longest of those equally deep."""
    depths = _depths(scenario.spans)
    failing = [span for span in _spans(scenario) if span.failed]
    if not failing:
        return random_service(scenario, rng)
    deepest = max(failing, key=lambda span: (depths[span.trace_id, span.span_id], span.duration_ms))
    beside = [row for row in scenario.logs if row.trace_id == deepest.trace_id]
    return _blame(scenario, deepest.service, beside)


def slow_trace_service(scenario: Scenario, rng: random.Random) -> Report:
    """The service with the most spans in the slowest traces."""
    length: dict[str, float] = defaultdict(float)
    for span in _spans(scenario):
        length[span.trace_id] = max(length[span.trace_id], span.duration_ms)
    if not length:
        return random_service(scenario, rng)
    limit = float(np.quantile(list(length.values()), SLOW_QUANTILE))
    slow = {trace_id for trace_id, longest in length.items() if longest >= limit}
    counts = Counter(span.service for span in _spans(scenario) if span.trace_id in slow)
    return _blame(
        scenario, _commonest(counts, scenario, rng), [row for row in scenario.logs if row.trace_id in slow]
    )


def rarest_warning_service(scenario: Scenario, rng: random.Random) -> Report:
    """The service of the WARN line whose wording occurs least; the earliest of those equally rare."""
    warnings = [row for row in _logs(scenario) if row.level == "WARN"]
    if not warnings:
        return random_service(scenario, rng)
    wordings = Counter((row.service, masked(row.message)) for row in warnings)
    rarest = min(warnings, key=lambda row: (wordings[row.service, masked(row.message)], row.sort_key))
    return quote(rarest)


RULES: Mapping[str, Rule] = {
    "random service": random_service,
    "loudest error service": loudest_error_service,
    "first error service": first_error_service,
    "deepest failing span": deepest_failing_span,
    "most frequent service in slow traces": slow_trace_service,
    "rarest warning": rarest_warning_service,
}


def _logs(scenario: Scenario) -> list[LogRecord]:
    """The rows outside the healthy window."""
    healthy = scenario.baseline
    return [row for row in scenario.logs if not (healthy and row.timestamp and row.timestamp < healthy.end)]


def _spans(scenario: Scenario) -> list[Span]:
    """The spans outside the healthy window."""
    healthy = scenario.baseline
    return [span for span in scenario.spans if not (healthy and span.start < healthy.end)]


def _at_least(rows: Iterable[LogRecord], level: Level) -> list[LogRecord]:
    return [row for row in rows if Level[row.level] >= level]


def _commonest(counts: Counter[str], scenario: Scenario, rng: random.Random) -> str:
    """The most counted service, by name where two are equal; a random one when nothing was counted."""
    if not counts:
        return rng.choice(scenario.services)
    most = max(counts.values())
    return min(service for service, count in counts.items() if count == most)


def _blame(scenario: Scenario, service: str, rows: Iterable[LogRecord]) -> Report:
    """A report against `service` that quotes its most severe line among `rows`, or among all rows when it has
    none there.
    """
    own = [row for row in rows if row.service == service] or [
        row for row in scenario.logs if row.service == service
    ]
    if not own:
        return Report(root_cause=f"{service} is failing", suspected_service=service)
    return quote(min(own, key=lambda row: (-Level[row.level], row.sort_key)))


def quote(row: LogRecord) -> Report:
    """A report that blames a row: its service, its words, its id."""
    return Report(
        root_cause=f"{row.service}: {row.message}"[:2000],
        suspected_service=row.service,
        key_log_ids=(row.id,),
        primary_trace_ids=(row.trace_id,) if row.trace_id else (),
    )


def _depths(spans: Iterable[Span]) -> dict[tuple[str, str], int]:
    """Steps from each span to the root of its trace; a span whose parent is not there counts as a root."""
    parents = {(span.trace_id, span.span_id): span.parent_span_id for span in spans}
    depths: dict[tuple[str, str], int] = {}
    for trace_id, span_id in parents:
        depth, at, passed = 0, span_id, {span_id}
        while (
            (parent := parents.get((trace_id, at))) and (trace_id, parent) in parents and parent not in passed
        ):
            depth, at = depth + 1, parent
            passed.add(at)
        depths[trace_id, span_id] = depth
    return depths

"""Metrics agree with spans and rows, show decreases, and differ from the healthy
window where a fault acts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.metrics import COUNTED, LEVELS
from project_types import MetricSeries, Scenario, Span
from tests.builders.examples import examples
from tests.builders.generated import FAULTS, one, pair


def series(scenario: Scenario, service: str, name: str) -> MetricSeries:
    """One series."""
    return next(item for item in scenario.metrics if (item.service, item.name) == (service, name))


def step(item: MetricSeries, at: datetime) -> int:
    """Which value of a series a moment falls into."""
    assert item.start is not None
    assert item.step_s is not None
    return int((at - item.start).total_seconds() // item.step_s)


def total(item: MetricSeries) -> float:
    """The sum of all values."""
    return sum(value for value in item.values if value is not None)


def clear_clocks(scenario: Scenario) -> bool:
    """Whether every span begins near its parent, which it does not where a clock is off."""
    starts = {(span.trace_id, span.span_id): span.start for span in scenario.spans}

    def off_s(span: Span) -> float:
        above = starts.get((span.trace_id, span.parent_span_id or ""), span.start)
        return abs((span.start - above).total_seconds())

    return max(map(off_s, scenario.spans)) < 15


def test_every_service_has_every_series_at_10_s_steps_over_both_windows() -> None:
    scenario = one(1, "disk_full")
    names = {(item.service, item.name) for item in scenario.metrics}
    assert names == {(service, name) for service in scenario.services for name in (*COUNTED, *LEVELS)}
    assert scenario.baseline is not None
    for item in scenario.metrics:
        assert item.start == scenario.baseline.start
        assert item.step_s == 10
        assert len(item.values) * 10 == 2 * (scenario.baseline.end - scenario.baseline.start).total_seconds()


@examples(15)
@given(seed=st.integers(0, 2**51), fault=st.sampled_from(FAULTS))
def test_no_step_counts_fewer_requests_than_its_kept_spans(seed: int, fault: str) -> None:
    scenario = one(seed, fault)
    if not clear_clocks(scenario):
        return
    spans = Counter[tuple[str, int]]()
    failed = Counter[str]()
    for span in scenario.spans:
        requests = series(scenario, span.service, "requests")
        spans[span.service, step(requests, span.start)] += 1
        failed[span.service] += span.failed
    for (service, at), count in spans.items():
        values = series(scenario, service, "requests").values
        near = sum(values[max(0, at - 1) : at + 2])  # type: ignore[arg-type]
        stubs = sum(span.service == service and span.failed for span in scenario.spans)
        assert near + stubs >= count


@examples(15)
@given(seed=st.integers(0, 2**51), fault=st.sampled_from(FAULTS))
def test_rows_about_failed_requests_never_outnumber_the_counted_errors(seed: int, fault: str) -> None:
    scenario = one(seed, fault)
    roots = {
        span.service for span in scenario.spans if span.parent_span_id is None and " /" in span.operation
    }
    marks = (
        "answered 5",
        "user got 5",
        "request ended with 5",
        "replied 5",
        "client received 5",
        "terminated",
    )
    for service in roots:
        rows = [
            row
            for row in scenario.logs
            if row.service == service and row.level == "ERROR" and any(mark in row.message for mark in marks)
        ]
        assert len(rows) <= total(series(scenario, service, "errors"))


def test_latencies_of_spans_lie_where_the_metrics_say() -> None:
    scenario = one(3, "dns_failure")
    spans = [span.duration_ms for span in scenario.spans if span.status == "ok"]
    shown = [
        value for item in scenario.metrics if item.name == "latency_p95_ms" for value in item.values if value
    ]
    assert np.median(spans) <= np.quantile(shown, 0.9)
    assert max(shown) >= np.quantile(spans, 0.5)


def change(scenario: Scenario, name: str) -> float:
    """How far the culprit's metric moves from its healthy median while the fault acts."""
    item = series(scenario, scenario.ground_truth.service, name)
    half = len(item.values) // 2
    healthy = np.median([value for value in item.values[:half] if value is not None])
    later = [value for value in item.values[half:] if value is not None]
    return float(max(later, key=lambda value: abs(value - healthy)) - healthy)


@pytest.mark.parametrize(
    ("fault", "name", "up"),
    [
        ("disk_full", "disk_percent", True),
        ("memory_pressure", "memory_percent", True),
        ("cpu_throttled", "cpu_percent", True),
        ("connection_pool_exhausted", "connections_in_use", True),
        ("thread_pool_exhausted", "queue_length", True),
        ("file_descriptors_exhausted", "open_sockets", True),
        ("process_hang", "cpu_percent", False),
        ("pod_crash_loop", "memory_percent", False),
        ("dns_failure", "open_sockets", False),
        ("cache_failure", "memory_percent", False),
    ],
)
def test_a_fault_moves_the_metrics_of_its_mechanism_up_or_down(fault: str, name: str, up: bool) -> None:
    moved = change(one(2, fault), name)
    assert moved > 12 if up else moved < -4


def lowest(values: Sequence[float | None], steps: int) -> float:
    """The smallest sum of so many values in a row."""
    whole = [value or 0.0 for value in values]
    return min(sum(whole[at : at + steps]) for at in range(len(whole) - steps + 1))


@pytest.mark.slow
def test_what_is_unreachable_gets_fewer_requests() -> None:
    shares = []
    for seed in range(12):
        scenario = one(seed, "network_policy_denied")
        requests = series(scenario, scenario.ground_truth.service, "requests").values
        half = len(requests) // 2
        shares.append(lowest(requests[half:], 12) / max(1.0, lowest(requests[:half], 12)))
    assert min(shares) < 0.4


@pytest.mark.slow
def test_the_guilty_one_mostly_moves_further_than_its_innocent_twin() -> None:
    further = 0
    for seed in range(8):
        guilty, innocent = pair(seed, "disk_full")
        service = guilty.ground_truth.service
        as_if = innocent.model_copy(
            update={"ground_truth": innocent.ground_truth.model_copy(update={"service": service})}
        )
        further += change(guilty, "disk_percent") > 2 * change(as_if, "disk_percent")
    assert further >= 5

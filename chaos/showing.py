"""A scenario as text for a terminal: who calls whom, what happened when, and the way from
the cause to the symptom.

It shows the truth, which no agent may see. It takes any scenario, also one written by hand: what a scenario
does not hold is left out. Pictures are `pictures`; what the tools print is `core.tools`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from core.command_line import printable
from core.log_stores.memory import memory_store
from core.log_stores.traces import tree
from core.tables import aligned
from project_types import Level, MetricSeries, Scenario

CAUSE, ON_PATH, SUSPECT = "●", "○", "△"
COLUMNS = 60
BARS = "▁▂▃▄▅▆▇█"
MOST_SERVICES_DEEP = 12
LONGEST_ROW = 150
MOST_CURVES = 4


class Axis(NamedTuple):
    """The time of a scenario, in columns of equal width."""

    start: datetime
    end: datetime

    def column(self, at: datetime) -> int:
        """The column of a moment, 0 to COLUMNS - 1."""
        share = (at - self.start) / (self.end - self.start)
        return min(COLUMNS - 1, max(0, int(share * COLUMNS)))

    def counts(self, moments: Iterable[datetime]) -> list[float]:
        """How many of the moments fall into each column."""
        found = [0.0] * COLUMNS
        for at in moments:
            found[self.column(at)] += 1
        return found


def shown(scenario: Scenario) -> str:
    """Return everything there is to see of a scenario."""
    parts = ["\n".join(_head(scenario)), "\n".join(topology(scenario))]
    if axis := axis_of(scenario):
        parts.append("\n".join(timeline(scenario, axis)))
    parts.append("\n".join(way(scenario)))
    return "\n\n".join(part for part in parts if part)


def _head(scenario: Scenario) -> Iterator[str]:
    truth, origin = scenario.ground_truth, scenario.provenance
    twin = f", twin of {origin.twin}" if origin.twin else ""
    system = f" in {origin.topology}" if origin.topology else ""
    yield f"{scenario.id}: {truth.fault_type} at {truth.service}{system}{twin}"
    yield printable(f'people say: "{scenario.description}" ({scenario.time_hint})')
    yield printable(f"the cause:  {scenario.expected_root_cause}")
    yield f"{CAUSE} cause   {ON_PATH} on the way to the symptom   {SUSPECT} a red herring names it"


# -------------------------------------------------------------------------------------------------- topology


def marks(scenario: Scenario) -> dict[str, str]:
    """The mark of each service that has one."""
    truth = scenario.ground_truth
    found = {one.report.suspected_service: SUSPECT for one in scenario.distractors}
    found |= dict.fromkeys(truth.propagation_path, ON_PATH)
    return found | {truth.service: CAUSE}


def topology(scenario: Scenario) -> Iterator[str]:
    """Who calls whom, as a tree from each service that nobody calls; a service that
    stands above is not repeated.
    """
    callees: dict[str, list[str]] = defaultdict(list)
    for edge in sorted(set(scenario.topology), key=lambda edge: (edge.caller, edge.callee)):
        callees[edge.caller].append(edge.callee)
    called = {name for names in callees.values() for name in names}
    roots = [name for name in sorted(scenario.services) if name not in called]
    marked, failing = marks(scenario), failing_spans(scenario)
    yield f"topology: {len(scenario.services)} services"
    told: set[str] = set()
    for root in [*roots, *sorted(scenario.services)]:  # the rest call each other in circles
        if root not in told:
            yield from _branch(root, "  ", callees, told, marked, failing)


def _branch(
    name: str,
    indent: str,
    callees: dict[str, list[str]],
    told: set[str],
    marked: dict[str, str],
    failing: dict[str, tuple[int, int]],
) -> Iterator[str]:
    again = name in told
    told.add(name)
    failed, spans = failing.get(name, (0, 0))
    spoken = f"  {failed} of {spans} spans fail" if failed else ""
    more = "  (see above)" if again and callees.get(name) else ""
    yield printable(f"{indent}{marked.get(name, ' ')} {name}{'' if again else spoken}{more}")
    if not again and len(indent) < 2 * MOST_SERVICES_DEEP:
        for callee in callees.get(name, []):
            yield from _branch(callee, indent + "  ", callees, told, marked, failing)


def failing_spans(scenario: Scenario) -> dict[str, tuple[int, int]]:
    """(spans that fail, all spans) of each service outside the healthy window."""
    healthy = scenario.baseline
    found: dict[str, tuple[int, int]] = {}
    for span in scenario.spans:
        if not healthy or span.start >= healthy.end:
            failed, spans = found.get(span.service, (0, 0))
            found[span.service] = (failed + span.failed, spans + 1)
    return found


# -------------------------------------------------------------------------------------------------- timeline


def axis_of(scenario: Scenario) -> Axis | None:
    """The time that a scenario covers; None when nothing in it has a clock."""
    times = [row.timestamp for row in scenario.logs if row.timestamp] + [
        span.start for span in scenario.spans
    ]
    times += [at for one in scenario.metrics for at, _ in one.points]
    if not times or min(times) == max(times):
        return None
    return Axis(min(times), max(times))


def timeline(scenario: Scenario, axis: Axis) -> Iterator[str]:
    """What happened when: rows, failing spans, decisive rows and red herrings, events, metrics that moved."""
    step = (axis.end - axis.start) / COLUMNS
    yield f"timeline: {axis.start:%H:%M} to {axis.end:%H:%M}, {step / timedelta(seconds=1):.0f} s a column"
    rows = [[" ", "", _window(scenario, axis)]]
    warnings = [row.timestamp for row in scenario.logs if Level[row.level] >= Level.WARN and row.timestamp]
    rows.append([" ", "rows from WARN up", bars(axis.counts(warnings))])
    failed = [span.start for span in scenario.spans if span.failed]
    rows.append([" ", "spans that fail", bars(axis.counts(failed))])
    rows += [[CAUSE, f"{curve.id}", bars(_means(curve, axis))] for curve in moved(scenario)]
    rows += _marked_rows(scenario, axis)
    events = [event.timestamp for event in scenario.events if event.timestamp]
    if events:
        rows.append([" ", "events", dots(axis.counts(events))])
    yield aligned(rows, left=3)


def _window(scenario: Scenario, axis: Axis) -> str:
    if not scenario.baseline:
        return ""
    healthy = axis.column(scenario.baseline.end)
    return "healthy".center(healthy, "─")[:healthy] + "┊" + "incident".center(COLUMNS - healthy - 1, "─")


def _marked_rows(scenario: Scenario, axis: Axis) -> list[list[str]]:
    times = {row.id: row.timestamp for row in scenario.logs}
    said = [(CAUSE, scenario.ground_truth.service, scenario.ground_truth.evidence_log_ids)]
    said += [(SUSPECT, one.report.suspected_service, one.report.key_log_ids) for one in scenario.distractors]
    found = []
    for mark, service, ids in said:
        moments = [at for at in map(times.get, ids) if at]
        if moments:
            found.append([mark, f"rows of {service}", dots(axis.counts(moments))])
    return found


def moved(scenario: Scenario) -> list[MetricSeries]:
    """The metrics that prove the cause."""
    wanted = [one.id for one in scenario.ground_truth.evidence if one.kind == "metric"]
    return [series for series in scenario.metrics if series.id in wanted][:MOST_CURVES]


def _means(series: MetricSeries, axis: Axis) -> list[float]:
    values: list[list[float]] = [[] for _ in range(COLUMNS)]
    for at, value in series.points:
        values[axis.column(at)].append(value)
    return [sum(group) / len(group) if group else 0.0 for group in values]


def bars(values: Sequence[float]) -> str:
    """Numbers as bars; nothing where all are 0."""
    most = max(values, default=0.0)
    if most <= 0:
        return BARS[0] * len(values)
    return "".join(BARS[min(len(BARS) - 1, int(value / most * len(BARS)))] for value in values)


def dots(values: Sequence[float]) -> str:
    """A dot where there is nothing, else how many there are."""
    return "".join("·" if not value else str(min(9, int(value))) for value in values)


# ------------------------------------------------------------------------------ from the cause to the symptom


def way(scenario: Scenario) -> Iterator[str]:
    """The decisive rows, and one trace on which the cause reached people."""
    truth, marked = scenario.ground_truth, marks(scenario)
    if truth.insufficient:
        yield "nothing is wrong: the right answer is 'unknown'"
        return
    yield f"from cause to symptom: {' → '.join(map(printable, truth.propagation_path)) or truth.service}"
    for row in scenario.logs:
        if row.id in truth.evidence_log_ids:
            clock = f"{row.timestamp:%H:%M:%S}" if row.timestamp else "--:--:--"
            text = f"{clock} {row.level} {row.service} {row.message}".replace("\n", "\\n")
            yield printable(f"  {CAUSE} {text[:LONGEST_ROW]}")
    if truth.evidence_trace_ids:
        yield f"  trace {truth.evidence_trace_ids[0]}"
        yield from _trace(scenario, truth.evidence_trace_ids[0], marked)


def _trace(scenario: Scenario, trace_id: str, marked: dict[str, str]) -> Iterator[str]:
    spans = memory_store(scenario).trace(trace_id).spans
    places = tree(spans)
    rows = []
    for number in sorted(places, key=lambda number: places[number].order):
        span, place = spans[number], places[number]
        name = f"  {'  ' * place.depth}{marked.get(span.service, ' ')} {span.service} {span.operation}"
        rows.append([name, f"{span.duration_ms:.0f} ms", f"own {place.own_ms:.0f} ms", span.status])
    yield aligned(rows)

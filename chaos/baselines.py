"""Trivial rules that answer without investigating: what a scenario set must not be solvable by.

Each rule reads a scenario's full logs and spans, which is more than an agent ever sees at once, names a
service and quotes the row it relied on. A set on which such a rule passes the bar teaches nothing
(docs/scenarios.md). The rules never look at the ground truth, and they are not policies:
`core.policies.scripted` plays the same ideas through the real tools.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from core.intervals import Interval, as_json, bootstrap_mean, proportion
from core.log_stores.masks import masked
from project_types import Judge, Level, LogRecord, Report, Scenario, Span

DRAWS = 16
"""Answers of the random rule per scenario, averaged."""
SLOW_QUANTILE = 0.9
"""Traces at least as slow as this quantile count as slow."""
CAUSE_BAR = 0.40
"""No rule may name more root causes than this share."""

Rule = Callable[[Scenario, random.Random], Report]


def random_service(scenario: Scenario, rng: random.Random) -> Report:
    """A service picked at random, with its most severe line."""
    service = rng.choice(scenario.services)
    return _blame(scenario, service, scenario.logs)


def loudest_error_service(scenario: Scenario, rng: random.Random) -> Report:
    """The service with the most ERROR lines."""
    errors = _at_least(scenario.logs, Level.ERROR)
    counts = Counter(row.service for row in errors)
    return _blame(scenario, _commonest(counts, scenario, rng), errors)


def first_error_service(scenario: Scenario, rng: random.Random) -> Report:
    """The service of the earliest ERROR line."""
    errors = _at_least(scenario.logs, Level.ERROR) or scenario.logs
    first = min(errors, key=lambda row: row.sort_key)
    return _quote(first)


def deepest_failing_span(scenario: Scenario, rng: random.Random) -> Report:
    """The service of the failing span furthest from its trace's root; the longest of those equally deep."""
    depths = _depths(scenario.spans)
    failing = [span for span in scenario.spans if span.failed]
    if not failing:
        return random_service(scenario, rng)
    deepest = max(failing, key=lambda span: (depths[span.trace_id, span.span_id], span.duration_ms))
    beside = [row for row in scenario.logs if row.trace_id == deepest.trace_id]
    return _blame(scenario, deepest.service, beside)


def slow_trace_service(scenario: Scenario, rng: random.Random) -> Report:
    """The service with the most spans in the slowest traces."""
    length: dict[str, float] = defaultdict(float)
    for span in scenario.spans:
        length[span.trace_id] = max(length[span.trace_id], span.duration_ms)
    if not length:
        return random_service(scenario, rng)
    limit = float(np.quantile(list(length.values()), SLOW_QUANTILE))
    slow = {trace_id for trace_id, longest in length.items() if longest >= limit}
    counts = Counter(span.service for span in scenario.spans if span.trace_id in slow)
    return _blame(
        scenario, _commonest(counts, scenario, rng), [row for row in scenario.logs if row.trace_id in slow]
    )


def rarest_warning_service(scenario: Scenario, rng: random.Random) -> Report:
    """The service of the WARN line whose wording occurs least; the earliest of those equally rare."""
    warnings = [row for row in scenario.logs if row.level == "WARN"]
    if not warnings:
        return random_service(scenario, rng)
    wordings = Counter((row.service, masked(row.message)) for row in warnings)
    rarest = min(warnings, key=lambda row: (wordings[row.service, masked(row.message)], row.sort_key))
    return _quote(rarest)


RULES: Mapping[str, Rule] = {
    "random service": random_service,
    "loudest error service": loudest_error_service,
    "first error service": first_error_service,
    "deepest failing span": deepest_failing_span,
    "most frequent service in slow traces": slow_trace_service,
    "rarest warning": rarest_warning_service,
}


class Score(NamedTuple):
    """How often one rule was right on a set of scenarios."""

    cause: Interval
    service: Interval


Table = dict[str, dict[str, Score]]
"""rule → slice ('all', 'seen', 'unseen') → score."""


async def measure(scenarios: Iterable[Scenario], judge: Judge, *, seed: int = 0) -> Table:
    """Every rule's accuracy, overall and for faults that training shows ('seen') and never shows ('unseen')."""
    right: dict[str, dict[str, list[tuple[float, float]]]] = {name: defaultdict(list) for name in RULES}
    for scenario in scenarios:
        part = "unseen" if scenario.provenance.unseen else "seen"
        for name, rule in RULES.items():
            score = await _score(scenario, name, rule, judge, seed)
            right[name]["all"].append(score)
            right[name][part].append(score)
    return {
        name: {part: _intervals(scores) for part, scores in parts.items()} for name, parts in right.items()
    }


async def _score(scenario: Scenario, name: str, rule: Rule, judge: Judge, seed: int) -> tuple[float, float]:
    """Share of answers with the right cause and with the right service, over one draw, or several if the rule
    is random.
    """
    draws = DRAWS if rule is random_service else 1
    cause = service = 0
    for draw in range(draws):
        report = rule(scenario, random.Random(f"{seed}:{scenario.id}:{name}:{draw}"))
        verdict = await judge.verdict(scenario, report)
        cause += verdict.correct
        service += report.suspected_service == scenario.ground_truth.service
    return cause / draws, service / draws


def _intervals(scores: Sequence[tuple[float, float]]) -> Score:
    cause, service = (proportion(bootstrap_mean([score[at] for score in scores])) for at in (0, 1))
    return Score(cause, service)


def over_the_bar(table: Table, bar: float = CAUSE_BAR) -> list[str]:
    """The rules whose root-cause accuracy exceeds the bar, with their figure."""
    return [
        f"{name}: {parts['all'].cause.percent()}"
        for name, parts in table.items()
        if parts["all"].cause.value > bar
    ]


def to_json(table: Table) -> dict[str, Any]:
    """The shape of `--json`: rule → slice → {cause, service} → {value, low, high, scenarios}."""
    return {name: {part: {"cause": as_json(score.cause), "service": as_json(score.service)} for part, score in parts.items()}
            for name, parts in table.items()}  # fmt: skip


def to_markdown(tables: Mapping[str, Table]) -> str:
    """One table for several splits: right causes of all, of seen and of unseen scenarios, and right services."""
    lines = ["| split | rule | root cause | seen | unseen | service |", "|---|---|---|---|---|---|"]
    for split, table in tables.items():
        for name, parts in table.items():
            cells = [
                parts[part].cause.percent() if part in parts else "-" for part in ("all", "seen", "unseen")
            ]
            cells.append(parts["all"].service.percent())
            lines.append(f"| {split} ({parts['all'].cause.n}) | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


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
    return _quote(min(own, key=lambda row: (-Level[row.level], row.sort_key)))


def _quote(row: LogRecord) -> Report:
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

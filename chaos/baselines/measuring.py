"""How often each rule is right, overall, by slice, and on both twins, and whether that is above its bar."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from chaos.baselines.trivial import RULES, Rule, random_service
from core.intervals import Interval, as_json, bootstrap_mean, proportion
from project_types import Judge, Scenario

DRAWS = 16
"""Answers of the random rule per scenario, averaged."""
BARS: Mapping[str, float] = {"trivial": 0.40, "words": 0.30, "complaints": 0.45}
"""No rule of a group may name more root causes than this share."""
TWINS_BAR = 0.10
"""No learned rule may be right on more than this share of twins, both of them."""
SLICES = ("all", "seen", "unseen")


class Score(NamedTuple):
    """How often one rule was right on a set of scenarios."""

    cause: Interval
    service: Interval


class Row(NamedTuple):
    """One line of the table."""

    group: str
    slices: Mapping[str, Score]
    twins: Interval | None
    """Both twins right, over pairs; None where there are none."""


Table = dict[str, Row]
Rules = Mapping[str, Mapping[str, Rule]]
"""group → name → rule."""
TRIVIAL: Rules = {"trivial": RULES}


async def measure(
    scenarios: Iterable[Scenario],
    judge: Judge,
    rules: Rules = TRIVIAL,
    *,
    seed: int = 0,
    note: Callable[[], object] = lambda: None,
) -> Table:
    """Every rule's accuracy. `note` is called after each scenario."""
    right: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    by_id: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    pairs: set[tuple[str, str]] = set()
    for scenario in scenarios:
        part = "unseen" if scenario.provenance.unseen else "seen"
        if scenario.provenance.twin:
            first, second = sorted((scenario.id, scenario.provenance.twin))
            pairs.add((first, second))
        for group, named in rules.items():
            for name, rule in named.items():
                score = await _score(scenario, name, rule, judge, seed)
                by_id[group, name][scenario.id] = score[0]
                for slice_ in ("all", part):
                    right[group, name][slice_].append(score)
        note()
    table: Table = {}
    for (group, name), parts in right.items():
        slices = {part: _intervals(found) for part, found in parts.items()}
        table[name] = Row(group, slices, _both(pairs, by_id[group, name]))
    return table


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
    causes, services = zip(*scores, strict=True)
    return Score(proportion(bootstrap_mean(causes)), proportion(bootstrap_mean(services)))


def _both(pairs: Iterable[tuple[str, str]], right: Mapping[str, float]) -> Interval | None:
    both = [right[one] * right[two] for one, two in sorted(pairs) if one in right and two in right]
    return proportion(bootstrap_mean(both)) if both else None


def over_the_bar(table: Table, bar: float | None = None) -> list[str]:
    """The rules whose accuracy exceeds their bar, or the one given, with their figure."""
    found = []
    for name, row in table.items():
        cause, most = row.slices["all"].cause, BARS[row.group] if bar is None else bar
        if cause.value > most:
            found.append(f"{name}: root cause {cause.percent()}; at most {100 * most:g} %")
        if bar is None and row.group != "trivial" and row.twins and row.twins.value > TWINS_BAR:
            found.append(f"{name}: both twins {row.twins.percent()}; at most {100 * TWINS_BAR:g} %")
    return found


def to_json(table: Table) -> dict[str, Any]:
    """The shape of `--json`: rule → {group, both_twins, slice → {cause, service} →
    {value, low, high, scenarios}}.
    """
    return {name: _row_to_json(row) for name, row in table.items()}


def _row_to_json(row: Row) -> dict[str, Any]:
    slices = {
        part: {"cause": as_json(score.cause), "service": as_json(score.service)}
        for part, score in row.slices.items()
    }
    return {"group": row.group, "both_twins": as_json(row.twins) if row.twins else None, **slices}


def to_markdown(tables: Mapping[str, Table]) -> str:
    """One table for several splits: right causes of all, seen and unseen scenarios,
    both twins, right services.
    """
    lines = [
        "| split | what it uses | rule | root cause | seen | unseen | both twins | service |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for split, table in tables.items():
        for name, row in table.items():
            cells = [row.slices[part].cause.percent() if part in row.slices else "-" for part in SLICES]
            cells.append(row.twins.percent() if row.twins else "-")
            cells.append(row.slices["all"].service.percent())
            count = row.slices["all"].cause.n
            lines.append(f"| {split} ({count}) | {row.group} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)

"""What splits hold, as a table: the facts of the data card, read from the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.episode_store.scenarios import scenario_paths
from core.log_stores.token_budget import estimate_tokens
from project_types import FAULT_TYPES, Scenario, read_scenario


class Facts(NamedTuple):
    """Numbers of one scenario."""

    services: float
    rows: float
    row_tokens: tuple[int, ...]
    spans: float
    traces: float
    silent: float
    """Services that sent no span."""
    metrics: float
    events: float
    evidence_rows: float
    bytes: float


class Split(NamedTuple):
    """Numbers of one split."""

    facts: Sequence[Facts]
    fault_types: int
    families: int
    systems: int
    pairs: int
    unseen: int


SPREADS: Mapping[str, Callable[[Facts], float]] = {
    "services": lambda one: one.services,
    "services without spans": lambda one: one.silent,
    "log rows": lambda one: one.rows,
    "spans": lambda one: one.spans,
    "traces": lambda one: one.traces,
    "metric series": lambda one: one.metrics,
    "events": lambda one: one.events,
    "rows that prove the cause": lambda one: one.evidence_rows,
    "kB": lambda one: one.bytes / 1000,
}


def read_split(folder: Path) -> Split:
    """Read the numbers of a split. Raises ScenarioError when there is none, or when a file is bad."""
    facts, types, families, systems = list[Facts](), set[str](), set[str](), set[str]()
    pairs, unseen = set[tuple[str, ...]](), 0
    for path in scenario_paths(folder):
        scenario = read_scenario(path)
        facts.append(_facts(scenario, path))
        if scenario.ground_truth.fault_type in FAULT_TYPES:
            types.add(scenario.ground_truth.fault_type)
            families.add(scenario.fault_family)
        systems |= set((scenario.provenance.topology or "").split("+"))
        unseen += scenario.provenance.unseen
        if scenario.provenance.twin:
            pairs.add(tuple(sorted((scenario.id, scenario.provenance.twin))))
    return Split(facts, len(types), len(families), len(systems - {""}), len(pairs), unseen)


def _facts(scenario: Scenario, path: Path) -> Facts:
    return Facts(
        services=len(scenario.services),
        rows=len(scenario.logs),
        row_tokens=tuple(estimate_tokens(row.message) for row in scenario.logs),
        spans=len(scenario.spans),
        traces=len({span.trace_id for span in scenario.spans}),
        silent=len(set(scenario.services) - {span.service for span in scenario.spans}),
        metrics=len(scenario.metrics),
        events=len(scenario.events),
        evidence_rows=len(scenario.ground_truth.evidence_log_ids),
        bytes=path.stat().st_size,
    )


def to_markdown(splits: Mapping[str, Split]) -> str:
    """One column a split; a spread is smallest / median / largest."""
    lines = [f"| | {' | '.join(splits)} |", f"|---|{'---|' * len(splits)}"]
    counts: Mapping[str, Callable[[Split], int]] = {
        "scenarios": lambda split: len(split.facts),
        "pairs of twins": lambda split: split.pairs,
        "of them of the unseen kind": lambda split: split.unseen,
        "fault types": lambda split: split.fault_types,
        "families": lambda split: split.families,
        "systems": lambda split: split.systems,
    }
    for name, count in counts.items():
        lines.append(_line(name, [str(count(split)) for split in splits.values()]))
    for name, value in SPREADS.items():
        lines.append(_line(name, [_spread(list(map(value, split.facts))) for split in splits.values()]))
    lines.append(_line("tokens of a row, 99 of 100 below", [_tokens(split) for split in splits.values()]))
    return "\n".join(lines)


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return f"{low:.0f} / {middle:.0f} / {high:.0f}"


def _tokens(split: Split) -> str:
    tokens = [count for one in split.facts for count in one.row_tokens]
    return f"{_spread(tokens)}, {np.quantile(tokens, 0.99):.0f}"

"""What a set of episodes says: accuracy, cost and endings, over everything and by slice, with intervals by
scenario.

avg@k is the mean over scenarios of the share of right samples; pass@k the chance that one of k is right
(unbiased when a scenario has more than k). "Both twins" is counted over pairs of scenarios. Samples that
failed (provider, judge) are no episodes: they are counted apart and never as wrong. Input is any iterable of
episodes, read once, so that a large file need not fit in memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from core.intervals import Floats, Interval, as_json, bootstrap_mean, bootstrap_means, proportion
from core.pass_at_k import pass_at_k
from project_types import Ending, Episode

SLICES: Mapping[str, str] = {
    "seen": "unseen",
    "fault_family": "family",
    "fault_type": "fault_type",
    "topology": "topology",
}
"""What episodes are split by, and the key of their metadata that says it."""


def _accuses(episode: Episode) -> float:
    """1 when a service is accused in a scenario that has no answer; nan where there is one."""
    if episode.metadata.get("answerable", True):
        return float("nan")
    return float(episode.outcome.ending is Ending.ANSWERED)


class Measure(NamedTuple):
    """One number of an episode. A share is shown in percent."""

    label: str
    share: bool
    of: Callable[[Episode], float]


MEASURES: Mapping[str, Measure] = {
    "accuracy": Measure("root cause right (avg@k)", True, lambda e: e.outcome.correct),
    "grounded": Measure("right, citing evidence it saw", True, lambda e: e.outcome.grounded),
    "service": Measure("service right", True, lambda e: e.outcome.service_correct),
    "opened": Measure(
        "gold evidence opened",
        True,
        lambda e: _ratio(e.outcome.gold_evidence_opened, e.outcome.gold_evidence),
    ),
    "false_accusation": Measure("false accusations", True, _accuses),
    "fabricated": Measure("cites an id that does not exist", True, lambda e: e.outcome.cited_fabricated > 0),
    "reward": Measure("reward", False, lambda e: float("nan") if e.reward is None else e.reward),
    "turns": Measure("turns", False, lambda e: e.outcome.turns),
    "tool_calls": Measure("tool calls", False, lambda e: e.outcome.tool_calls),
    "seconds": Measure("seconds", False, lambda e: e.outcome.seconds),
    "prompt_tokens": Measure("prompt tokens", False, lambda e: e.outcome.prompt_tokens),
    "completion_tokens": Measure("completion tokens", False, lambda e: e.outcome.completion_tokens),
    "cost_usd": Measure("cost in USD", False, lambda e: e.cost_usd),
}
PASS, TWINS = "pass_at_k", "both_twins"
DERIVED: Mapping[str, str] = {PASS: "right at least once (pass@k)", TWINS: "both twins right"}
"""Shares of scenarios, or of pairs of them, that no single episode says, and what they are called."""


class Row(NamedTuple):
    """One scenario: its slices, its measures averaged over its samples, and its endings."""

    scenario_id: str
    slices: Mapping[str, str]
    samples: int
    right: int
    values: Floats
    endings: Mapping[str, int]
    twin: str = ""
    """The scenario with the same rows and another cause, if there is one."""


class Part(NamedTuple):
    """The measures of a set of scenarios."""

    scenarios: int
    episodes: int
    measures: Mapping[str, Interval]
    endings: Mapping[str, int]


class Summary(NamedTuple):
    """All of it, and each slice: `slices[kind][value]`."""

    k: int
    whole: Part
    slices: Mapping[str, Mapping[str, Part]]
    totals: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `summary.json`."""
        return {
            "k": self.k,
            **_part_json(self.whole),
            "totals": dict(self.totals),
            "slices": {kind: _parts_json(parts) for kind, parts in self.slices.items()},
        }


class Tally:
    """Takes episodes one at a time and keeps only their numbers."""

    def __init__(self) -> None:
        self._values: dict[str, dict[int, list[float]]] = defaultdict(dict)
        self._endings: dict[str, dict[int, str]] = defaultdict(dict)
        self._slices: dict[str, Mapping[str, str]] = {}
        self._twins: dict[str, str] = {}

    def add(self, episode: Episode) -> None:
        """Count an episode; a later one of the same scenario and sample replaces the earlier."""
        self._values[episode.scenario_id][episode.sample] = [
            float(measure.of(episode)) for measure in MEASURES.values()
        ]
        self._endings[episode.scenario_id][episode.sample] = episode.outcome.ending.value
        self._slices[episode.scenario_id] = slices_of(episode)
        self._twins[episode.scenario_id] = str(episode.metadata.get("twin", ""))

    def rows(self) -> list[Row]:
        """Return one row per scenario, by id."""
        rows = []
        for scenario_id in sorted(self._values):
            table = np.array(list(self._values[scenario_id].values()), dtype=np.float64)
            right = int(table[:, 0].sum())
            endings = Counter(self._endings[scenario_id].values())
            slices, twin = self._slices[scenario_id], self._twins[scenario_id]
            rows.append(Row(scenario_id, slices, len(table), right, _means(table), endings, twin))
        return rows

    def totals(self) -> dict[str, float]:
        """Return sums over all episodes: tokens, cost, seconds of policies."""
        sums = np.zeros(len(MEASURES))
        for samples in self._values.values():
            sums += np.sum(list(samples.values()), axis=0)
        summed = ("prompt_tokens", "completion_tokens", "cost_usd", "seconds")
        return {name: float(sums[at]) for at, name in enumerate(MEASURES) if name in summed}


def summarise(episodes: Iterable[Episode], *, k: int | None = None, seed: int = 0) -> Summary:
    """Return everything there is to say about these episodes.

    `k` of pass@k is as given, or the most samples that any scenario has.
    """
    tally = Tally()
    for episode in episodes:
        tally.add(episode)
    return summarise_tally(tally, k=k, seed=seed)


def summarise_tally(tally: Tally, *, k: int | None = None, seed: int = 0) -> Summary:
    """Summarise episodes that are counted already."""
    rows = tally.rows()
    k = k or max((row.samples for row in rows), default=1)
    slices: dict[str, dict[str, Part]] = {}
    for kind in SLICES:
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if kind in row.slices:
                groups[row.slices[kind]].append(row)
        if groups:
            slices[kind] = {value: _part(groups[value], k, seed) for value in sorted(groups)}
    return Summary(k, _part(rows, k, seed), slices, tally.totals())


def slices_of(episode: Episode) -> dict[str, str]:
    """Return the slices an episode belongs to, from its metadata."""
    found = {kind: episode.metadata[key] for kind, key in SLICES.items() if key in episode.metadata}
    if "seen" in found:
        found["seen"] = "unseen" if found["seen"] else "seen"
    return {kind: str(value) for kind, value in found.items()}


def _part(rows: list[Row], k: int, seed: int) -> Part:
    passes = [pass_at_k(row.samples, row.right, k) if row.samples >= k else float("nan") for row in rows]
    table = np.column_stack(
        [np.array([row.values for row in rows]).reshape(len(rows), len(MEASURES)), passes]
    )
    intervals = dict(zip([*MEASURES, PASS], bootstrap_means(table, seed=seed), strict=True))
    intervals[TWINS] = _both_twins(rows, seed)
    shares = [*DERIVED, *(name for name, measure in MEASURES.items() if measure.share)]
    intervals.update({name: proportion(intervals[name]) for name in shares})
    endings: Counter[str] = Counter()
    for row in rows:
        endings.update(row.endings)
    ordered = {ending.value: endings[ending.value] for ending in Ending if endings[ending.value]}
    return Part(len(rows), sum(row.samples for row in rows), intervals, ordered)


def _both_twins(rows: list[Row], seed: int) -> Interval:
    """How likely both scenarios of a pair of twins are right, over the pairs of which both were played."""
    right = {row.scenario_id: row.right / row.samples for row in rows}
    pairs = {tuple(sorted((row.scenario_id, row.twin))) for row in rows if row.twin in right}
    return bootstrap_mean([right[one] * right[two] for one, two in sorted(pairs)], seed=seed)


def is_share(name: str) -> bool:
    """Return whether a measure is shown in percent."""
    return name in DERIVED or MEASURES[name].share


def _parts_json(parts: Mapping[str, Part]) -> dict[str, Any]:
    return {value: _part_json(part) for value, part in parts.items()}


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "scenarios": part.scenarios,
        "episodes": part.episodes,
        "measures": {name: as_json(interval) for name, interval in part.measures.items()},
        "endings": dict(part.endings),
    }


def _means(table: Floats) -> Floats:
    """Return column means that leave nan out; nan where a column has nothing."""
    known = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, table, 0.0).sum(0) / known.sum(0))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")

"""What changed on the scenarios that two runs played, and where.

Differences are paired: B minus A on each scenario, averaged, with a bootstrap interval by scenario. A
scenario has flipped when its share of right samples rose or fell. Scenarios that only one side has, or whose
file changed in between, are left out and counted. How it is printed is `compare_command`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from math import isnan
from typing import NamedTuple

from core.intervals import Interval, paired_difference, proportion
from evaluation.summary import MEASURES, slices_of
from project_types import Episode

BY_SCENARIO = tuple(name for name in MEASURES if name not in ("fabricated", "opened"))


class Flip(NamedTuple):
    """A scenario that one side solves more often, and the samples that were right."""

    scenario_id: str
    slices: Mapping[str, str]
    before: tuple[int, ...]
    before_samples: int
    after: tuple[int, ...]
    after_samples: int

    @property
    def gain(self) -> float:
        """Share of right samples after, minus before."""
        return len(self.after) / self.after_samples - len(self.before) / self.before_samples


class Change(NamedTuple):
    """One measure on both sides and its paired difference."""

    before: float
    after: float
    difference: Interval


class Comparison(NamedTuple):
    """Everything there is to say."""

    scenarios: int
    only_before: int
    only_after: int
    changed_files: tuple[str, ...]
    measures: Mapping[str, Change]
    slices: Mapping[str, Mapping[str, Change]]
    """Root cause right, by slice."""
    flips: tuple[Flip, ...]


class Pair(NamedTuple):
    """The episodes of one scenario on both sides."""

    before: list[Episode]
    after: list[Episode]


def compare(before: Iterable[Episode], after: Iterable[Episode]) -> Comparison:
    """Pair two sets of episodes by scenario."""
    left, right = _by_scenario(before), _by_scenario(after)
    shared = sorted(left.keys() & right.keys())
    changed = tuple(name for name in shared if _digest(left[name]) != _digest(right[name]))
    pairs = {name: Pair(left[name], right[name]) for name in shared if name not in changed}
    return Comparison(
        scenarios=len(pairs),
        only_before=len(left.keys() - right.keys()),
        only_after=len(right.keys() - left.keys()),
        changed_files=changed,
        measures=_measures(pairs.values()),
        slices=_slices(pairs.values()),
        flips=_flips(pairs),
    )


def _measures(pairs: Collection[Pair]) -> dict[str, Change]:
    """Return the change of every measure; that of accusations only where there is none to make."""
    found = {name: _change(pairs, name) for name in BY_SCENARIO}
    if not found["false_accusation"].difference.n:
        del found["false_accusation"]
    return found


def _slices(pairs: Iterable[Pair]) -> dict[str, dict[str, Change]]:
    """Return the change of accuracy by slice: kind, value."""
    groups: dict[str, dict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        for kind, value in slices_of(pair.after[0]).items():
            groups[kind][value].append(pair)
    found: dict[str, dict[str, Change]] = {}
    for kind, parts in groups.items():
        found[kind] = {value: _change(part, "accuracy") for value, part in sorted(parts.items())}
    return found


def _by_scenario(episodes: Iterable[Episode]) -> dict[str, list[Episode]]:
    groups: dict[str, list[Episode]] = defaultdict(list)
    for episode in episodes:
        groups[episode.scenario_id].append(episode)
    return groups


def _digest(episodes: Iterable[Episode]) -> set[object]:
    """Return which contents of the scenario file these were played on; `{None}` where it was not noted."""
    return {episode.metadata.get("scenario_digest") for episode in episodes}


def _change(pairs: Iterable[Pair], measure: str) -> Change:
    """Return the paired difference of one measure, over the scenarios where both sides have it."""
    _, share, of = MEASURES[measure]
    before, after = list[float](), list[float]()
    for pair in pairs:
        was, now = (sum(map(of, side)) / len(side) for side in pair)
        if not (isnan(was) or isnan(now)):
            before.append(was)
            after.append(now)
    difference = paired_difference(before, after)
    count = max(1, len(before))
    return Change(
        sum(before) / count, sum(after) / count, proportion(difference, lowest=-1.0) if share else difference
    )


def _flips(pairs: Mapping[str, Pair]) -> tuple[Flip, ...]:
    """Return the scenarios whose share of right samples changed: the largest losses first, then the gains."""
    flips = [
        Flip(
            name,
            slices_of(pair.after[0]),
            _right(pair.before),
            len(pair.before),
            _right(pair.after),
            len(pair.after),
        )
        for name, pair in pairs.items()
    ]
    changed = [flip for flip in flips if abs(flip.gain) > 1e-9]
    return tuple(sorted(changed, key=lambda flip: (flip.gain > 0, -abs(flip.gain), flip.scenario_id)))


def _right(side: Iterable[Episode]) -> tuple[int, ...]:
    """Return the samples that were right."""
    return tuple(sorted(episode.sample for episode in side if episode.outcome.correct))

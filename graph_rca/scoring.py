"""How right a ranking is: AC@k, Avg@5, lift over chance, path accuracy, both twins
right. Ties count by chance.

AC@k is the share of incidents whose true service is among the first k. Where the true service shares its
score with others, it counts with the probability that a drawn order puts it there, so a ranker that gives one
score to all has exactly chance. Avg@5 is the mean of AC@1 to AC@5 (the names are those of RCAEval).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.intervals import Interval, bootstrap_mean, proportion

DEPTH = 5
Floats = NDArray[np.float64]


class Row(NamedTuple):
    """What one ranker made of one incident."""

    at: tuple[float, ...]
    """AC@1 to AC@5, each 0 to 1."""
    path: float | None
    """Whether the whole path from cause to complaint is right; None where the truth has none."""
    ms: float


class Scores(NamedTuple):
    """What one ranker reaches on one slice."""

    first: Interval
    third: Interval
    average: Interval
    lift: float
    """AC@1 divided by that of chance."""
    path: Interval
    twins: Interval
    """Share of pairs of twins in which both are right."""
    ms: float
    """Median."""


def hits(scores: Floats, truth: int) -> tuple[float, ...]:
    """Return the probability that the true service is among the first 1 to 5."""
    better = int((scores > scores[truth]).sum())
    equal = int((scores == scores[truth]).sum())
    return tuple(float(np.clip((depth - better) / equal, 0.0, 1.0)) for depth in range(1, DEPTH + 1))


def chance(services: int) -> tuple[float, ...]:
    """Return what a drawn order reaches."""
    return tuple(min(1.0, depth / services) for depth in range(1, DEPTH + 1))


def summed(rows: Sequence[Row], services: Sequence[int], twins: Sequence[str]) -> Scores:
    """Return the scores of a slice. `twins` names the pair of each incident; '' for none."""
    at = np.array([row.at for row in rows])
    guess = float(np.mean([1 / count for count in services]))
    paths = [row.path for row in rows if row.path is not None]
    return Scores(
        _share(at[:, 0]), _share(at[:, 2]), bootstrap_mean(at.mean(axis=1)), float(at[:, 0].mean()) / guess,
        _share(np.array(paths)), _share(_pairs(at[:, 0], twins)), float(np.median([row.ms for row in rows])),
    )  # fmt: skip


def _share(values: Floats) -> Interval:
    return proportion(bootstrap_mean(values))


def _pairs(first: Floats, twins: Sequence[str]) -> Floats:
    found: dict[str, list[float]] = {}
    for value, pair in zip(first.tolist(), twins, strict=True):
        if pair:
            found.setdefault(pair, []).append(value)
    return np.array([min(both) for both in found.values() if len(both) == 2])

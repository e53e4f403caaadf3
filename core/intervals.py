"""Numbers with intervals: means by scenario with a bootstrap, paired differences, agreement.

Samples of one scenario are not independent, so the scenario is what gets resampled: every function that makes
an interval takes one number per scenario. Pure numpy; no I/O, no episodes, no randomness beyond the seed it
is given. It does not correct for looking at many slices at once: a table of twenty intervals holds about one
that misses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Method = Literal["percentile", "bca"]

RESAMPLES = 2000
CELLS_AT_ONCE = 4_000_000
"""Resampled counts held in memory together (32 MB)."""
_NORMAL = NormalDist()


class Interval(NamedTuple):
    """A mean over `n` scenarios and the interval it lies in. All three are nan when `n` is 0."""

    value: float
    low: float
    high: float
    n: int

    def percent(self) -> str:
        """Return '41.2 % [35.0, 47.4]', or '-' when nothing was measured."""
        if self.n == 0:
            return "-"
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def as_json(interval: Interval) -> dict[str, float | int | None]:
    """Return {value, low, high, scenarios}; null where nothing was measured."""
    value, low, high = (None if interval.n == 0 else number for number in interval[:3])
    return {"value": value, "low": low, "high": high, "scenarios": interval.n}


EMPTY = Interval(float("nan"), float("nan"), float("nan"), 0)


def bootstrap_means(
    scores_SM: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    method: Method = "percentile",
) -> list[Interval]:
    """Return the mean of each of M measures over S scenarios, with bootstrap intervals. All measures share
    their resamples.

    `nan` marks a measure that a scenario does not have; it is left out of that measure's mean. A measure
    whose values are all equal has an interval of no width here; see `proportion` for shares.
    """
    scores = np.asarray(scores_SM, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(f"scores must have the axes (scenario, measure), got shape {scores.shape}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if len(scores) == 0:
        return [EMPTY] * scores.shape[1]
    means_BM = _resampled_means(scores, resamples, np.random.default_rng(seed))
    return [_interval(scores[:, m], means_BM[:, m], confidence, method) for m in range(scores.shape[1])]


def bootstrap_mean(
    scores_S: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    method: Method = "percentile",
) -> Interval:
    """Return `bootstrap_means` of one measure: one number per scenario."""
    column = np.asarray(scores_S, dtype=np.float64).reshape(-1, 1)
    return bootstrap_means(column, confidence=confidence, resamples=resamples, seed=seed, method=method)[0]


def paired_difference(
    before_S: ArrayLike,
    after_S: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the mean of after - before over the same scenarios, in the same order, with its interval."""
    before, after = np.asarray(before_S, dtype=np.float64), np.asarray(after_S, dtype=np.float64)
    if before.shape != after.shape:
        raise ValueError(
            "a paired difference needs the same scenarios on both sides, "
            f"got {before.shape} and {after.shape}"
        )
    return bootstrap_mean(after - before, confidence=confidence, resamples=resamples, seed=seed)


def proportion(interval: Interval, confidence: float = 0.95, *, lowest: float = 0.0) -> Interval:
    """Return the same interval for a share, where equal scenarios leave room for doubt.

    For a difference of shares, `lowest` is -1.

    A bootstrap of identical values has no width, which would claim certainty from a handful of scenarios. Not
    one of n was different, so up to 1 - (alpha/2)^(1/n) of all scenarios may be, by as much as a share can;
    at 0 or 1 this is the Clopper-Pearson interval.
    """
    value, low, high, n = interval
    if n == 0 or low < high:
        return interval
    room = 1.0 - exp(log((1.0 - confidence) / 2) / n)
    return Interval(value, value - room * (value - lowest), value + room * (1.0 - value), n)


def share_of(hits: float, of: int, confidence: float = 0.95) -> Interval:
    """Return a share of independent trials with its score interval (Wilson 1927); empty when there were none.

    `hits` may be a fraction: the mean over samples of a scenario, summed over scenarios.
    """
    if of <= 0:
        return EMPTY
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    share = hits / of
    middle = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half), of)


def share_by_scenario(hits: int, samples: int, scenarios: int) -> Interval:
    """Return the share of samples that are hits, with an interval as wide as that of so many scenarios.

    Samples of one scenario are alike, so more samples of the same scenarios narrow nothing.
    """
    if not samples or not scenarios:
        return EMPTY
    return share_of(hits * scenarios / samples, scenarios)


def cohens_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Return the agreement of two raters beyond chance: (p_o - p_e) / (1 - p_e), Cohen 1960.

    When both always give the same single label chance explains everything and kappa is undefined: returns
    nan. Raises ValueError when the two differ in length or are empty.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"kappa needs two ratings of the same things, got {len(first)} and {len(second)}")
    n = len(first)
    seen: Mapping[Hashable, int] = Counter(first)
    also: Mapping[Hashable, int] = Counter(second)
    agree_by_chance = sum(count * also.get(label, 0) for label, count in seen.items())
    agreed = sum(a == b for a, b in zip(first, second, strict=True))
    if agree_by_chance == n * n:
        return float("nan")
    return (agreed * n - agree_by_chance) / (n * n - agree_by_chance)


def _resampled_means(scores: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Return means over `resamples` draws of S scenarios with replacement: (resample, measure)."""
    size = len(scores)
    known = ~np.isnan(scores)
    filled = np.where(known, scores, 0.0)
    parts: list[Floats] = []
    left = resamples
    while left:
        batch = min(left, max(1, CELLS_AT_ONCE // size))
        drawn = rng.integers(0, size, size=(batch, size)) + np.arange(batch)[:, None] * size
        counts = np.bincount(drawn.ravel(), minlength=batch * size).reshape(batch, size).astype(np.float64)
        with np.errstate(invalid="ignore"):
            parts.append((counts @ filled) / (counts @ known))
        left -= batch
    return np.concatenate(parts)


def _interval(scores: Floats, means: Floats, confidence: float, method: Method) -> Interval:
    kept, drawn = scores[~np.isnan(scores)], means[~np.isnan(means)]
    if len(kept) == 0:
        return EMPTY
    value = float(kept.mean())
    if np.ptp(kept) == 0 or len(drawn) == 0:
        return Interval(float(kept[0]), float(kept[0]), float(kept[0]), len(kept))
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    if method == "bca":
        tails = _bca_tails(kept, drawn, value, tails)
    low, high = np.quantile(drawn, tails)
    return Interval(value, float(low), float(high), len(kept))


def _bca_tails(
    scores: Floats, means: Floats, value: float, tails: tuple[float, float]
) -> tuple[float, float]:
    """Return quantiles that correct for bias and skew (Efron 1987).

    z0 comes from the resamples, the acceleration from the jackknife.
    """
    below = (np.sum(means < value) + np.sum(means <= value)) / (2 * len(means))
    z0 = _NORMAL.inv_cdf(min(max(float(below), 0.5 / len(means)), 1 - 0.5 / len(means)))
    left_out = (scores.sum() - scores) / (len(scores) - 1)
    lean = left_out.mean() - left_out
    spread = float(np.sum(lean**2))
    acceleration = float(np.sum(lean**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    low, high = (
        _NORMAL.cdf(z0 + (z0 + z) / (1 - acceleration * (z0 + z)))
        for z in (_NORMAL.inv_cdf(tails[0]), _NORMAL.inv_cdf(tails[1]))
    )
    return low, high

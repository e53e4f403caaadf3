"""What is about to go wrong in a run that still goes on, from the numbers it has written so far.

Pure functions over series, oldest first. Each gives a sentence, or nothing. Thresholds are in units of the
noise of the series itself, so that a loss around 0.03 and one around 30 are judged alike. They were chosen on
one half of the recorded runs of benchmarks/prediction.py; docs/failures.md holds what came out on the other.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

RECENT = 4
"""Values that must agree before anything is said: one outlier is none."""
BASE = 20
"""Values before them that they are compared with."""
LEAST_BASE = 6
LEAST_LOSSES = 5
"""A loss that runs away does so within a few steps."""
KEPT = 0.5
"""Of the way that the loss has come down: less of it must be left before a jump counts."""
JUMP_NOISES = 5.0
"""How far above those before it a value must lie, in units of their noise."""
LOSS_TIMES, NORM_TIMES = 3.0, 3.0
"""And how many times as large as their median."""
REWARD_NOISES = 4.0
LEAST_DROP = 0.15
"""Of the range that the reward has seen."""
COLLAPSED = 0.1
"""Of the entropy at the start."""
MOSTLY_FLAT = 0.8
LEAST_SAMPLES = 5


def training_diverging(losses: Sequence[float], norms: Sequence[float] = ()) -> str:
    """Whether the loss runs away, or the gradient does. Two steps in a row say so, or both at one step."""
    if losses and not math.isfinite(losses[-1]):
        return "the loss is not a number any more"
    if norms and not math.isfinite(norms[-1]):
        return "the gradient is not a number any more"
    loss, gradient = _jump(losses, LOSS_TIMES), _jump(norms, NORM_TIMES)
    if losses and losses[-1] < losses[0] - KEPT * (losses[0] - min(losses)):
        return ""  # a spike that keeps most of what was learnt
    if loss and gradient:
        return f"the loss and the gradient leave their range at once: {loss}; norm {gradient}"
    if loss and _jump(losses[:-1], LOSS_TIMES) and losses[-1] > losses[-2]:
        return f"the loss runs away: {loss}"
    if gradient and _jump(norms[:-1], NORM_TIMES) and norms[-1] > norms[-2]:
        return f"the gradient runs away: norm {gradient}"
    return ""


def _jump(values: Sequence[float], times: float) -> str:
    """What the last value is after the median of those before it, when it lies far above them all."""
    base = values[-1 - BASE : -1]
    if len(base) < LEAST_LOSSES or not all(map(math.isfinite, (*base, values[-1]))):
        return ""
    middle, noise = statistics.median(base), _noise(base)
    far = max(JUMP_NOISES * noise, (times - 1) * abs(middle))
    outside = values[-1] > max(base) and values[-1] > middle + far
    return f"{values[-1]:.3g} after {middle:.3g}" if outside else ""


def reward_collapsing(rewards: Sequence[float]) -> str:
    """Whether the reward falls away from what it had reached."""
    recent, earlier = rewards[-RECENT:], rewards[:-RECENT]
    if len(earlier) < LEAST_BASE or not all(map(math.isfinite, rewards)):
        return ""
    best = max(statistics.fmean(earlier[at : at + RECENT]) for at in range(len(earlier) - RECENT + 1))
    now, noise = statistics.fmean(recent), _noise(earlier) / math.sqrt(RECENT)
    drop = max(REWARD_NOISES * noise, LEAST_DROP * (max(rewards) - min(rewards)))
    if best - now > drop and max(recent) < best:
        return f"the reward falls: {now:+.2f} over the last {RECENT} steps after {best:+.2f}"
    return ""


def policy_collapsing(entropies: Sequence[float], flat_shares: Sequence[float]) -> str:
    """Whether the policy always does the same, so that nothing is left to learn from."""
    if len(entropies) < LEAST_BASE + RECENT or len(flat_shares) < RECENT:
        return ""
    start, now = statistics.median(entropies[:RECENT]), max(entropies[-RECENT:])
    if now < COLLAPSED * start and min(flat_shares[-RECENT:]) >= MOSTLY_FLAT:
        return f"the policy has no choice left: entropy {now:.3g} after {start:.3g}, and most groups are flat"
    return ""


def filling(times_s: Sequence[float], free_bytes: Sequence[float], within_s: float) -> float | None:
    """Seconds until nothing is free, when that is soon; None when it is not in sight.

    The slope is the median of the slopes between all pairs (Theil-Sen), so that one big file does not decide.
    """
    if len(times_s) < LEAST_SAMPLES or len(times_s) != len(free_bytes):
        return None
    pairs = range(len(times_s))
    slopes = [
        (free_bytes[late] - free_bytes[early]) / (times_s[late] - times_s[early])
        for early in pairs
        for late in pairs[early + 1 :]
        if times_s[late] > times_s[early]
    ]
    slope = statistics.median(slopes) if slopes else 0.0
    if slope >= 0:
        return None
    left_s = free_bytes[-1] / -slope
    return left_s if left_s < within_s else None


def _noise(values: Sequence[float]) -> float:
    """The size of the steps of a series, robustly: it sees neither a trend nor one outlier."""
    steps = [abs(later - earlier) for earlier, later in pairwise(values)]
    return max(1.4826 * statistics.median(steps) / math.sqrt(2), 0.01 * abs(statistics.median(values)), 1e-9)

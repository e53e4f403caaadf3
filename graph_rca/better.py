"""Is a new model better than the one in use: both rank the same incidents, and the
difference has an interval.

Incidents are fresh ones of the simulator, which stopped no training, and the confirmed findings that the new
model did not learn from. New is called better only where findings improve or stay, and fresh incidents do not
get worse by more than chance explains. Nothing is put to use here: `--weights` names what ranks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.intervals import Interval, paired_difference
from graph_rca.dataset import Labelled, labelled
from graph_rca.graph import InsufficientEvidence
from graph_rca.scoring import hits
from graph_rca.slices import generated
from graph_rca.weights import Ensemble

HELD_OUT = 3
"""Every so many findings one is kept back."""


class Compared(NamedTuple):
    """Old and new on one set."""

    name: str
    old: float
    """AC@1."""
    new: float
    difference: Interval


def split(findings: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Return findings to learn from, and those kept back: one of three, by the order of their ids."""
    ordered = sorted(findings, key=lambda one: one.graph.id)
    kept = ordered[HELD_OUT - 1 :: HELD_OUT]
    return [one for one in ordered if one not in kept], kept


def fresh(count: int, seed: int, encoders: Collection[str] = ()) -> list[Labelled]:
    """Return generated incidents, half of them of faults and systems that training never shows."""
    found = []
    for name in ("seen", "unseen both"):
        for scenario in islice(generated(name, count // 2, seed), count // 2):
            try:
                one = labelled(scenario, encoders=encoders)
            except InsufficientEvidence:
                continue
            found += [one] if one else []
    return found


def compared(name: str, items: Sequence[Labelled], old: Ensemble, new: Ensemble) -> Compared:
    """Rank the same incidents with both."""
    before, after = _firsts(old, items), _firsts(new, items)
    return Compared(name, float(before.mean()), float(after.mean()), paired_difference(before, after))


def _firsts(ranker: Ensemble, items: Sequence[Labelled]) -> NDArray[np.float64]:
    """Return how sure it is that the true service comes first, for each incident."""
    return np.array([hits(ranker.probabilities(one.graph), one.truth)[0] for one in items])


def is_better(found: Sequence[Compared]) -> bool:
    """Say whether new is better: on one set or more, and worse on none."""
    return not _worse(found) and any(one.new > one.old for one in found)


def _worse(found: Sequence[Compared]) -> list[str]:
    return [one.name for one in found if one.difference.high < 0 or one.new < one.old - 0.05]


def verdict(found: Sequence[Compared]) -> str:
    """Say whether new is better, in words."""
    if worse := _worse(found):
        return f"not better: it is worse on {', '.join(worse)}; keep the old weights"
    if not is_better(found):
        return "not better: nothing improved; keep the old weights"
    gained = [one.name for one in found if one.new > one.old]
    sure = [one.name for one in found if one.difference.low > 0]
    strength = (
        "more than chance explains"
        if sure
        else "within what chance explains, so measure more before relying on it"
    )
    return f"better on {', '.join(gained)}, {strength}"


def told(found: Sequence[Compared]) -> list[str]:
    """Return the comparison as a table in Markdown, and the verdict."""
    lines = ["| incidents | old AC@1 | new AC@1 | difference in points |", "|---|---|---|---|"]
    for one in found:
        low, high = 100 * one.difference.low, 100 * one.difference.high
        ahead = f"{100 * one.difference.value:+.1f} [{low:.1f}, {high:.1f}]"
        lines.append(
            f"| {one.name} (n {one.difference.n}) | {100 * one.old:.1f} % | {100 * one.new:.1f} % | {ahead} |"
        )
    return [*lines, "", f"The new model is {verdict(found)}."]

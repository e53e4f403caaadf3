"""How far annotators agree: Cohen's kappa of two, Krippendorff's alpha of any number,
and each one with oneself.

Both are 1 for full agreement and 0 for what chance gives. Kappa is of pairs that both judged. Alpha (nominal)
takes missing judgements as they are: J. Cohen, 1960; K. Krippendorff, Content Analysis, chapter 12. Simulated
annotators are left out unless they are asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import isnan

from alignment.preferences import Preference
from core.intervals import cohens_kappa

Judgements = Mapping[str, Mapping[str, str]]
"""What each annotator said of each pair."""


def judgements(preferences: Iterable[Preference], kinds: Sequence[str] = ("person",)) -> Judgements:
    """Return the latest judgement of each annotator on each pair."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for one in sorted(preferences, key=lambda preference: preference.at):
        if one.kind in kinds:
            found[one.by][one.id] = one.better
    return found


def cohen(one: Mapping[str, str], other: Mapping[str, str]) -> float | None:
    """Return kappa over the pairs that both judged; None when there is none, or both always say the same."""
    both = sorted(one.keys() & other.keys())
    if not both:
        return None
    kappa = cohens_kappa([one[pair] for pair in both], [other[pair] for pair in both])
    return None if isnan(kappa) else kappa


def pairwise(said: Judgements) -> dict[tuple[str, str], float | None]:
    """Return kappa of every two annotators."""
    return {(one, other): cohen(said[one], said[other]) for one, other in combinations(sorted(said), 2)}


def krippendorff(said: Judgements) -> float | None:
    """Return nominal alpha; None when no pair was judged twice."""
    units: dict[str, list[str]] = defaultdict(list)
    for judged in said.values():
        for pair, label in judged.items():
            units[pair].append(label)
    several = [labels for labels in units.values() if len(labels) > 1]
    total = sum(map(len, several))
    if not total:
        return None
    observed = sum(_disagreeing(labels) / (len(labels) - 1) for labels in several) / total
    everyone = [label for labels in several for label in labels]
    expected = _disagreeing(everyone) / (total * (total - 1))
    return 1.0 if expected == 0 else 1 - observed / expected


def _disagreeing(labels: Sequence[str]) -> int:
    """Return the ordered pairs of labels that differ."""
    return len(labels) ** 2 - sum(count**2 for count in Counter(labels).values())


def consistency(preferences: Iterable[Preference], annotator: str) -> tuple[int, int]:
    """Return how many pairs an annotator judged twice or more, and how many of them alike each time."""
    times: dict[str, list[str]] = defaultdict(list)
    for one in preferences:
        if one.by == annotator:
            times[one.id].append(one.better)
    repeated = [labels for labels in times.values() if len(labels) > 1]
    return len(repeated), sum(len(set(labels)) == 1 for labels in repeated)

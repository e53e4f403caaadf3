"""When an incident's log lines happened: their order, and which clocks to believe.

A line without a clock stands right behind the line before it in the source. Clocks far from the mass of all
clocks (the year 1754, an unset clock) are found here. It knows nothing of databases.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

_FAR = 30 * 86_400 * 1_000_000
"""Microseconds without any line that separate the mass from clocks far from it."""


class Placed(NamedTuple):
    """A line's place in its source, and when it happened, by its own clock or its neighbour's."""

    place: int
    clock: int


def in_time_order(clocks: Sequence[int | None], sequences: Sequence[int | None] = ()) -> list[Placed]:
    """Return the lines in time order.

    Args:
        clocks: what each line's clock says, in any unit; None for a line without a clock.
        sequences: each line's place in its source, None for its place in `clocks`; empty for all None.
    """
    places = range(len(clocks))
    if any(one is not None for one in sequences):
        rank = [place if given is None else given for place, given in enumerate(sequences)]
    else:
        rank = list(places)
    in_source = sorted(places, key=rank.__getitem__)
    first_known = next((clocks[place] for place in in_source if clocks[place] is not None), None)
    found: list[Placed] = []
    clock = first_known or 0  # a line before the first clock is as old as the line with it
    for place in in_source:
        own = clocks[place]
        clock = clock if own is None else own
        found.append(Placed(place, clock))
    return sorted(found, key=lambda one: one.clock)  # stable: the source's order within a moment


def mass(ordered_us: Sequence[int]) -> tuple[int, int]:
    """Return the places of the first and the last clock of the mass among clocks in order.

    The mass is the largest group of clocks without a gap of 30 days. Most incidents are one group.
    """
    if ordered_us[-1] - ordered_us[0] <= _FAR:
        return 0, len(ordered_us) - 1
    gaps = [place for place in range(1, len(ordered_us)) if ordered_us[place] - ordered_us[place - 1] > _FAR]
    edges = [0, *gaps, len(ordered_us)]
    groups = list(pairwise(edges))
    first, end = max(groups, key=lambda group: group[1] - group[0])
    return first, end - 1


def within_reach(known: tuple[int, int], new: tuple[int, int]) -> tuple[int, int]:
    """Return a stretch of time with a new one joined to it; one that is far away is left out."""
    if new[0] - known[1] > _FAR or known[0] - new[1] > _FAR:
        return known
    return min(known[0], new[0]), max(known[1], new[1])

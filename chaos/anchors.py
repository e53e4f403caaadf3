"""Which rows of candidates are written inside a request, and inside which.

Some services write about their trouble while they serve. Such a row needs a request that its candidate hits
whether it is guilty or not: when it is guilty the request fails, when it is not, its first attempt does. Both
twins have the same requests, so both have the row at the same moment.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from chaos.stage import Candidate
from chaos.topologies import Node
from chaos.traffic import HIT, STUB, FlowRun, Traffic

ANCHORED_SHARE = 0.6
"""Of the candidates that can write inside requests, how many do."""


class Anchor(NamedTuple):
    """A request, and the call of it in which a row is written."""

    run: FlowRun
    request: int
    """Its number in the run."""
    node: Node

    @property
    def at_ms(self) -> float:
        """When the row is written: soon after the request came in."""
        return float(self.run.at[self.request]) + 2.0 + 3.0 * self.node.index


def anchors(traffic: Traffic) -> dict[tuple[int, int], Anchor]:
    """(candidate, note) → where the note is written, for notes that are written inside a request."""
    found: dict[tuple[int, int], Anchor] = {}
    for number, one in enumerate(traffic.stage.candidates):
        if not _writes_inside(traffic, number, one):
            continue
        spots = [spot for run in traffic.runs if run.flow.kind == "user" for spot in _spots(run, one)]
        spots.sort(key=lambda spot: spot.at_ms)
        for place, spot in enumerate(spots[: len(one.notes)]):
            found[number, place] = spot
    return found


def _writes_inside(traffic: Traffic, number: int, one: Candidate) -> bool:
    if one.manner != "replica" or one.how.behind or not one.notes:
        return False
    return (traffic.stage.seed >> (3 * number)) % 10 < 10 * ANCHORED_SHARE


def _spots(run: FlowRun, one: Candidate) -> list[Anchor]:
    """Requests of a run that the candidate hits either way: of each call the first, one for each note."""
    found: list[Anchor] = []
    for node in run.flow.nodes:
        if node.service != one.culprit or node.parent is None:
            continue
        struck = (
            next((c for c in node.children if c.service == one.place.peer), None) if one.how.inner else node
        )
        if struck is None:
            continue
        soon = (run.at >= one.start_ms) & (run.at < one.start_ms + 140_000)
        either = (
            soon & (run.draws[struck.index][HIT] < one.share) & (run.draws[node.index][STUB] < one.mild_share)
        )
        found += [Anchor(run, index, node) for index in np.flatnonzero(either)[: len(one.notes)].tolist()]
    return found

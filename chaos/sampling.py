"""Which requests keep their spans: some that the fault hurt, some that failed
otherwise, and some that went well.

A collector that samples keeps traces with failures rather than others. About two dozen requests are kept,
from both windows, so that their durations can be compared.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chaos.anchors import Anchor
from chaos.dice import Mask
from chaos.traffic import OK, FlowRun, Traffic

MOST_SPANS = 190
HURT, OTHERWISE, MARKED, FINE, BEFORE, OWN = 10, 3, 2, 5, 6, 3
"""How many requests are kept: hurt by the fault; failed or slow otherwise; fine but with a failed span; fine;
of the healthy window; of jobs and the prober.
"""


@dataclass(eq=False)
class Sample:
    """The kept requests, as numbers of requests of each run."""

    kept: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    spans: int = 0

    def holds(self, run: FlowRun, index: int) -> bool:
        """Whether a request is kept."""
        return index in self.kept.get(run.number, ())

    def of(self, run: FlowRun) -> list[int]:
        """The kept requests of a run."""
        return self.kept.get(run.number, [])

    def add(self, run: FlowRun, index: int) -> None:
        """Keep a request, unless there are enough spans."""
        if self.holds(run, index):
            return
        size = sum(int(op.status[index] >= OK) + int(op.stub[index]) for op in run.ops.values())
        if self.spans + size <= MOST_SPANS:
            self.kept[run.number].append(index)
            self.spans += size


def draw_sample(traffic: Traffic, wanted: Iterable[Anchor], rng: random.Random) -> Sample:
    """Choose the requests that are kept, the wanted ones in any case."""
    sample = Sample()
    for anchor in wanted:
        sample.add(anchor.run, anchor.request)
    users = [run for run in traffic.runs if run.flow.kind == "user"]
    others = [run for run in traffic.runs if run.flow.kind != "user"]
    bad = {run.number: run.failed | run.slow for run in traffic.runs}
    marked = {run.number: _marked(run) & ~bad[run.number] for run in traffic.runs}
    now = {run.number: run.at >= 0 for run in traffic.runs}
    hurt = {run.number: run.hurt for run in traffic.runs}
    plain = {number: ~bad[number] & ~marked[number] for number in bad}
    groups: list[tuple[int, Sequence[FlowRun], dict[int, Any]]] = [
        (HURT, users, {number: bad[number] & now[number] & hurt[number] for number in bad}),
        (OTHERWISE, users, {number: bad[number] & now[number] & ~hurt[number] for number in bad}),
        (MARKED, users, {number: marked[number] & now[number] for number in bad}),
        (FINE, users, {number: plain[number] & now[number] for number in bad}),
        (BEFORE, users, {number: ~now[number] for number in bad}),
        (OWN, others, {number: now[number] for number in bad}),
    ]
    for count, runs, masks in groups:
        for run, index in _draw(count, runs, masks, rng):
            sample.add(run, index)
    return sample


def _marked(run: FlowRun) -> Mask:
    """Requests with a failed span somewhere."""
    found = np.zeros(len(run.at), bool)
    for op in run.ops.values():
        found |= (op.status > OK) | op.stub
    return found


def _draw(
    count: int, runs: Sequence[FlowRun], masks: dict[int, Mask], rng: random.Random
) -> list[tuple[FlowRun, int]]:
    pool = [(run, np.flatnonzero(masks[run.number])) for run in runs]
    sizes = [len(which) for _, which in pool]
    if not sum(sizes):
        return []
    drawn = rng.choices(range(len(pool)), sizes, k=count)
    return [(pool[number][0], int(rng.choice(pool[number][1]))) for number in drawn]

"""One checkpoint against another: which scenarios a training run fixed, and which it broke.

Only scenarios that both sides have tried count; every flip cites the experiments of both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.intervals import Interval, paired_difference, proportion, share_of
from failure_analysis.records import ExperimentType, InvestigationKind, Status, StoreError
from failure_analysis.store import JOINED, FailureStore, Wanted
from project_types import Frozen


class Side(Frozen):
    """One of the two that are compared: the episodes of a run, of a checkpoint, of a split."""

    run: str
    step: int | None = None
    split: str | None = None
    sampling: str | None = None

    @property
    def name(self) -> str:
        """What to call it."""
        return self.run + (f"@{self.step}" if self.step is not None else "")


class SideCount(Frozen):
    """What one side did on one scenario."""

    failed: int
    tried: int
    kinds: tuple[InvestigationKind, ...]
    """Of the failed ones, most frequent first."""
    experiments: tuple[str, ...]
    """Ids, to look at."""

    @property
    def fails(self) -> bool:
        """Whether at least half of the samples failed."""
        return 2 * self.failed >= self.tried


class Flip(Frozen):
    """A scenario and what both sides did on it."""

    scenario_id: str
    fault_type: str
    before: SideCount
    after: SideCount


class Comparison(Frozen):
    """What changed from one side to the other, on the scenarios both have tried."""

    before: str
    after: str
    scenarios: int
    fixed: tuple[Flip, ...]
    """Failed before and not after."""
    introduced: tuple[Flip, ...]
    """Fails after and did not before."""
    still_failing: tuple[Flip, ...]
    kinds: tuple[tuple[str, int, int], ...]
    """(kind, scenarios that show it before, after), largest change first."""
    failing_before: Interval
    """Share of samples that fail, a mean over scenarios; the interval counts scenarios."""
    failing_after: Interval
    change: Interval
    """After minus before, over the same scenarios."""


class NothingToCompare(StoreError):
    """A side has no captured episodes."""


def compare(store: FailureStore, before: Side, after: Side) -> Comparison:
    """Which failures `after` fixed and which it introduced. Raises NothingToCompare."""
    sides = [_side(store, side) for side in (before, after)]
    shared = sorted(sides[0].keys() & sides[1].keys())
    flips = [
        Flip(scenario_id=key, fault_type=sides[0][key][0], before=sides[0][key][1], after=sides[1][key][1])
        for key in shared
    ]
    kinds: list[Counter[str]] = [Counter(), Counter()]
    for flip in flips:
        for counter, side in zip(kinds, (flip.before, flip.after), strict=True):
            counter.update(side.kinds)
    changes = [(kind, kinds[0][kind], kinds[1][kind]) for kind in kinds[0] | kinds[1]]
    failing = [_failed_shares(column) for column in _columns(flips)]
    return Comparison(
        failing_before=share_of(sum(failing[0]), len(flips)),
        failing_after=share_of(sum(failing[1]), len(flips)),
        change=proportion(paired_difference(*failing), lowest=-1.0),
        before=before.name,
        after=after.name,
        scenarios=len(shared),
        fixed=tuple(flip for flip in flips if flip.before.fails and not flip.after.fails),
        introduced=tuple(flip for flip in flips if flip.after.fails and not flip.before.fails),
        still_failing=tuple(flip for flip in flips if flip.before.fails and flip.after.fails),
        kinds=tuple(sorted(changes, key=lambda change: (-abs(change[2] - change[1]), change[0]))),
    )


def _columns(flips: Sequence[Flip]) -> tuple[list[SideCount], list[SideCount]]:
    return [flip.before for flip in flips], [flip.after for flip in flips]


def _failed_shares(column: Sequence[SideCount]) -> list[float]:
    return [side.failed / side.tried for side in column]


def _side(store: FailureStore, side: Side) -> dict[str, tuple[str, SideCount]]:
    """Scenario → (fault type, what was done on it)."""
    wanted = Wanted(
        types=(ExperimentType.EPISODE,),
        run=side.run,
        step=side.step,
        split=side.split,
        sampling=side.sampling,
    )
    where, values = wanted.sql()
    columns = "e.scenario_id, e.fault_type, e.id, e.status, f.kind"
    query = f"SELECT {columns} FROM {JOINED} WHERE {where} ORDER BY e.scenario_id, e.sample"
    by_scenario: dict[str, list[Any]] = {}
    with store.reading() as database:
        for row in database.execute(query, values):
            by_scenario.setdefault(row["scenario_id"], []).append(row)
    if not by_scenario:
        runs = (
            ", ".join(run.run for run in store.runs()[:10])
            or "none; run: python -m failure_analysis capture RUN_DIR"
        )
        raise NothingToCompare(
            f"{side.name}: no captured episodes of this run, checkpoint and split; captured runs: {runs}"
        )
    found: dict[str, tuple[str, SideCount]] = {}
    for scenario_id, rows in by_scenario.items():
        failed = [row for row in rows if row["status"] == Status.FAILED]
        kinds = Counter(InvestigationKind(row["kind"]) for row in failed if row["kind"])
        ordered = tuple(kind for kind, _ in kinds.most_common())
        ids = tuple(row["id"] for row in rows)
        found[scenario_id] = (
            rows[0]["fault_type"],
            SideCount(failed=len(failed), tried=len(rows), kinds=ordered, experiments=ids),
        )
    return found

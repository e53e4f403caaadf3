"""Whether it failed like this before: in which run, how alike, and what became of it."""

from __future__ import annotations

from datetime import datetime

from failure_analysis.aggregates import similar
from failure_analysis.notes import NOTHING_SAID, GroupNotes, Notes
from failure_analysis.records import Experiment
from failure_analysis.store import FailureStore, Wanted
from project_types import Frozen

LEAST_LIKENESS = 0.5
"""Below it two failures share a few words and little else."""
MOST = 3


class Before(Frozen):
    """An earlier failure that is like this one."""

    id: str
    name: str
    run: str
    at: datetime
    likeness: float
    """0 to 1; 1 is the same template."""
    failures: int
    """Of its group."""
    root_cause: str
    fix_suggestion: str
    said: str = ""
    """What somebody marked the group as: known, fixed in ..."""

    def words(self) -> str:
        """In one line."""
        times = f", {self.failures} times" if self.failures > 1 else ""
        said = f", {self.said}" if self.said else ""
        alike = "the same" if self.likeness >= 1 else f"similar ({self.likeness:.2f})"
        return f"{alike} in {self.run} on {self.at:%Y-%m-%d}{times}{said}: {self.root_cause}"


def before(store: FailureStore, asked: str, but: str = "") -> tuple[Before, ...]:
    """Earlier failures most like `asked` (an id or a message), one of each group; `but` is an id left out."""
    if not store.path.exists():
        return ()
    notes = Notes(store.folder).all()
    found: list[Before] = []
    for near in similar(store, asked, MOST + 1):
        if near.likeness < LEAST_LIKENESS:
            break
        latest = near.experiment if near.experiment.id != but else _earlier(store, near.group, but)
        if latest is not None and latest.failure is not None:
            found.append(_before(latest, near.likeness, near.failures, notes.get(near.group, NOTHING_SAID)))
    return tuple(found[:MOST])


def _earlier(store: FailureStore, signature: str, but: str) -> Experiment | None:
    """The latest of a group besides one."""
    rows = store.experiments(Wanted(signature=signature), limit=2).rows
    return next((row for row in rows if row.id != but), None)


def _before(latest: Experiment, likeness: float, failures: int, notes: GroupNotes) -> Before:
    why = latest.failure_analysis
    assert why is not None, "only failures are in groups"
    return Before(
        id=latest.id,
        name=latest.name,
        run=latest.run,
        at=latest.at,
        likeness=likeness,
        failures=failures,
        root_cause=why.root_cause,
        fix_suggestion=why.fix_suggestion,
        said=notes.words(),
    )

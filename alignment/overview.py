"""What people see of the room: adapters with what was measured of them, and preferences with who judged what.

Read by the dashboard, so nothing here loads a model. Not here: the pages (`dashboard.aligned`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignment.adapters import PRODUCTION, Card, Registry
from alignment.agreement import consistency, judgements, krippendorff, pairwise
from alignment.measurements import Gated, Verdict, gated, judged
from alignment.preferences import Preference, read, summary
from core.intervals import Interval, share_of
from project_types import Frozen

ADAPTERS, PAIRS, JUDGEMENTS = "adapters", "pairs.jsonl", "judgements.jsonl"


class Shown(Frozen):
    """An adapter and all that is known of it."""

    card: Card
    production: bool
    gated: Gated | None = None
    verdict: Verdict | None = None
    """Of a reward model."""

    @property
    def state(self) -> str:
        """Say in two words whether it may be used."""
        if self.verdict is not None:
            return "refused" if self.verdict.refusals else "passed"
        if self.gated is None:
            return "not gated"
        return "passed" if self.gated.passed else "refused"


def adapters(folder: Path) -> list[Shown]:
    """Return every version, the newest first. `folder` is that of the room: runs/alignment."""
    found = shown(Registry(folder / ADAPTERS))
    return sorted(found, key=lambda one: (one.card.made_at, one.card.version), reverse=True)


def shown(registry: Registry) -> list[Shown]:
    """Return every version of a registry by name, with all that is known of it."""
    gates, verdicts = gated(registry), judged(registry)
    production = registry.aliases().get(PRODUCTION)
    return [
        Shown(
            card=card,
            production=card.full_name == production,
            gated=gates.get(card.full_name),
            verdict=verdicts.get(card.full_name),
        )
        for card in registry.cards()
    ]


def moves(folder: Path) -> list[dict[str, str]]:
    """Return promotions, rollbacks and removals, the newest first."""
    return Registry(folder / ADAPTERS).log()[::-1]


class Annotator(Frozen):
    """What one person did."""

    name: str
    judged: int
    repeated: int
    consistent: int
    """Of the repeated pairs, those judged alike each time."""
    first: Interval
    """Share of decided pairs in which answer a won. Far from a half, it may be the place that wins."""


class Judgements(Frozen):
    """The preferences of one file or several, counted."""

    counts: dict[str, dict[str, int]]
    first: Interval
    annotators: tuple[Annotator, ...]
    kappas: tuple[tuple[str, str, float | None], ...]
    """Cohen's kappa of every two people; None where they judged no common pair."""
    alpha: float | None
    """Krippendorff's; None when no pair was judged twice."""


def preferences(folder: Path) -> Judgements | None:
    """Count the pairs and the judgements of people; None when there are none. Raises ConfigurationError."""
    files = [path for name in (PAIRS, JUDGEMENTS) if (path := folder / name).exists()]
    every = [one for path in files for one in read(path)]
    if not every:
        return None
    people = judgements(every)
    return Judgements(
        counts=summary(every),
        first=_first(every),
        annotators=tuple(_annotator(every, name) for name in sorted(people)),
        kappas=tuple((one, other, kappa) for (one, other), kappa in pairwise(people).items()),
        alpha=krippendorff(people),
    )


def _annotator(every: Sequence[Preference], name: str) -> Annotator:
    own = [one for one in every if one.kind == "person" and one.by == name]
    repeated, consistent = consistency(own, name)
    judged = len({one.id for one in own})
    return Annotator(name=name, judged=judged, repeated=repeated, consistent=consistent, first=_first(own))


def _first(every: Sequence[Preference]) -> Interval:
    decided = [one for one in every if one.decided]
    return share_of(sum(one.better == "a" for one in decided), len(decided))

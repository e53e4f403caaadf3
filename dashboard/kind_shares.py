"""Which part of the episodes of a checkpoint failed in which way, with intervals: one chart for each split and
way of sampling.

Samples of one scenario are alike, so an interval counts scenarios, not samples. One query; nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from core.intervals import EMPTY, Interval, share_of
from dashboard.curves import TONES, Chart, Series
from failure_analysis.records import InvestigationKind
from failure_analysis.store import JOINED, FailureStore, Wanted
from project_types import Frozen

MOST_KINDS = len(TONES)
ALWAYS = (InvestigationKind.INVENTED_SERVICE, InvestigationKind.SEARCHED_NOTHING)
"""Kinds that get a line of their own wherever they occur, however rare they are."""
SAMPLINGS = {"t0": "temperature 0", "t1": "temperature 1", "rollouts": "training rollouts"}


class KindShare(Frozen):
    """The episodes of one checkpoint, split and way of sampling that failed in one way."""

    split: str
    sampling: str
    step: int | None
    kind: InvestigationKind
    failures: int
    episodes: int
    scenarios: int
    share: float
    low: float
    high: float


class _Whole(NamedTuple):
    episodes: int
    scenarios: int


def kind_shares(store: FailureStore, wanted: Wanted) -> tuple[KindShare, ...]:
    """By split, way of sampling, step and kind."""
    where, values = wanted.sql()
    columns = "e.split, e.sampling, e.step"
    totals = (
        f"SELECT {columns}, count(*), count(DISTINCT e.scenario_id) FROM {JOINED} "
        f"WHERE p.id IS NOT NULL AND {where} GROUP BY 1, 2, 3"
    )
    failed = (
        f"SELECT {columns}, f.kind, count(*) FROM {JOINED} "
        f"WHERE p.id IS NOT NULL AND f.kind IS NOT NULL AND {where} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
    )
    with store.reading() as database:
        whole = {tuple(row[:3]): _Whole(row[3], row[4]) for row in database.execute(totals, values)}
        rows = database.execute(failed, values).fetchall()
    return tuple(_share(row, whole[tuple(row[:3])]) for row in rows)


def _share(row: Any, whole: _Whole) -> KindShare:
    found = share_by_scenario(row[4], whole.episodes, whole.scenarios)
    return KindShare(
        split=row[0],
        sampling=row[1],
        step=row[2],
        kind=InvestigationKind(row[3]),
        failures=row[4],
        episodes=whole.episodes,
        scenarios=whole.scenarios,
        share=found.value,
        low=found.low,
        high=found.high,
    )


def share_by_scenario(hits: int, episodes: int, scenarios: int) -> Interval:
    """A share of episodes whose interval is as wide as that of so many scenarios."""
    if not episodes or not scenarios:
        return EMPTY
    return share_of(hits * scenarios / episodes, scenarios)


def charts(shares: Sequence[KindShare]) -> tuple[Chart, ...]:
    """One chart for each split and way of sampling; the most frequent kinds have lines."""
    groups: dict[tuple[str, str], list[KindShare]] = {}
    for one in shares:
        if one.step is not None:
            groups.setdefault((one.split, one.sampling), []).append(one)
    return tuple(_chart(split, sampling, found) for (split, sampling), found in sorted(groups.items()))


def _chart(split: str, sampling: str, found: list[KindShare]) -> Chart:
    steps = tuple(sorted({one.step for one in found if one.step is not None}))
    sums: dict[InvestigationKind, float] = {}
    for one in found:
        sums[one.kind] = sums.get(one.kind, 0.0) + one.share
    asked = [kind for kind in ALWAYS if kind in sums]
    frequent = [kind for kind in sorted(sums, key=lambda kind: (-sums[kind], kind)) if kind not in asked]
    kinds = [*frequent[: MOST_KINDS - len(asked)], *asked]
    return Chart(
        id=f"kinds-{split}-{sampling}",
        title=f"How {split or 'episodes'} fail"
        + (f", {SAMPLINGS.get(sampling, sampling)}" if sampling else ""),
        unit="%",
        x=tuple(map(float, steps)),
        series=tuple(_series(kind, steps, found, at) for at, kind in enumerate(kinds)),
    )


def _series(kind: InvestigationKind, steps: tuple[int, ...], found: list[KindShare], at: int) -> Series:
    here = {one.step: one for one in found if one.kind is kind}

    def column(name: str) -> tuple[float | None, ...]:
        # a step without this kind has a share of 0, and no interval is drawn for it
        nothing = 0.0 if name == "share" else None
        return tuple(round(100 * getattr(here[step], name), 2) if step in here else nothing for step in steps)

    label = kind.replace("_", " ")
    return Series(label=label, tone=TONES[at], values=column("share"), low=column("low"), high=column("high"))

"""Which part of what was tried failed in which way, with intervals: one chart for each
split and way of sampling.

Only episodes have a whole: of tests, jobs and logs only failures are stored, and `overviews` counts those.
Samples of one scenario are alike, so an interval counts scenarios. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from core.intervals import share_by_scenario
from dashboard.curves import TONES, Chart, Series
from failure_analysis.aggregates import BUCKET_MS, COLUMNS, Bucket, By, place_of
from failure_analysis.records import InvestigationKind
from failure_analysis.store import JOINED, FailureStore, Wanted
from project_types import Frozen

MOST_NAMES = len(TONES)
ALWAYS = (InvestigationKind.INVENTED_SERVICE, InvestigationKind.SEARCHED_NOTHING)
"""Kinds that get a line of their own wherever they occur, however rare they are."""
SAMPLINGS = {"t0": "temperature 0", "t1": "temperature 1", "rollouts": "training rollouts"}
ANY = "fails"
"""Names all failures together."""


class FailureShare(Frozen):
    """The episodes of one split, way of sampling and bucket that failed in one way."""

    split: str
    sampling: str
    step: int | None
    """Checkpoint, for the bucket `step`."""
    at: datetime | None
    """Start of the bucket, UTC, for hours, days and weeks."""
    name: str
    failures: int
    episodes: int
    scenarios: int
    share: float
    low: float
    high: float

    @property
    def place(self) -> float | None:
        """Where on the x axis: the step, or seconds since 1970."""
        if self.at is not None:
            return self.at.timestamp()
        return None if self.step is None else float(self.step)


class _Whole(NamedTuple):
    episodes: int
    scenarios: int


def shares(
    store: FailureStore, wanted: Wanted, by: By | None = "kind", bucket: Bucket = "step"
) -> tuple[FailureShare, ...]:
    """Return the shares by split, way of sampling, bucket and name; `by` None takes all failures together."""
    name = COLUMNS[by] if by else f"'{ANY}'"
    columns = f"e.split, e.sampling, {place_of(bucket)}"
    where, values = wanted.sql()
    all_where, all_values = wanted.tried.sql()
    totals = (
        f"SELECT {columns}, count(*), count(DISTINCT e.scenario_id) FROM {JOINED} "
        f"WHERE p.id IS NOT NULL AND {all_where} GROUP BY 1, 2, 3"
    )
    # an episode that did not fail counts as 0 failures, so that a step without any is on the chart
    failed = (
        f"SELECT {columns}, {name}, sum(f.id IS NOT NULL) FROM {JOINED} "
        f"WHERE p.id IS NOT NULL AND {name} IS NOT NULL AND {where} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
    )
    with store.reading() as database:
        whole = {tuple(row[:3]): _Whole(row[3], row[4]) for row in database.execute(totals, all_values)}
        rows = database.execute(failed, values).fetchall()
    return tuple(_share(row, whole[tuple(row[:3])], bucket) for row in rows)


def _share(row: Any, whole: _Whole, bucket: Bucket) -> FailureShare:
    found = share_by_scenario(row[4], whole.episodes, whole.scenarios)
    timed = bucket in BUCKET_MS
    return FailureShare(
        split=row[0],
        sampling=row[1],
        step=row[2] if bucket == "step" else None,
        at=datetime.fromtimestamp(row[2] / 1000, UTC) if timed else None,
        name=row[3],
        failures=row[4],
        episodes=whole.episodes,
        scenarios=whole.scenarios,
        share=found.value,
        low=found.low,
        high=found.high,
    )


def sampled_of(split: str, sampling: str) -> str:
    """Name a split and a way of sampling for people."""
    return (split or "episodes") + (f", {SAMPLINGS.get(sampling, sampling)}" if sampling else "")


def charts(found: Sequence[FailureShare]) -> tuple[Chart, ...]:
    """Return a chart for each split and way of sampling; the most frequent names have lines."""
    groups: dict[tuple[str, str], list[FailureShare]] = {}
    for one in found:
        if one.place is not None:
            groups.setdefault((one.split, one.sampling), []).append(one)
    return tuple(
        _chart(f"shares-{split}-{sampling}", f"How {sampled_of(split, sampling)} fail", _named(rows))
        for (split, sampling), rows in sorted(groups.items())
    )


def failing_chart(found: Sequence[FailureShare]) -> tuple[Chart, ...]:
    """Return one chart with a line for each split and way of sampling; nothing where there is nothing."""
    lines: dict[str, list[FailureShare]] = {}
    for one in found:
        if one.place is not None:
            lines.setdefault(sampled_of(one.split, one.sampling), []).append(one)
    if not lines:
        return ()
    kept = dict(list(lines.items())[: len(TONES)])
    return (_chart("failing", "Episodes that fail", kept),)


def _named(rows: Sequence[FailureShare]) -> dict[str, list[FailureShare]]:
    """Name → its shares: the most frequent names, and those that always have a line."""
    lines: dict[str, list[FailureShare]] = {}
    for one in rows:
        lines.setdefault(one.name, []).append(one)
    asked = [name for name in ALWAYS if name in lines]
    others = [name for name in lines if name not in asked]
    others.sort(key=lambda name: (-sum(one.share for one in lines[name]), name))
    return {name: lines[name] for name in [*others[: MOST_NAMES - len(asked)], *asked]}


def _chart(id: str, title: str, lines: dict[str, list[FailureShare]]) -> Chart:
    every = [one for rows in lines.values() for one in rows]
    places = tuple(sorted({one.place for one in every if one.place is not None}))
    return Chart(
        id=id,
        title=title,
        unit="%",
        x=places,
        x_is="time" if any(one.at for one in every) else "step",
        series=tuple(_series(name, places, rows, at) for at, (name, rows) in enumerate(lines.items())),
    )


def _series(name: str, places: tuple[float, ...], rows: list[FailureShare], at: int) -> Series:
    here = {one.place: one for one in rows}

    def column(field: str, absent: float | None) -> tuple[float | None, ...]:
        return tuple(
            round(100 * getattr(here[place], field), 2) if place in here else absent for place in places
        )

    # a kind of failure that a step lacks has a share of 0 there; a split that was not tried then has none
    nothing = None if rows[0].name == ANY else 0.0
    return Series(
        label=name.replace("_", " "),
        tone=TONES[at],
        values=column("share", nothing),
        low=column("low", None),
        high=column("high", None),
    )

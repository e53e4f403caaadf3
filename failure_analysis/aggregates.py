"""What the stored failures add up to: counts and shares over time, groups with trends, and what is similar.

Functions over a `FailureStore`; nothing is written. A share has a whole only where good experiments are
stored too: episodes, runs and evaluations. A trend compares the later half of what was tried with the earlier
half and speaks only where chance would not (two-sided binomial test, 5 %).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from core.intervals import EMPTY, share_by_scenario, share_of
from failure_analysis.records import (
    Experiment,
    ExperimentType,
    FailureCategory,
    InvestigationKind,
    Page,
    Severity,
)
from failure_analysis.signatures import nearest, template
from failure_analysis.store import EVERYTHING, JOINED, LARGEST_PAGE, FailureStore, Wanted, milliseconds
from project_types import Frozen

By = Literal["category", "severity", "kind", "type", "fault_type"]
Bucket = Literal["hour", "day", "week", "step", "all"]
BUCKET_MS: dict[Bucket, int] = {"hour": 3_600_000, "day": 86_400_000, "week": 7 * 86_400_000}
COLUMNS: dict[By, str] = {
    "category": "f.category", "severity": "f.severity", "kind": "f.kind", "type": "e.type",
    "fault_type": "e.fault_type",
}  # fmt: skip
_COUNTED_WHOLE = (ExperimentType.EPISODE, ExperimentType.TRAINING_RUN, ExperimentType.EVALUATION)
"""Types of which good ones are stored too: their halves are halves of what was tried, those of the others of
the time.
"""
CHANCE = 0.05


class Count(Frozen):
    """How many failures of one name fell into one bucket."""

    name: str
    failures: int
    at: datetime | None = None
    """Start of the bucket, UTC; None for `step` and `all`."""
    step: int | None = None
    """Checkpoint, for the bucket `step`."""
    tried: int = 0
    """Experiments in this bucket, failed or not, of the types of which good ones are stored, too."""
    share: float | None = None
    """Failures of these types over what was tried of them, with its 95 % interval; None where nothing was."""
    low: float | None = None
    high: float | None = None


class Trend(StrEnum):
    """Where a group of failures is going."""

    NEW = "new"
    """First seen in the later half."""
    UP = "up"
    DOWN = "down"
    GONE = "gone"
    """Not seen in the later half, and that is no chance."""
    STEADY = "steady"
    """No change that chance would not explain."""


class Group(Frozen):
    """Failures that share a signature."""

    signature: str
    template: str
    type: ExperimentType
    category: FailureCategory
    severity: Severity
    """The worst of them."""
    kind: InvestigationKind | None
    failures: int
    runs: int
    """Different runs it occurred in."""
    first_seen: datetime
    last_seen: datetime
    trend: Trend
    earlier: int
    later: int
    """How many fell into the earlier and the later half of what was tried."""
    tried_earlier: int = 0
    tried_later: int = 0
    """What was tried in these halves; 0 where only failures are stored."""
    tried: int = 0
    """Episodes among the wanted, failed or not, for a group of episodes; else 0."""
    share: float | None = None
    """Failures over `tried`, with a 95 % interval that counts scenarios; None where
    nothing is known of a whole.
    """
    low: float | None = None
    high: float | None = None
    latest: str
    """Id of the latest experiment."""

    @property
    def shares(self) -> tuple[float, float] | None:
        """Shares of what was tried in the earlier and the later half; None where there is no whole."""
        if not self.tried_earlier or not self.tried_later:
            return None
        return self.earlier / self.tried_earlier, self.later / self.tried_later


class Similar(Frozen):
    """A stored group that is like what was asked."""

    likeness: float
    """0 to 1; 1 is the same template."""
    group: str
    template: str
    failures: int
    experiment: Experiment
    """The latest of the group."""


def place_of(bucket: Bucket) -> str:
    """Return SQL for the bucket of an experiment: its step, or the millisecond at which the bucket begins."""
    if bucket in BUCKET_MS:
        return f"e.at_ms / {BUCKET_MS[bucket]} * {BUCKET_MS[bucket]}"
    return "e.step" if bucket == "step" else "0"


def counts(
    store: FailureStore, by: By = "category", bucket: Bucket = "day", wanted: Wanted = EVERYTHING
) -> tuple[Count, ...]:
    """Failures by name and bucket, in order of time and name; `tried` counts every
    experiment of the bucket.
    """
    where, values = wanted.sql()
    at = place_of(bucket)
    whole = ", ".join(f"'{kind}'" for kind in _COUNTED_WHOLE)
    several = (
        f"SELECT {at} AS bucket, {COLUMNS[by]} AS name, sum(f.times), "
        f"sum(CASE WHEN e.type IN ({whole}) THEN f.times ELSE 0 END) "
        f"FROM {JOINED} WHERE f.id IS NOT NULL AND {where} GROUP BY 1, 2 ORDER BY 1, 2"
    )
    all_where, all_values = wanted.tried.sql()
    all_tried = f"SELECT {at}, count(*) FROM {JOINED} WHERE e.type IN ({whole}) AND {all_where} GROUP BY 1"
    with store.reading() as database:
        rows = database.execute(several, values).fetchall()
        tried = dict(database.execute(all_tried, all_values).fetchall())
    return tuple(
        _count(str(name), failures, of_whole, when, tried.get(when, 0), bucket)
        for when, name, failures, of_whole in rows
        if name
    )


def _count(name: str, failures: int, of_whole: int, when: int, tried: int, bucket: Bucket) -> Count:
    found = share_of(of_whole, tried) if of_whole <= tried else EMPTY
    known = found.n > 0
    return Count(
        name=name,
        failures=failures,
        at=datetime.fromtimestamp(when / 1000, UTC) if bucket in BUCKET_MS else None,
        step=when if bucket == "step" else None,
        tried=tried,
        share=found.value if known else None,
        low=found.low if known else None,
        high=found.high if known else None,
    )


# ----------------------------------------------------------------------------------------------------- groups


def groups(
    store: FailureStore,
    wanted: Wanted = EVERYTHING,
    *,
    order: Literal["failures", "last_seen", "severity", "trend"] = "failures",
    offset: int = 0,
    limit: int = 100,
    now: datetime | None = None,
) -> Page[Group]:
    """Groups of alike failures among the experiments wanted, with first and last seen and where they are
    going.
    """
    where, values = wanted.sql()
    query = (
        "SELECT f.signature, t.template, max(e.type) AS type, max(f.category) AS category, max(f.kind) AS kind, "
        "min(CASE f.severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END) AS worst, "
        "sum(f.times) AS failures, count(DISTINCT e.run) AS runs, min(e.at_ms) AS first, max(e.at_ms) AS last, "
        f"sum(CASE WHEN e.at_ms >= %s THEN f.times ELSE 0 END) AS later FROM {JOINED} WHERE f.id IS NOT NULL AND {where} "
        "GROUP BY f.signature"
    )
    with store.reading() as database:
        halves = _halves(database, wanted, now or datetime.now(UTC))
        boundary = (
            "CASE e.type "
            + " ".join(f"WHEN '{kind}' THEN {half.boundary_ms}" for kind, half in halves.items())
            + " WHEN '' THEN 0 ELSE 0 END"
        )
        rows = database.execute(query % boundary, values).fetchall()
        found = [_group(row, halves[ExperimentType(row["type"])]) for row in rows]
        found.sort(key=_ORDERS[order])
        tried = _tried(database, wanted)
        page = found[max(0, offset) :][: max(1, min(limit, LARGEST_PAGE))]
        latest = {group.signature: _latest(database, group.signature, where, values) for group in page}
    whole = tuple(
        group.model_copy(update={"latest": latest[group.signature], **_share_of(group, tried)})
        for group in page
    )
    return Page(rows=whole, total=len(found), offset=max(0, offset), limit=limit)


class _Tried(NamedTuple):
    episodes: int
    scenarios: int


def _tried(database: Any, wanted: Wanted) -> _Tried:
    """Count the episodes that were wanted, failed or not, and their scenarios."""
    where, values = wanted.tried.model_copy(update={"types": (ExperimentType.EPISODE,)}).sql()
    query = f"SELECT count(*), count(DISTINCT e.scenario_id) FROM {JOINED} WHERE {where}"
    return _Tried(*database.execute(query, values).fetchone())


def _share_of(group: Group, tried: _Tried) -> dict[str, float | int]:
    if group.type is not ExperimentType.EPISODE or not tried.episodes:
        return {}
    found = share_by_scenario(min(group.failures, tried.episodes), *tried)
    return {"tried": tried.episodes, "share": found.value, "low": found.low, "high": found.high}


_SEVERITIES = list(Severity)
_TRENDS = [Trend.NEW, Trend.UP, Trend.STEADY, Trend.DOWN, Trend.GONE]
_ORDERS: dict[str, Any] = {
    "failures": lambda group: (-group.failures, group.signature),
    "last_seen": lambda group: (-group.last_seen.timestamp(), group.signature),
    "severity": lambda group: (_SEVERITIES.index(group.severity), -group.failures, group.signature),
    "trend": lambda group: (_TRENDS.index(group.trend), -group.failures, group.signature),
}


class _Halves(Frozen):
    """The moment between the earlier and the later half of what was tried, and the
    share of it that is later.
    """

    boundary_ms: int
    later_share: float
    tried: int = 0
    """On both sides; 0 where only failures are stored."""


def _halves(database: Any, wanted: Wanted, now: datetime) -> dict[ExperimentType, _Halves]:
    """Return the halves of each type that was tried."""
    where, values = Wanted(run=wanted.run, split=wanted.split, since=wanted.since, until=wanted.until).sql()
    counted = f"SELECT e.type, e.at_ms, count(*) FROM experiments e WHERE {where} GROUP BY 1, 2 ORDER BY 1, 2"
    moments: dict[ExperimentType, list[tuple[int, int]]] = {}
    for kind, at_ms, tried in database.execute(counted, values):
        moments.setdefault(ExperimentType(kind), []).append((at_ms, tried))
    return {kind: _halves_of(kind, found, now) for kind, found in moments.items()}


def _halves_of(kind: ExperimentType, moments: Sequence[tuple[int, int]], now: datetime) -> _Halves:
    """Halve what was tried at these moments, (ms, how many) in order; of types
    counted in time, halve the time.
    """
    first, total = moments[0][0], sum(tried for _, tried in moments)
    if kind not in _COUNTED_WHOLE:
        return _Halves(boundary_ms=(first + max(first, milliseconds(now))) // 2, later_share=0.5)
    before, best = 0, (2.0, 0, 1.0)
    for at_ms, tried in moments:
        later = 1 - before / total
        best = min(best, (abs(later - 0.5), at_ms, later))
        before += tried
    return _Halves(boundary_ms=best[1], later_share=best[2], tried=total)


def _group(row: Any, halves: _Halves) -> Group:
    earlier, later = row["failures"] - row["later"], row["later"]
    tried_later = round(halves.tried * halves.later_share)
    return Group(
        signature=row["signature"],
        template=row["template"] or "",
        type=row["type"],
        category=row["category"],
        severity=_SEVERITIES[row["worst"]],
        kind=row["kind"],
        failures=row["failures"],
        runs=row["runs"],
        first_seen=datetime.fromtimestamp(row["first"] / 1000, UTC),
        last_seen=datetime.fromtimestamp(row["last"] / 1000, UTC),
        trend=trend(earlier, later, halves.later_share),
        earlier=earlier,
        later=later,
        tried_earlier=halves.tried - tried_later,
        tried_later=tried_later,
        latest="",
    )


def _latest(database: Any, signature: str, where: str, values: Sequence[Any]) -> str:
    query = f"SELECT e.id FROM {JOINED} WHERE f.signature = ? AND {where} ORDER BY e.at_ms DESC, e.id LIMIT 1"
    return str(database.execute(query, [signature, *values]).fetchone()[0])


def trend(earlier: int, later: int, later_share: float) -> Trend:
    """Where it is going, when a share `later_share` of what was tried belongs to the later half."""
    if not 0 < later_share < 1:
        return Trend.STEADY
    if earlier == 0:
        return Trend.NEW
    if _two_sided(later, earlier + later, later_share) >= CHANCE:
        return Trend.STEADY
    if later == 0:
        return Trend.GONE
    return Trend.UP if later > later_share * (earlier + later) else Trend.DOWN


def _two_sided(hits: int, of: int, share: float) -> float:
    """Probability, under Binomial(of, share), of a count at least as unlikely as `hits` (exact; normal above
    1,000).
    """
    if of > 1000:
        z = (abs(hits - of * share) - 0.5) / math.sqrt(of * share * (1 - share))
        return math.erfc(max(0.0, z) / math.sqrt(2))
    chances = [math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(of + 1)]
    return min(1.0, math.fsum(chance for chance in chances if chance <= chances[hits] * (1 + 1e-9)))


# ---------------------------------------------------------------------------------------------------- similar


def similar(store: FailureStore, asked: str, limit: int = 10) -> tuple[Similar, ...]:
    """Stored groups most like `asked`: the id of a stored failure, or a message. The group it belongs to
    comes first.
    """
    known = store.experiment(asked)
    text = known.failure.template if known and known.failure else template(asked)
    with store.reading() as database:
        query = "SELECT f.signature, t.template, sum(f.times) FROM failures f JOIN templates t USING (signature) GROUP BY 1"
        stored = {row[0]: (row[1], row[2]) for row in database.execute(query)}
        near = nearest(text, {signature: found[0] for signature, found in stored.items()})[:limit]
        latest = [
            (signature, likeness, _latest(database, signature, "1", ())) for signature, likeness in near
        ]
    found: list[Similar] = []
    for signature, likeness, id in latest:
        experiment = store.experiment(id)
        if experiment is not None:
            shown, failures = stored[signature]
            row = {
                "likeness": round(likeness, 4),
                "group": signature,
                "template": shown,
                "failures": failures,
            }
            found.append(Similar(**row, experiment=experiment))
    return tuple(found)

"""Sums over the store that a page needs at once: episodes by checkpoint, small series for groups, what was
tried on a scenario.

Each is one query. Nothing is written; what single experiments say is in `store`, groups and trends are in
`aggregates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from core.intervals import Interval, share_by_scenario
from dashboard.curves import Chart, Series, Tone
from failure_analysis.aggregates import Bucket, Count
from failure_analysis.records import ExperimentType, Severity
from failure_analysis.store import EVERYTHING, JOINED, FailureStore, Wanted, milliseconds
from project_types import Frozen

SPARK_BUCKETS = 16
MOST_NAMES = 8
"""Series of one chart; the rarest are summed up as 'other'."""


class Checkpoint(Frozen):
    """The episodes of one checkpoint on one split, sampled one way."""

    run: str
    split: str
    sampling: str
    step: int | None
    episodes: int
    right: int
    grounded: int
    failed: int
    reward: float | None
    turns: float
    scenarios: int

    @property
    def right_share(self) -> Interval:
        """The share that is right, with an interval that counts scenarios."""
        return share_by_scenario(self.right, self.episodes, self.scenarios)


class RunCounts(Frozen):
    """What is stored of one run."""

    episodes: int = 0
    right: int = 0
    failures: int = 0
    critical: int = 0


def checkpoints(store: FailureStore, wanted: Wanted = EVERYTHING) -> tuple[Checkpoint, ...]:
    """By run, split, way of sampling and step."""
    where, values = wanted.sql()
    query = (
        "SELECT e.run, e.split, e.sampling, e.step, count(*) AS episodes, sum(p.correct) AS right, sum(p.grounded) AS grounded, "
        "sum(f.id IS NOT NULL) AS failed, avg(p.reward) AS reward, avg(p.turns) AS turns, "
        "count(DISTINCT e.scenario_id) AS scenarios "
        f"FROM {JOINED} WHERE p.id IS NOT NULL AND {where} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 LIMIT 2000"
    )
    with store.reading() as database:
        return tuple(Checkpoint(**dict(row)) for row in database.execute(query, values))


def run_counts(store: FailureStore) -> dict[str, RunCounts]:
    """Run → what is stored of it."""
    query = (
        "SELECT e.run, sum(p.id IS NOT NULL) AS episodes, coalesce(sum(p.correct), 0) AS right, "
        "coalesce(sum(f.times), 0) AS failures, coalesce(sum(f.severity = 'critical'), 0) AS critical "
        f"FROM {JOINED} GROUP BY 1"
    )
    with store.reading() as database:
        rows = database.execute(query).fetchall()
    return {
        run: RunCounts(episodes=episodes, right=right, failures=failures, critical=critical)
        for run, episodes, right, failures, critical in rows
    }


class Totals(Frozen):
    """The numbers at the top of the first page."""

    episodes: int
    other: int
    """Failed tests, jobs, rollouts and logs. Of these only failures are stored, so they have no share."""
    critical: int
    """Critical failures of the last 24 hours."""


def totals(store: FailureStore, now: datetime) -> Totals:
    """Counts over everything that is stored."""
    since = milliseconds(now - timedelta(hours=24))
    query = (
        "SELECT coalesce(sum(e.type = ?), 0), coalesce(sum(CASE WHEN e.type != ? THEN f.times END), 0), "
        f"coalesce(sum(CASE WHEN e.at_ms >= ? AND f.severity = ? THEN f.times END), 0) FROM {JOINED}"
    )
    episode = str(ExperimentType.EPISODE)
    with store.reading() as database:
        row = database.execute(query, [episode, episode, since, str(Severity.CRITICAL)]).fetchone()
    return Totals(episodes=row[0], other=row[1], critical=row[2])


class Failing(Frozen):
    """The episodes of one split, sampled one way, over every run and step."""

    split: str
    sampling: str
    episodes: int
    failed: int
    scenarios: int

    @property
    def share(self) -> Interval:
        """The share that fails, with an interval that counts scenarios."""
        return share_by_scenario(self.failed, self.episodes, self.scenarios)


def failing(store: FailureStore) -> tuple[Failing, ...]:
    """How often episodes fail, by split and way of sampling."""
    query = (
        "SELECT e.split, e.sampling, count(*) AS episodes, sum(f.id IS NOT NULL) AS failed, "
        "count(DISTINCT e.scenario_id) AS scenarios "
        f"FROM {JOINED} WHERE p.id IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 100"
    )
    with store.reading() as database:
        return tuple(Failing(**dict(row)) for row in database.execute(query))


def sparks(
    store: FailureStore, signatures: Sequence[str], wanted: Wanted = EVERYTHING
) -> dict[str, tuple[int, ...]]:
    """Signature → failures in SPARK_BUCKETS equal parts of the time in which anything wanted was tried."""
    if not signatures:
        return {}
    where, values = wanted.sql()
    with store.reading() as database:
        first, last = database.execute(
            f"SELECT min(e.at_ms), max(e.at_ms) FROM {JOINED} WHERE {where}", values
        ).fetchone()
        if first is None:
            return {}
        width = max(1, (last - first) // SPARK_BUCKETS + 1)
        query = (
            f"SELECT f.signature, (e.at_ms - ?) / ? AS bucket, sum(f.times) FROM {JOINED} "
            f"WHERE f.signature IN ({','.join('?' * len(signatures))}) AND {where} GROUP BY 1, 2"
        )
        found: dict[str, list[int]] = {signature: [0] * SPARK_BUCKETS for signature in signatures}
        for signature, bucket, failures in database.execute(query, [first, width, *signatures, *values]):
            found[signature][bucket] = failures
    return {signature: tuple(series) for signature, series in found.items()}


class Tried(Frozen):
    """A checkpoint that investigated a scenario."""

    run: str
    step: int | None
    experiment: str
    """Id of its first sample."""
    right: bool


def tried_on(store: FailureStore, scenario_id: str) -> tuple[Tried, ...]:
    """Who investigated this scenario, by run and step."""
    query = (
        "SELECT e.run, e.step, min(e.id) AS experiment, max(p.correct) AS right "
        f"FROM {JOINED} WHERE p.id IS NOT NULL AND e.scenario_id = ? GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 500"
    )
    with store.reading() as database:
        return tuple(Tried(**dict(row)) for row in database.execute(query, [scenario_id]))


def scenarios_of(store: FailureStore, run: str) -> tuple[str, ...]:
    """The scenarios a run has episodes of."""
    query = "SELECT DISTINCT scenario_id FROM experiments WHERE run = ? AND scenario_id != '' ORDER BY 1 LIMIT 2000"
    with store.reading() as database:
        return tuple(row[0] for row in database.execute(query, [run]))


MOST_BARS = 200
_SECONDS: dict[Bucket, int] = {"hour": 3600, "day": 86_400, "week": 7 * 86_400}
_TONES: tuple[Tone, ...] = ("accent", "warm", "bad", "good", "violet", "teal", "rose", "quiet")


def natural_bucket(store: FailureStore, wanted: Wanted = EVERYTHING) -> Bucket:
    """Hours for a few days, days for a few months, else weeks."""
    where, values = wanted.sql()
    query = f"SELECT min(e.at_ms), max(e.at_ms) FROM {JOINED} WHERE f.id IS NOT NULL AND {where}"
    with store.reading() as database:
        first, last = database.execute(query, values).fetchone()
    days = (last - first) / 86_400_000 if first is not None else 0
    if days < 4:
        return "hour"
    return "day" if days < 120 else "week"


def chart_of(counts: Sequence[Count], bucket: Bucket, title: str) -> Chart:
    """Counts over time or steps as stacked bars; the rarest names are summed up, and times at which nothing
    failed are gaps.
    """
    places = _filled(sorted({_place(count) for count in counts}), _SECONDS.get(bucket, 0))
    sums: dict[str, int] = {}
    for count in counts:
        sums[count.name] = sums.get(count.name, 0) + count.failures
    kept = sorted(sums, key=lambda name: (-sums[name], name))[
        : MOST_NAMES if len(sums) <= MOST_NAMES else MOST_NAMES - 1
    ]
    names = [*kept, *(["other"] if len(kept) < len(sums) else [])]
    table = {name: dict.fromkeys(places, 0.0) for name in names}
    for count in counts:
        table[count.name if count.name in table else "other"][_place(count)] += count.failures
    series = tuple(
        Series(label=name.replace("_", " "), tone=tone, values=tuple(table[name].values()))
        for name, tone in zip(names, _TONES, strict=False)
    )
    timed = bucket in _SECONDS
    return Chart(
        id="counts",
        title=title,
        unit="failures",
        x=places,
        x_is="time" if timed else "step",
        series=series,
        bars=True,
    )


def _filled(places: Sequence[float], width_s: int) -> tuple[float, ...]:
    """Every bucket from the first to the last, unless those are too many to draw."""
    if not width_s or len(places) < 2 or (places[-1] - places[0]) / width_s > MOST_BARS:
        return tuple(places)
    return tuple(
        places[0] + width_s * number for number in range(round((places[-1] - places[0]) / width_s) + 1)
    )


def _place(count: Count) -> float:
    """Where on the x axis: the step, or seconds since 1970."""
    if count.step is not None:
        return float(count.step)
    return (count.at or datetime.fromtimestamp(0, UTC)).timestamp()

"""The JSON half: experiments, episodes, runs, aggregates. `/openapi.json` describes it; the page reads its
curves from here.

Every list is bounded and every answer is a typed model. An error is `{"error": text}`, whose text says what
to do next.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import Field

from core.episode_store.run_folder import State
from dashboard.answers import (
    Curves,
    EpisodeOut,
    ExperimentOut,
    ExperimentPage,
    ExperimentWhole,
    FailureOut,
    GroupOut,
    GroupPage,
    RunOut,
    SimilarOut,
)
from dashboard.asked import Compared, Counted, Grouped, Listed, LookedFor
from dashboard.curves import TONES, Chart, curves, together
from dashboard.overviews import Checkpoint, chart_of, checkpoints, natural_bucket
from dashboard.shares import charts, failing_chart, shares
from dashboard.shelf import Shelf
from dashboard.transcripts import view
from failure_analysis import aggregates, comparing
from failure_analysis.aggregates import Bucket, Count
from failure_analysis.comparing import Comparison
from failure_analysis.notes import NOTHING_SAID
from failure_analysis.records import Experiment, ExperimentType
from failure_analysis.store import Wanted

EPISODES = (ExperimentType.EPISODE,)
MOST_COUNTS = 5000
"""Counts of one answer; the earliest are left out."""
MOST_FLIPS = 1000
"""Scenarios of one kind in a comparison."""
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]
Name = Annotated[str, Query(max_length=300)]


def routes(shelf: Shelf) -> APIRouter:
    """The routes under /api."""
    router = APIRouter(prefix="/api")
    _add_experiments(router, shelf)
    _add_runs(router, shelf)
    _add_aggregates(router, shelf)
    return router


def _add_experiments(router: APIRouter, shelf: Shelf) -> None:
    store = shelf.store

    def found(id: str) -> Experiment:
        experiment = store.experiment(id)
        if experiment is None:
            raise HTTPException(404, f"no experiment has id {id}; list them at /api/experiments")
        return experiment

    @router.get("/experiments", tags=["experiments"])
    def experiments(asked: Annotated[Listed, Query()]) -> ExperimentPage:
        """Experiments of every type; each failed one carries its failure_analysis."""
        return ExperimentPage.of(
            store.experiments(shelf.wanted(asked), order=asked.order, offset=asked.offset, limit=asked.limit)
        )

    @router.get("/experiments/{id}", tags=["experiments"])
    def experiment(id: Id) -> ExperimentWhole:
        """One experiment with the claims, the error and the excerpt of its log."""
        one = found(id)
        return ExperimentWhole(
            experiment=ExperimentOut.of(one), failure=FailureOut.of(one.failure) if one.failure else None
        )

    @router.get("/episodes", tags=["episodes"])
    def episodes(asked: Annotated[Listed, Query()]) -> ExperimentPage:
        """Finished investigations."""
        wanted = shelf.wanted(asked, EPISODES)
        return ExperimentPage.of(
            store.experiments(wanted, order=asked.order, offset=asked.offset, limit=asked.limit)
        )

    @router.get("/episodes/{id}", tags=["episodes"])
    def episode(id: Id) -> EpisodeOut:
        """One investigation, turn by turn, with cited and gold evidence marked."""
        one = found(id)
        played, claims = shelf.transcript(one), one.failure.claims if one.failure else ()
        same: dict[str, Any] = {
            name: getattr(played, name)
            for name in ("outcome", "report", "verdict", "reward", "reward_components")
        }
        failure = FailureOut.of(one.failure) if one.failure else None
        shown = view(played, shelf.scenario(one), claims)
        return EpisodeOut(experiment=ExperimentOut.of(one), failure=failure, transcript=shown, **same)


def _add_runs(router: APIRouter, shelf: Shelf) -> None:
    @router.get("/runs", tags=["runs"])
    def runs() -> list[RunOut]:
        """Training runs and evaluations, latest first, as their folders say."""
        return [RunOut.of(run) for run in shelf.runs.all()]

    @router.get("/run", tags=["runs"])
    def run(name: Name) -> RunOut:
        """One run."""
        return RunOut.of(shelf.runs.get(name))

    @router.get("/run/curves", tags=["runs"])
    def run_curves(name: Name) -> Curves:
        """Learning curves as far as the run has come."""
        one = shelf.runs.get(name)
        return Curves(live=one.state is State.RUNNING, charts=curves(one.rows))

    @router.get("/run/kinds", tags=["runs"])
    def run_kinds(name: Name) -> Curves:
        """Which share of its episodes failed in which way, by split and way of sampling."""
        one = shelf.runs.get(name)
        found = shares(shelf.store, Wanted(run=name))
        return Curves(live=one.state is State.RUNNING, charts=charts(found))

    @router.get("/runs/curves", tags=["runs"])
    def runs_curves(name: Annotated[list[str], Query(max_length=len(TONES))]) -> Curves:
        """The learning curves of several runs, one chart for each measure."""
        found = [shelf.runs.get(one) for one in dict.fromkeys(name)]
        live = any(one.state is State.RUNNING for one in found)
        return Curves(live=live, charts=together({one.name: one.rows for one in found}))

    @router.get("/run/checkpoints", tags=["runs"])
    def run_checkpoints(name: Name) -> list[Checkpoint]:
        """The stored episodes of a run by split, way of sampling and step."""
        shelf.runs.get(name)
        return list(checkpoints(shelf.store, Wanted(run=name)))


def _add_aggregates(router: APIRouter, shelf: Shelf) -> None:
    store = shelf.store

    def bucket_of(asked: Counted) -> Bucket:
        return asked.bucket or natural_bucket(store, shelf.wanted(asked))

    @router.get("/counts", tags=["aggregates"])
    def counts(asked: Annotated[Counted, Query()]) -> list[Count]:
        """Failures by category, severity, kind, type or fault over time or by checkpoint."""
        return list(aggregates.counts(store, asked.named_by, bucket_of(asked), shelf.wanted(asked)))[
            -MOST_COUNTS:
        ]

    @router.get("/counts/chart", tags=["aggregates"])
    def counts_chart(asked: Annotated[Counted, Query()]) -> Curves:
        """Shares of the episodes by split and way of sampling; counts of everything else."""
        bucket, wanted = bucket_of(asked), shelf.wanted(asked)
        of_episodes = charts(shares(store, wanted, asked.by or "kind", bucket)) if asked.episodes else ()
        return Curves(live=True, charts=(*of_episodes, *others(asked, wanted, bucket)))

    def others(asked: Counted, wanted: Wanted, bucket: Bucket) -> tuple[Chart, ...]:
        if not asked.others:
            return ()
        by = asked.by or "category"
        made = aggregates.counts(store, by, bucket, wanted.model_copy(update={"types": asked.others}))
        chart = chart_of(made, bucket, f"Failed tests, jobs and logs by {by.replace('_', ' ')} per {bucket}")
        return (chart,) if chart.series else ()

    @router.get("/failing/chart", tags=["aggregates"])
    def failing(asked: Annotated[Counted, Query()]) -> Curves:
        """The share of episodes that fail, a line for each split and way of sampling;
        counts of everything else.
        """
        bucket, wanted = bucket_of(asked), shelf.wanted(asked)
        lines = failing_chart(shares(store, wanted, None, bucket)) if asked.episodes else ()
        return Curves(live=True, charts=(*lines, *others(asked, wanted, bucket)))

    @router.get("/groups", tags=["aggregates"])
    def groups(asked: Annotated[Grouped, Query()]) -> GroupPage:
        """Groups of alike failures with first and last seen and trend."""
        now = datetime.now(UTC)
        page = aggregates.groups(
            store, shelf.wanted(asked), order=asked.order, offset=asked.offset, limit=asked.limit, now=now
        )
        said = shelf.notes.all()
        rows = tuple(GroupOut.of(row, said.get(row.signature, NOTHING_SAID)) for row in page.rows)
        return GroupPage(rows=rows, total=page.total, offset=page.offset, limit=page.limit)

    @router.get("/similar", tags=["aggregates"])
    def similar(asked: Annotated[LookedFor, Query()]) -> list[SimilarOut]:
        """Stored failures nearest to one, or to a message."""
        near = aggregates.similar(store, asked.to, asked.limit)
        return [
            SimilarOut(
                likeness=one.likeness,
                group=one.group,
                template=one.template,
                failures=one.failures,
                experiment=ExperimentOut.of(one.experiment),
            )
            for one in near
        ]

    @router.get("/compare", tags=["aggregates"])
    def compare(asked: Annotated[Compared, Query()]) -> Comparison:
        """Which scenarios one checkpoint fixed or broke against another."""
        if not (asked.before or asked.after):
            raise HTTPException(422, "name a run: /api/compare?before=RUN&before_step=0&after_step=40")
        found = comparing.compare(store, *asked.sides())
        cut = {name: getattr(found, name)[:MOST_FLIPS] for name in ("fixed", "introduced", "still_failing")}
        return found.model_copy(update=cut)

"""The JSON half: experiments, episodes, runs, aggregates. `/openapi.json` describes it; the page reads its curves from here.

Every list is a page of at most LARGEST_PAGE rows, and every answer is a typed model. An error is `{"error": text}`, whose text
says what to do next.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import Field

from failure_analysis import aggregates, comparing
from failure_analysis.aggregates import Bucket, Count, Group
from failure_analysis.comparing import Comparison
from failure_analysis.dashboard.asked import Compared, Counted, Grouped, Listed, LookedFor
from failure_analysis.dashboard.curves import Chart, curves
from failure_analysis.dashboard.overviews import Checkpoint, chart_of, checkpoints, natural_bucket
from failure_analysis.dashboard.shelf import Shelf
from failure_analysis.dashboard.training_runs import Run, State
from failure_analysis.dashboard.transcripts import View, view
from failure_analysis.records import (
    Claim,
    EpisodeFacts,
    Experiment,
    ExperimentType,
    Failure,
    FailureAnalysis,
    FailureCategory,
    InvestigationKind,
    Page,
    Severity,
    Status,
)
from failure_analysis.store import Wanted
from project_types import Frozen, Outcome, Report, Verdict

EPISODES = (ExperimentType.EPISODE,)
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]


class AnalysisOut(Frozen):
    """Why an experiment failed."""

    category: FailureCategory
    root_cause: str
    fix_suggestion: str
    severity: Severity

    @classmethod
    def of(cls, analysis: FailureAnalysis | None) -> AnalysisOut | None:
        """From the stored one."""
        if analysis is None:
            return None
        return cls(
            category=analysis.failure_category,
            root_cause=analysis.root_cause,
            fix_suggestion=analysis.fix_suggestion,
            severity=analysis.severity,
        )


class ExperimentOut(Frozen):
    """One thing that was tried; `failure_analysis` is set when it failed."""

    id: str
    type: ExperimentType
    name: str
    run: str
    status: Status
    at: datetime
    source: str
    split: str
    sampling: str
    step: int | None
    policy: str
    scenario_id: str
    sample: int | None
    fault_type: str
    topology: str
    unseen: bool
    episode: EpisodeFacts | None
    kind: InvestigationKind | None
    signature: str | None
    failure_analysis: AnalysisOut | None

    @classmethod
    def of(cls, experiment: Experiment) -> ExperimentOut:
        """From the stored one."""
        failure = experiment.failure
        same = {name: getattr(experiment, name) for name in cls.model_fields if name in Experiment.model_fields}
        return cls(
            **same,
            kind=failure.kind if failure else None,
            signature=failure.signature if failure else None,
            failure_analysis=AnalysisOut.of(experiment.failure_analysis),
        )


class FailureOut(Frozen):
    """What is stored about a failure, besides its analysis."""

    template: str
    method: str
    why_method: str
    model: str | None
    claims: tuple[Claim, ...]
    error_message: str
    excerpt: str
    times: int

    @classmethod
    def of(cls, failure: Failure) -> FailureOut:
        """From the stored one."""
        how = {name: getattr(failure.analysis, name) for name in ("method", "why_method", "model")}
        names = ("template", "claims", "error_message", "excerpt", "times")
        return cls(**how, **{name: getattr(failure, name) for name in names})


class ExperimentWhole(Frozen):
    """One experiment with everything known of its failure."""

    experiment: ExperimentOut
    failure: FailureOut | None


class ExperimentPage(Frozen):
    """Some experiments of a longer list."""

    rows: tuple[ExperimentOut, ...]
    total: int
    offset: int
    limit: int

    @classmethod
    def of(cls, page: Page[Experiment]) -> ExperimentPage:
        """From the stored ones."""
        rows = tuple(ExperimentOut.of(row) for row in page.rows)
        return cls(rows=rows, total=page.total, offset=page.offset, limit=page.limit)


class EpisodeOut(Frozen):
    """One episode with its transcript: what the viewer shows."""

    experiment: ExperimentOut
    failure: FailureOut | None
    outcome: Outcome
    report: Report | None
    verdict: Verdict | None
    reward: float | None
    reward_components: dict[str, float]
    transcript: View


class RunOut(Frozen):
    """One run, without its rows."""

    name: str
    kind: str
    state: State
    started: datetime | None
    changed: datetime | None
    steps: int
    best_checkpoint: int | None
    troubles: tuple[str, ...]

    @classmethod
    def of(cls, run: Run) -> RunOut:
        """From its folder."""
        return cls(**{name: getattr(run, name) for name in cls.model_fields})


class Curves(Frozen):
    """Charts, and whether asking again may bring more."""

    live: bool
    charts: tuple[Chart, ...]


class GroupPage(Frozen):
    """Some groups of a longer list."""

    rows: tuple[Group, ...]
    total: int
    offset: int
    limit: int


class SimilarOut(Frozen):
    """A stored group that is like what was asked."""

    likeness: float
    group: str
    template: str
    failures: int
    experiment: ExperimentOut


def routes(shelf: Shelf) -> APIRouter:
    """The routes under /api."""
    router, store = APIRouter(prefix="/api"), shelf.store

    def found(id: str) -> Experiment:
        experiment = store.experiment(id)
        if experiment is None:
            raise HTTPException(404, f"no experiment has id {id}; list them at /api/experiments")
        return experiment

    def bucket_of(asked: Counted) -> Bucket:
        return asked.bucket or natural_bucket(store, asked.wanted())

    @router.get("/experiments", tags=["experiments"])
    def experiments(asked: Annotated[Listed, Query()]) -> ExperimentPage:
        """Experiments of every type; each failed one carries its failure_analysis."""
        return ExperimentPage.of(store.experiments(asked.wanted(), order=asked.order, offset=asked.offset, limit=asked.limit))

    @router.get("/experiments/{id}", tags=["experiments"])
    def experiment(id: Id) -> ExperimentWhole:
        """One experiment with the claims, the error and the excerpt of its log."""
        one = found(id)
        return ExperimentWhole(experiment=ExperimentOut.of(one), failure=FailureOut.of(one.failure) if one.failure else None)

    @router.get("/episodes", tags=["episodes"])
    def episodes(asked: Annotated[Listed, Query()]) -> ExperimentPage:
        """Finished investigations."""
        wanted = asked.wanted(EPISODES)
        return ExperimentPage.of(store.experiments(wanted, order=asked.order, offset=asked.offset, limit=asked.limit))

    @router.get("/episodes/{id}", tags=["episodes"])
    def episode(id: Id) -> EpisodeOut:
        """One investigation, turn by turn, with cited and gold evidence marked."""
        one = found(id)
        played, claims = shelf.transcript(one), one.failure.claims if one.failure else ()
        same: dict[str, Any] = {
            name: getattr(played, name) for name in ("outcome", "report", "verdict", "reward", "reward_components")
        }
        failure = FailureOut.of(one.failure) if one.failure else None
        shown = view(played, shelf.scenario(one), claims)
        return EpisodeOut(experiment=ExperimentOut.of(one), failure=failure, transcript=shown, **same)

    @router.get("/runs", tags=["runs"])
    def runs() -> list[RunOut]:
        """Training runs and evaluations, latest first, as their folders say."""
        return [RunOut.of(run) for run in shelf.runs.all()]

    @router.get("/run", tags=["runs"])
    def run(name: Annotated[str, Query(max_length=300)]) -> RunOut:
        """One run."""
        return RunOut.of(shelf.runs.get(name))

    @router.get("/run/curves", tags=["runs"])
    def run_curves(name: Annotated[str, Query(max_length=300)]) -> Curves:
        """Learning curves as far as the run has come."""
        one = shelf.runs.get(name)
        return Curves(live=one.state is State.RUNNING, charts=curves(one.rows))

    @router.get("/run/checkpoints", tags=["runs"])
    def run_checkpoints(name: Annotated[str, Query(max_length=300)]) -> list[Checkpoint]:
        """The stored episodes of a run by split, way of sampling and step."""
        return list(checkpoints(store, Wanted(run=name)))

    @router.get("/counts", tags=["aggregates"])
    def counts(asked: Annotated[Counted, Query()]) -> list[Count]:
        """Failures by category, severity, kind, type or fault over time or by checkpoint."""
        return list(aggregates.counts(store, asked.by, bucket_of(asked), asked.wanted()))

    @router.get("/counts/chart", tags=["aggregates"])
    def counts_chart(asked: Annotated[Counted, Query()]) -> Curves:
        """The same as a chart."""
        bucket = bucket_of(asked)
        made = aggregates.counts(store, asked.by, bucket, asked.wanted())
        chart = chart_of(made, bucket, f"Failures by {asked.by.replace('_', ' ')} per {bucket}")
        return Curves(live=True, charts=(chart,) if chart.series else ())

    @router.get("/groups", tags=["aggregates"])
    def groups(asked: Annotated[Grouped, Query()]) -> GroupPage:
        """Groups of alike failures with first and last seen and trend."""
        now = datetime.now(UTC)
        page = aggregates.groups(store, asked.wanted(), order=asked.order, offset=asked.offset, limit=asked.limit, now=now)
        return GroupPage(rows=page.rows, total=page.total, offset=page.offset, limit=page.limit)

    @router.get("/similar", tags=["aggregates"])
    def similar(asked: Annotated[LookedFor, Query()]) -> list[SimilarOut]:
        """Stored failures nearest to one, or to a message."""
        near = aggregates.similar(store, asked.to, asked.limit)
        names = ("likeness", "group", "template", "failures")
        return [
            SimilarOut(**{name: getattr(one, name) for name in names}, experiment=ExperimentOut.of(one.experiment))
            for one in near
        ]

    @router.get("/compare", tags=["aggregates"])
    def compare(asked: Annotated[Compared, Query()]) -> Comparison:
        """Which scenarios one checkpoint fixed or broke against another."""
        if not (asked.before or asked.after):
            raise HTTPException(422, "name a run: /api/compare?before=RUN&before_step=0&after_step=40")
        return comparing.compare(store, *asked.sides())

    return router

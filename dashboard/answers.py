"""What the API answers with: the stored records under the names the outside knows them by, typed for
`/openapi.json`.
"""

from __future__ import annotations

from datetime import datetime

from core.episode_store.run_folder import RunFolder, State
from dashboard.curves import Chart
from dashboard.transcripts import View
from failure_analysis.aggregates import Group
from failure_analysis.notes import GroupNotes, Mark
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
    RulesVerdict,
    Severity,
    Status,
)
from project_types import Frozen, Outcome, Report, Verdict


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
        same = {
            name: getattr(experiment, name) for name in cls.model_fields if name in Experiment.model_fields
        }
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
    rules: RulesVerdict | None
    claims: tuple[Claim, ...]
    error_message: str
    excerpt: str
    times: int

    @classmethod
    def of(cls, failure: Failure) -> FailureOut:
        """From the stored one."""
        how = {name: getattr(failure.analysis, name) for name in ("method", "why_method", "model", "rules")}
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
    def of(cls, run: RunFolder) -> RunOut:
        """From its folder."""
        return cls(**{name: getattr(run, name) for name in cls.model_fields})


class Curves(Frozen):
    """Charts, and whether asking again may bring more."""

    live: bool
    charts: tuple[Chart, ...]


class GroupOut(Group):
    """A group of alike failures, with what people said about it."""

    mark: Mark = "open"
    fixed_in: str = ""
    came_back: bool = False
    """Whether it failed after it was marked as fixed."""
    comments: int = 0
    latest_comment: str = ""

    @classmethod
    def of(cls, group: Group, said: GroupNotes) -> GroupOut:
        """From the counted one and its notes."""
        return cls(
            **{name: getattr(group, name) for name in Group.model_fields},
            mark=said.mark,
            fixed_in=said.marked.fixed_in if said.marked else "",
            came_back=said.came_back(group.last_seen),
            comments=len(said.comments),
            latest_comment=said.comments[-1].comment if said.comments else "",
        )


class GroupPage(Frozen):
    """Some groups of a longer list."""

    rows: tuple[GroupOut, ...]
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

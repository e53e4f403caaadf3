"""What a request may ask for, bounded: filters, order and page, as query parameters of the API and of the
page's forms.

An empty parameter is one that was not given (forms send those); an unknown one is refused with its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from failure_analysis.aggregates import Bucket, By
from failure_analysis.comparing import Side
from failure_analysis.records import ExperimentType, FailureCategory, InvestigationKind, Severity, Status
from failure_analysis.store import Order, Wanted

LARGEST_PAGE = 200
Text = Annotated[str, Field(max_length=300)]
Step = Annotated[int, Field(ge=0, le=10**9)]


class Asked(BaseModel):
    """Parameters of one request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        """Leave out what is empty."""
        if not isinstance(value, Mapping):
            return value
        kept = {name: _without_empty(given) for name, given in value.items()}
        return {name: given for name, given in kept.items() if given not in ("", [])}


def _without_empty(given: Any) -> Any:
    return [one for one in given if one != ""] if isinstance(given, list) else given


class Filters(Asked):
    """Which experiments; everything given must hold, and of several values of one name any."""

    type: list[ExperimentType] = []
    status: list[Status] = []
    category: list[FailureCategory] = []
    severity: list[Severity] = []
    kind: list[InvestigationKind] = []
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")] | None = None
    run: Text | None = None
    split: Text | None = None
    sampling: Text | None = None
    step: Step | None = None
    policy: Text | None = None
    scenario_id: Text | None = None
    sample: Step | None = None
    fault_type: Text | None = None
    topology: Text | None = None
    ending: Text | None = None
    correct: bool | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    q: (
        Annotated[
            str,
            Field(
                max_length=200,
                description="occurs in the name, kind, fault, group, question, answer, cause, fix or transcript",
            ),
        ]
        | None
    ) = None

    def wanted(self, types: tuple[ExperimentType, ...] = ()) -> Wanted:
        """The same, as the store takes it; `types` where the request names none."""
        lists: dict[str, Any] = {"types": tuple(self.type) or types, "statuses": tuple(self.status)}
        lists |= {
            "categories": tuple(self.category),
            "severities": tuple(self.severity),
            "kinds": tuple(self.kind),
        }
        same = (
            "signature",
            "run",
            "split",
            "sampling",
            "step",
            "policy",
            "scenario_id",
            "sample",
            "fault_type",
            "topology",
        )
        plain = {name: getattr(self, name) for name in (*same, "ending", "correct", "since", "until")}
        return Wanted(**lists, text=self.q, **plain)


class Pages(Asked):
    """A part of a long list: rows from `offset` on, or a page by its number, which wins."""

    offset: Annotated[int, Field(ge=0, le=10**8)] = 0
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 50
    page: (
        Annotated[int, Field(ge=1, le=10**6, description="instead of offset: 1 is the first page")] | None
    ) = None

    @model_validator(mode="after")
    def _offset_of_page(self) -> Self:
        if self.page is None:
            return self
        return self.model_copy(update={"offset": (self.page - 1) * self.limit, "page": None})


class Paged(Filters, Pages):
    """A part of the list of those experiments."""


class Found(Pages):
    """A page of findings about test runs, or of sessions."""

    q: (
        Annotated[str, Field(max_length=200, description="occurs in the cause, node, fault or a cited row")]
        | None
    ) = None
    run_id: Text | None = None


class Listed(Paged):
    """A page of experiments."""

    order: Order = "newest"


class Placed(Listed):
    """One row of such a list: its place, and the list it was opened from."""

    at: Annotated[int, Field(ge=0, le=10**8)] | None = None


class Counted(Filters):
    """Failures over time."""

    by: By | None = None
    """None: by kind where only episodes are meant, else by category."""
    bucket: Bucket | None = None
    """None: hours, days or weeks, as the time that is covered asks for."""

    @property
    def episodes(self) -> bool:
        """Whether episodes are among what is asked for: they have shares."""
        return not self.type or ExperimentType.EPISODE in self.type

    @property
    def others(self) -> tuple[ExperimentType, ...]:
        """The other types that are asked for: they are counted."""
        return tuple(one for one in self.type or ExperimentType if one is not ExperimentType.EPISODE)

    @property
    def named_by(self) -> By:
        """What the failures are counted by."""
        return self.by or ("kind" if self.type == [ExperimentType.EPISODE] else "category")


class Grouped(Paged):
    """Groups of alike failures."""

    order: Literal["failures", "last_seen", "severity", "trend"] = "failures"


class Charted(Grouped, Counted):
    """Groups under a chart of what they add up to."""


class LookedFor(Asked):
    """What is like this?"""

    to: Annotated[
        str, Field(min_length=1, max_length=2000, description="id of a stored failure, or a message")
    ]
    limit: Annotated[int, Field(ge=1, le=50)] = 10


class Compared(Asked):
    """Two checkpoints, on everything (`scenario_id` left out) or side by side on one scenario."""

    before: Text | None = None
    after: Text | None = None
    before_step: Step | None = None
    after_step: Step | None = None
    split: Text | None = None
    sampling: Text | None = None
    scenario_id: Text | None = None

    def sides(self) -> tuple[Side, Side]:
        """Both sides; `after` is the same run when only one is named."""
        shared = {"split": self.split, "sampling": self.sampling}
        before = self.before or self.after or ""
        return (
            Side(run=before, step=self.before_step, **shared),
            Side(run=self.after or before, step=self.after_step, **shared),
        )

"""A scenario: the incident that an agent may see, and the truth that it may not.

Reading files is `scenario_files`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from core.words.faults import FAULT_TYPES
from core.words.rows import Edge, Event, Frozen, LogRecord, MetricSeries, Name, Span, Window

UNKNOWN = "unknown"
"""What a report says when the evidence does not suffice, and the truth where it really does not."""
Phrase = Annotated[str, Field(min_length=1, max_length=300)]
EvidenceKind = Literal["log", "span", "metric", "event", "absence"]
LINES = frozenset({"log", "event"})
"""Kinds of evidence that a search shows as a line."""


class Evidence(Frozen):
    """One thing that proves a cause.

    `id` is the id of a log line, of a span or of an event, the 'service/name' of a metric series, or, for an
    absence, the service that fell silent.
    """

    kind: EvidenceKind
    id: Annotated[str, Field(min_length=1, max_length=500)]


class GroundTruth(Frozen):
    """What really happened. Never shown to an agent and never stored in logs.db."""

    service: Name
    """The culprit, or 'unknown' where the evidence does not suffice and 'unknown' is the right answer."""
    fault_type: str
    evidence_log_ids: tuple[Name, ...] = ()
    """The log lines of `evidence`. Either field may be given; reading fills both."""
    evidence_trace_ids: tuple[Name, ...] = ()
    propagation_path: tuple[Name, ...] = ()
    """Services from the culprit to the one whose users complain, culprit first."""
    evidence: tuple[Evidence, ...] = ()
    """All evidence, of every kind."""
    accepted_causes: tuple[Phrase, ...] = ()
    """Phrases that name the cause rightly, such as 'wrong database password'."""
    rejected_causes: tuple[Phrase, ...] = ()
    """Phrases that sound right and are not."""

    @model_validator(mode="after")
    def _fill_both_lists(self) -> GroundTruth:
        everything = [Evidence(kind="log", id=one) for one in self.evidence_log_ids] + list(self.evidence)
        logs = [one.id for one in everything if one.kind == "log"]
        # the model is frozen for everybody else
        object.__setattr__(self, "evidence", tuple(dict.fromkeys(everything)))
        object.__setattr__(self, "evidence_log_ids", tuple(dict.fromkeys(logs)))
        return self

    @property
    def evidence_line_ids(self) -> tuple[str, ...]:
        """Evidence that a search shows as a line: log lines and events."""
        return tuple(one.id for one in self.evidence if one.kind in LINES)

    @property
    def insufficient(self) -> bool:
        """Whether the right answer is 'unknown'."""
        return self.service == UNKNOWN


def _nothing_is_an_empty_list(value: Any) -> Any:
    return () if value is None else value


OrNull = BeforeValidator(_nothing_is_an_empty_list)
"""Marks a list for which null may stand: models write it where they have nothing to put in."""


class Report(Frozen):
    """The final answer of an investigation, as `return_final_answer` takes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root_cause: Annotated[
        str, Field(min_length=1, max_length=2000, description="One sentence: what broke, where, why.")
    ]
    suspected_service: Annotated[
        str, Field(max_length=200, description="The one service where the fault began, or 'unknown'.")
    ]
    fault_type: Annotated[
        str | None, Field(max_length=100, description="Kind of fault, if you can name it.")
    ] = None
    primary_trace_ids: Annotated[
        tuple[str, ...], Field(max_length=50, description="Traces that show the fault."), OrNull
    ] = ()
    key_log_ids: Annotated[
        tuple[str, ...], Field(max_length=50, description="Log lines that prove the root cause."), OrNull
    ] = ()
    timeline: Annotated[
        tuple[str, ...], Field(max_length=50, description="What happened, in order."), OrNull
    ] = ()
    next_actions: Annotated[
        tuple[str, ...], Field(max_length=50, description="What the on-call should do now."), OrNull
    ] = ()
    confidence: Annotated[float | None, Field(ge=0, le=1, description="0 to 1.")] = None


class Distractor(Frozen):
    """A plausible wrong report and why it is wrong."""

    report: Report
    reason: str


class Provenance(Frozen):
    """Where a scenario came from: a generator with its seed, or a source with its licence."""

    generator: str | None = None
    version: str | None = None
    seed: int | None = None
    topology: str | None = None
    source: str | None = None
    licence: str | None = None
    unseen: bool = False
    """True when its fault type and topology never occur in the train split."""
    twin: Name | None = None
    """The scenario with the same system, noise and suspicious rows, in which another of them is the cause."""


class Incident(Frozen):
    """What an agent may see of an incident. Any kind of data may be missing, but not all of it."""

    id: Name
    description: Annotated[str, Field(min_length=1)]
    time_hint: str
    services: tuple[Name, ...] = Field(min_length=1)
    logs: tuple[LogRecord, ...] = ()
    spans: tuple[Span, ...] = ()
    metrics: tuple[MetricSeries, ...] = ()
    topology: tuple[Edge, ...] = ()
    events: tuple[Event, ...] = ()
    baseline: Window | None = None
    """A stretch of time in which all was well, if one is known. Its rows stand among the others."""

    @model_validator(mode="after")
    def _has_data(self) -> Incident:
        check_incident(dict(self))
        return self


class Scenario(Incident):
    """An incident and its truth: what the judge knows."""

    expected_root_cause: Annotated[str, Field(min_length=1)]
    ground_truth: GroundTruth
    distractors: tuple[Distractor, ...] = ()
    gold_report: Report
    provenance: Provenance = Provenance()

    @model_validator(mode="after")
    def _holds_together(self) -> Scenario:
        check_truth(dict(self))
        return self

    @property
    def incident(self) -> Incident:
        """What the agent may see of it."""
        return Incident.model_construct(**{name: getattr(self, name) for name in Incident.model_fields})

    @property
    def fault_family(self) -> str:
        """Family of the fault type, or 'other' for a hand-written type."""
        kind = FAULT_TYPES.get(self.ground_truth.fault_type)
        return kind.family if kind else "other"


Parts = Mapping[str, Any]
"""The fields of an incident or a scenario by name; log lines and spans as models or as dicts."""


def _values(parts: Parts, field: str, name: str) -> list[Any]:
    rows = parts.get(field) or ()
    if rows and isinstance(rows[0], dict):
        return [row.get(name) for row in rows]
    return [getattr(row, name) for row in rows]


def check_incident(parts: Parts) -> None:
    """Check what must hold between the parts of an incident. Raises ValueError with the field and the fix."""
    if not any(parts.get(field) for field in ("logs", "spans", "metrics", "events")):
        raise ValueError("logs: the incident is empty; give logs, spans, metrics or events")
    ids = _values(parts, "logs", "id")
    if len(set(ids)) != len(ids):
        raise ValueError("logs: two rows share an id; make every id unique")
    if parts.get("events"):
        ids += _values(parts, "events", "id")
        if len(set(ids)) != len(ids):
            raise ValueError("events: an event shares its id with another or with a log row; make it unique")


def check_truth(parts: Parts) -> None:
    """Check that the truth of a scenario speaks of its data. Raises ValueError with the field and the fix."""
    truth: GroundTruth = parts["ground_truth"]
    if not truth.evidence and not truth.insufficient and not _source(parts):
        raise ValueError(
            "ground_truth.evidence_log_ids: is empty; name what proves the cause here or in evidence"
        )
    for kind, field in _EVIDENCE_FIELDS.items():
        ids = {one.id for one in truth.evidence if one.kind == kind}
        if ids and (missing := ids - set(_evidence_ids(parts, kind))):
            raise ValueError(f"ground_truth.{field} has id {min(missing)}; the cause must be in the data")
    if truth.evidence_trace_ids:
        traces = {*_values(parts, "logs", "trace_id"), *_values(parts, "spans", "trace_id")}
        if missing := set(truth.evidence_trace_ids) - traces:
            raise ValueError(
                f"ground_truth.evidence_trace_ids: no log row or span has trace_id {min(missing)}"
            )
    if not truth.insufficient and truth.service not in parts["services"]:
        raise ValueError(f"ground_truth.service: {truth.service!r} is not listed in services")


_EVIDENCE_FIELDS: Mapping[EvidenceKind, str] = {
    "log": "evidence_log_ids: no log row",
    "span": "evidence: no span",
    "metric": "evidence: no metric (service/name)",
    "event": "evidence: no event",
    "absence": "evidence: no service in services",
}


def _evidence_ids(parts: Parts, kind: EvidenceKind) -> Sequence[str]:
    """What evidence of this kind may name."""
    if kind == "absence":
        return list(parts["services"])
    field, name = {"log": ("logs", "id"), "span": ("spans", "span_id"), "event": ("events", "id")}.get(
        kind, ("metrics", "id")
    )
    return _values(parts, field, name)


def _source(parts: Parts) -> str | None:
    """Where an imported scenario came from: the label of a source need not name any row."""
    provenance: Provenance | None = parts.get("provenance")
    return provenance.source if provenance else None

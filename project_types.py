"""The words of the house: what a scenario, an episode, an outcome and a verdict are.

Everything else imports this module and this module imports nothing of ours, so it is the place to start
reading. It holds plain data (frozen pydantic models), the Protocols at which rooms and core meet, and the
errors a user can see. It does no I/O beyond reading one scenario file, and knows no trainer, no database and
no provider.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

# ----------------------------------------------------------------------------------------------------- errors


class InvestigatorError(Exception):
    """Base of every error this project raises on purpose; its text says what happened and what to do next."""


class ConfigurationError(InvestigatorError):
    """A setting, an extra or a file is missing or contradicts another; the text names the fix."""


class ScenarioError(InvestigatorError):
    """A scenario file cannot be used; the text names the file, the field and the fix."""


class DatabaseError(InvestigatorError):
    """logs.db is missing, stale, corrupt, or lacks a scenario."""


class ToolInputError(InvestigatorError):
    """The model called a tool with something the tool cannot use. Shown to the model, so it teaches."""


class JudgeError(InvestigatorError):
    """A judge gave no usable verdict. The episode is dropped and counted; it is never scored."""

    episode: Episode | None = None
    """The episode as far as it went, set by `investigate`, so that the failure can be stored and explained.
    """


class ProviderError(InvestigatorError):
    """The policy's provider failed after retries. The rollout leaves its group; it is never a penalty."""

    episode: Episode | None = None
    """The episode as far as it went, set by `investigate`, so that the failure can be stored and explained.
    """


# --------------------------------------------------------------------------------------------------- scenario


_HOUR_ONLY_ZONE = re.compile(r":\d\d(?:[.,]\d+)?[+-]\d\d")


def _whole_zone(given: Any) -> Any:
    """Write the zone of PostgreSQL and many loggers, +01, as ISO 8601 has it, +01:00."""
    if isinstance(given, str) and _HOUR_ONLY_ZONE.fullmatch(given[16:]):
        return f"{given}:00"
    return given


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Timestamp = Annotated[AwareDatetime, BeforeValidator(_whole_zone), AfterValidator(_in_utc)]
"""A moment in UTC. A time without an offset is refused rather than guessed."""

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]
"""An identifier that is safe to print, to put in a file name and to quote: scenario ids, services, log and
trace ids.
"""


class Frozen(BaseModel):
    """Immutable data with no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Level(IntEnum):
    """Severity, ordered so that `>=` means 'at least as severe'. A line without a level is UNKNOWN."""

    UNKNOWN = 0
    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40
    FATAL = 50


SEARCH_LEVELS = tuple(level for level in Level if level is not Level.UNKNOWN)
"""The levels that a search may ask for."""

LevelName = Literal["UNKNOWN", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
Scalar = str | int | float | bool
_NANOSECONDS = re.compile(r"[.,]\d{6}(\d{1,3})")


def nanoseconds_beyond(timestamp: str) -> int:
    """Return what an ISO 8601 timestamp says beyond its microseconds, 0 to 999 nanoseconds."""
    found = _NANOSECONDS.search(timestamp)
    return int(found[1].ljust(3, "0")) if found else 0


def _with_nanoseconds(given: Any, clock: str) -> Any:
    """Keep the digits of a nanosecond clock that a datetime has no room for."""
    if not isinstance(given, dict) or not isinstance(given.get(clock), str):
        return given
    beyond = nanoseconds_beyond(given[clock])
    return {"nanosecond": beyond} | given if beyond else given


Nanosecond = Annotated[int, Field(ge=0, le=999)]


class LogRecord(Frozen):
    """One log line. A line without a clock has no timestamp and is ordered by its sequence number."""

    id: Name
    timestamp: Timestamp | None
    """UTC, to the microsecond."""
    service: Name
    level: LevelName
    message: str
    trace_id: Name | None = None
    span_id: Name | None = None
    attributes: dict[str, Scalar] = Field(default_factory=dict)
    nanosecond: Nanosecond = 0
    """Nanoseconds beyond the timestamp's microseconds; read from a timestamp that has them."""
    sequence: Annotated[int, Field(ge=0)] | None = None
    """Place among the lines as their source wrote them. It decides between lines of one moment, and puts a
    line without a clock behind its neighbour. Left out, the place in the file is meant.
    """

    @model_validator(mode="before")
    @classmethod
    def _keep_nanoseconds(cls, given: Any) -> Any:
        return _with_nanoseconds(given, "timestamp")

    @property
    def sort_key(self) -> tuple[datetime, int, int]:
        """Time order; a line without a clock comes before all others. `core.log_stores.ordering` places it better."""
        return (self.timestamp or _NO_CLOCK, self.nanosecond, self.sequence or 0)


_NO_CLOCK = datetime.min.replace(tzinfo=UTC)


class Span(Frozen):
    """One operation of one service inside a trace. `start` is UTC, `duration_ms` milliseconds."""

    trace_id: Name
    span_id: Name
    parent_span_id: Name | None = None
    service: Name
    operation: str
    start: Timestamp
    duration_ms: Annotated[float, Field(ge=0)]
    status: Literal["ok", "error", "timeout", "unknown"]
    """'unknown' where the source does not say."""
    nanosecond: Nanosecond = 0
    """Nanoseconds beyond the microseconds of `start`."""

    @model_validator(mode="before")
    @classmethod
    def _keep_nanoseconds(cls, given: Any) -> Any:
        return _with_nanoseconds(given, "start")

    @property
    def failed(self) -> bool:
        """Whether the span is known to have failed."""
        return self.status in FAILED


FAILED = frozenset({"error", "timeout"})
"""The span statuses that mean a failure."""


class MetricSeries(Frozen):
    """A metric of one service: `points`, (UTC time, value), or values at regular steps.

    Steps are compact: `start`, `step_s` and `values`, where null says that nothing was measured. Either way
    `points` reads the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    service: Name
    name: str
    given: tuple[tuple[Timestamp, float], ...] = Field((), alias="points")
    start: Timestamp | None = None
    """Moment of the first value; UTC."""
    step_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds between two values."""
    values: tuple[float | None, ...] = ()

    @model_validator(mode="after")
    def _one_form(self) -> MetricSeries:
        if (self.start is None) != (self.step_s is None) or (self.values and self.start is None):
            raise ValueError("values need start and step_s; give all three or points")
        if self.values and self.given:
            raise ValueError("give points or values, not both")
        return self

    @property
    def points(self) -> tuple[tuple[datetime, float], ...]:
        """(UTC time, value) of everything that was measured, in the order given."""
        if self.start is None or self.step_s is None:
            return self.given
        start, step = self.start, timedelta(seconds=self.step_s)
        return tuple(
            (start + number * step, value) for number, value in enumerate(self.values) if value is not None
        )

    @property
    def id(self) -> str:
        """How evidence and tools name the series: service/name."""
        return f"{self.service}/{self.name}"


class Event(Frozen):
    """What a cluster says happened to an object, as Kubernetes does. A search shows it among the log lines.

    An event that was counted several times is one event: `first_timestamp` and `timestamp` are its first and
    its last occurrence.
    """

    id: Name
    """Never the id of a log line too."""
    timestamp: Timestamp | None
    first_timestamp: Timestamp | None = None
    service: Name
    """The service that the object belongs to, or the name of the object."""
    object: Annotated[str, Field(max_length=500)]
    """Kind and name, such as Pod/cart-6d5f."""
    reason: Annotated[str, Field(max_length=200)]
    message: str = ""
    type: Literal["Normal", "Warning"] = "Normal"
    count: Annotated[int, Field(ge=1)] = 1
    sequence: Annotated[int, Field(ge=0)] | None = None
    """As in `LogRecord`."""


class Window(Frozen):
    """A stretch of time, both ends included, UTC."""

    start: Timestamp
    end: Timestamp

    @model_validator(mode="after")
    def _in_order(self) -> Window:
        if self.start > self.end:
            raise ValueError("start is after end; swap them")
        return self


class Edge(Frozen):
    """`caller` calls `callee`."""

    caller: Name
    callee: Name


class FaultKind(NamedTuple):
    """What a fault type means, in words a judge and a reader can use."""

    family: str
    meaning: str


FAULT_TYPES: Mapping[str, FaultKind] = {
    "memory_pressure": FaultKind(
        "resource", "the process runs out of memory: long garbage collections, OOM kills"
    ),
    "connection_pool_exhausted": FaultKind(
        "resource", "every pooled connection is in use and callers wait for one"
    ),
    "disk_full": FaultKind("resource", "a volume has no space left and writes fail"),
    "cpu_throttled": FaultKind("resource", "the CPU quota is used up and the scheduler pauses the process"),
    "file_descriptors_exhausted": FaultKind(
        "resource", "no file descriptor is left for another socket or file"
    ),
    "thread_pool_exhausted": FaultKind("resource", "every worker thread is busy and requests queue for one"),
    "slow_disk": FaultKind("resource", "a volume answers reads and writes late"),
    "network_latency": FaultKind(
        "network", "packets are lost or delayed on a link and calls over it become slow"
    ),
    "dns_failure": FaultKind("network", "a host name no longer resolves"),
    "network_partition": FaultKind("network", "a route is gone: the peer is unreachable from one zone"),
    "port_exhaustion": FaultKind("network", "no local port is left for new connections"),
    "network_policy_denied": FaultKind("network", "a firewall rule or network policy drops the traffic"),
    "timeout_too_short": FaultKind(
        "configuration", "a caller's deadline is shorter than the callee's normal latency"
    ),
    "wrong_endpoint": FaultKind("configuration", "a client is configured with a wrong address or port"),
    "rate_limit_too_low": FaultKind(
        "configuration", "a limit below normal traffic makes a service reject good requests"
    ),
    "certificate_expired": FaultKind(
        "configuration", "a TLS certificate was not renewed and handshakes fail"
    ),
    "feature_flag_misfire": FaultKind("configuration", "a flag turned on a path that was not ready"),
    "credentials_rejected": FaultKind(
        "configuration", "a password or token was changed and its user still presents the old one"
    ),
    "code_regression": FaultKind("code", "a released version handles an input wrongly"),
    "lock_contention": FaultKind("code", "requests queue behind one lock held for too long"),
    "retry_storm": FaultKind(
        "code", "a client retries without backoff and multiplies the load on its callee"
    ),
    "process_hang": FaultKind("code", "a process takes requests, answers none and writes nothing more"),
    "performance_regression": FaultKind("code", "a released version needs far longer for the same work"),
    "external_api_down": FaultKind("dependency", "a third party outside the system fails or refuses"),
    "cache_failure": FaultKind(
        "dependency", "a cache is lost or evicts everything and its origin takes all the load"
    ),
    "queue_backlog": FaultKind("dependency", "a consumer falls behind and messages are handled late"),
    "leader_lost": FaultKind("dependency", "a replicated store or queue has no leader and refuses work"),
    "poison_message": FaultKind(
        "dependency", "one message that cannot be handled is redelivered and blocks those behind it"
    ),
    "schema_mismatch": FaultKind(
        "data", "a producer changed a field that its consumers still read the old way"
    ),
    "corrupt_record": FaultKind("data", "damaged stored records break whoever reads them"),
    "missing_index": FaultKind("data", "a migration dropped an index and queries scan whole tables"),
    "replication_lag": FaultKind("data", "a replica that serves reads is far behind"),
    "pod_crash_loop": FaultKind("platform", "a process ends right after each start"),
    "node_pressure": FaultKind("platform", "the node is overloaded by others"),
    "probe_misconfigured": FaultKind(
        "platform", "a wrong health check takes healthy instances out of service"
    ),
    "replicas_too_few": FaultKind("platform", "too few instances run for the normal load"),
    "batch_overload": FaultKind("platform", "a batch job takes all of a store and everybody else waits"),
    "clock_drift": FaultKind("platform", "a clock is wrong and peers refuse what it signs"),
}
"""The fault types a generated scenario can hold. A hand-written scenario may name another one."""


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


def read_scenario(path: Path) -> Scenario:
    """Read one scenario file.

    Raises:
        ScenarioError: the file is unreadable, is not JSON or breaks the schema; names the file and the first
        bad field.
    """
    return read_checked(path, Scenario.model_validate_json)


_TRUTH = frozenset(Scenario.model_fields) - frozenset(Incident.model_fields)


def read_incident(path: Path) -> Incident:
    """Read what an agent may see of an incident file or of a scenario file.

    Raises:
        ScenarioError: as `read_scenario` does.
    """
    return read_checked(path, _incident)


def _incident(content: bytes) -> Incident:
    if has_truth(content):
        return Scenario.model_validate_json(content).incident
    return Incident.model_validate_json(content)


def has_truth(content: bytes) -> bool:
    """Whether a file's JSON object has a field that only a scenario has."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return False  # the validator that comes next says what is wrong
    return isinstance(parsed, dict) and not _TRUTH.isdisjoint(parsed)


Parsed = TypeVar("Parsed")


def read_checked(path: Path, parse: Callable[[bytes], Parsed]) -> Parsed:
    """What `parse`, a pydantic validator, makes of the file. Raises ScenarioError as `read_scenario` does."""
    try:
        return parse(path.read_bytes())
    except OSError as trouble:
        raise ScenarioError(
            f"{path}: cannot be read ({trouble.strerror}); check the path and its permissions"
        ) from trouble
    except ValidationError as trouble:
        first = trouble.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        problems = f"{trouble.error_count()} problem(s); fix this one first"
        raise ScenarioError(f"{path}: field {field}: {first['msg']} ({problems})") from trouble


def read_scenarios(folder: Path) -> list[Scenario]:
    """Every `scenario-*.json` of a split folder, in name order. Raises ScenarioError when there is none or
    one is bad.
    """
    paths = sorted(folder.glob("scenario-*.json"))
    if not paths:
        raise ScenarioError(f"{folder}: no scenario-*.json; run: python -m chaos generate --help")
    return [read_scenario(path) for path in paths]


# --------------------------------------------------------------------------------------------- tools and chat


class ToolResult(Frozen):
    """What a tool shows the agent, and which ids it showed (full ids, whatever prefix was printed)."""

    text: str
    log_ids: frozenset[str] = frozenset()
    """Log lines, and events, which are printed among them."""
    trace_ids: frozenset[str] = frozenset()
    other: frozenset[Evidence] = frozenset()
    """Spans, metric series and silent services that were shown."""


@runtime_checkable
class Tool(Protocol):
    """Something the agent can call. `arguments` is the pydantic model its JSON is validated with."""

    name: str
    description: str
    arguments: type[BaseModel]

    async def run(self, arguments: Any) -> ToolResult:
        """Do it. Raises ToolInputError for what the model got wrong; anything else is our bug and surfaces."""
        ...

    def resolve(self, kind: Literal["log", "trace"], shown: str) -> str | None:
        """The full id that `shown` (an id or a unique prefix of one) stands for in this scenario, or None."""
        ...


Message = dict[str, Any]
"""An OpenAI chat message."""


class ToolCall(Frozen):
    """One call in an assistant message; `arguments` is the raw JSON text."""

    id: str
    name: str
    arguments: str


class ChatReply(Frozen):
    """One reply of a policy. `raw` is whatever the trainer needs to learn from it (ART: an openai Choice)."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    refusal: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    raw: Any = Field(default=None, exclude=True, repr=False)


class Chat(Protocol):
    """A policy: it sees the conversation and the tools (OpenAI function schemas) and replies once."""

    async def __call__(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        """Reply. Raises ContextOverflow when the conversation is too long, ProviderError when it cannot reply
        at all.
        """
        ...


class ContextOverflow(InvestigatorError):
    """The conversation no longer fits the policy's context window."""


class EpisodeConfig(Frozen):
    """The rules of one episode. The defaults suit a general model; `EMBEDDED` suits the small one shipped
    here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_turns: Annotated[int, Field(ge=1, le=50)] = 10
    """Calls the policy may make before the episode ends without a report; a reply without a call counts too."""
    tool_budget_tokens: Annotated[int, Field(ge=60, le=100_000)] = 1500
    """Tokens one tool result may take, by `log_search_tools.estimate_tokens`."""
    max_completion_tokens: Annotated[int, Field(ge=16)] = 1024
    """Tokens one reply may take."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Sampling temperature of training rollouts; validation and tests set their own."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling; GRPO assumes 1."""
    call_format: Literal["native", "text"] = "native"
    """How calls are written: the provider's tool calls, or one JSON object in plain text."""
    repairs: Annotated[int, Field(ge=0, le=5)] = 1
    """Malformed calls that are answered with an error before the next one ends the episode."""
    prompt: Literal["full", "brief"] = "full"
    """The system prompt: the full instructions, or one line for a model trained on these tools."""
    provider_timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """Seconds one reply may take before it is retried."""
    tools: Literal["two", "full"] = "two"
    """What the policy may call: search_logs and read_trace, or every tool the incident has data for."""
    ranker: bool = False
    """Whether full tools also hold rank_services and explain_service (needs the extra graph)."""
    hints: Annotated[str, Field(max_length=8000)] = ""
    """Text at the end of the system prompt, such as what `python -m failure_analysis feedback` prints."""


EMBEDDED = EpisodeConfig(
    max_turns=8, tool_budget_tokens=600, max_completion_tokens=192, prompt="brief", tools="full"
)
"""Rules for `tiny-investigator`: short results for a short context."""


# --------------------------------------------------------------------------------------------------- training


class TrainingConfig(Frozen):
    """One training run. Every field is a flag of train_serverless.py and a key of its `--config` file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    backend: Literal["auto", "serverless", "embedded", "local"] = "auto"
    """Where to train: serverless (W&B, needs WANDB_API_KEY), embedded (a service started here, no key), local
    (ART on your own GPU), auto (serverless with a key, embedded without).
    """
    base_model: str = "OpenPipe/Qwen3-14B-Instruct"
    """The model to start from: a name the backend knows, or, embedded, the folder of a Hugging Face model."""
    project: Name = "log-investigator"
    """Project that holds the model, here and in W&B."""
    judge: str = "offline"
    """Who decides whether a root cause is right: offline, or a model that make_judge_model.py registered."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Order of the scenarios, and resampling for the intervals. The policy's own samples are not seeded."""
    steps: Annotated[int, Field(ge=0)] = 60
    """Training steps: what a run is made of."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Cap on the training time, which ends a run before its steps are done; none for no limit."""
    groups_per_step: Annotated[int, Field(ge=1)] = 8
    """Scenarios in one step."""
    rollouts_per_group: Annotated[int, Field(ge=2)] = 8
    """Episodes of each scenario in one step, compared with one another."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-5
    """Step size of the optimiser."""
    learning_rate_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the learning rate that is gone at the end of the run; it falls in a straight line over the
    steps.
    """
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the gradient step, embedded only: auto times both at the start and takes the faster one."""
    gradient_steps: Annotated[int, Field(ge=1)] = 1
    """Optimiser steps that a training job is cut into, embedded only."""
    ppo: bool = False
    """Clip the ratio as PPO does; otherwise CISPO."""
    importance_sampling_level: Literal["token", "sequence", "average", "geometric_average"] = "token"
    """What the ratio of new to old probabilities is taken over."""
    scale_rewards: bool = True
    """Divide a group's advantages by their standard deviation. In a group in which nobody is right this makes
    a small difference between two failures count as much as the difference between right and wrong
    elsewhere.
    """
    evidence_reward: bool = True
    """Pay for evidence in training. Without it a right answer is worth the same however it was found, to measure
    what the evidence term is good for.
    """
    advantage_balance: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Weight of good episodes against bad ones; 0 is even."""
    validate_every: Annotated[int, Field(ge=1)] = 5
    """Steps between two validations."""
    val_samples: Annotated[int, Field(ge=0, le=64)] = 0
    """Samples of each val scenario at temperature 1, besides the one at temperature 0; the best checkpoint is
    then the best over both.
    """
    test_samples: Annotated[int, Field(ge=0, le=64)] = 4
    """Samples of each test scenario at temperature 1, besides the one at temperature 0."""
    max_failed_share: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of a step's rollouts that may fail (provider or judge) before the run stops."""
    max_concurrent: Annotated[int, Field(ge=1)] = 128
    """Episodes under way at the same time."""
    executor: Literal["process", "ray"] = "process"
    """Where rollouts are played: in this process, or by workers on a Ray cluster."""
    address: str | None = None
    """The Ray cluster, as `ray start --head` printed it; without one a cluster is started on this machine."""
    workers: Annotated[int, Field(ge=1)] = 2
    """Worker processes on the Ray cluster."""
    step_timeout_minutes: Annotated[float, Field(gt=0)] = 60.0
    """Longest a training job may take before the run stops."""
    train_limit: Annotated[int, Field(ge=1)] | None = None
    """Use only so many train scenarios."""
    val_limit: Annotated[int, Field(ge=0)] | None = None
    """Use only so many val scenarios."""
    test_limit: Annotated[int, Field(ge=0)] | None = None
    """Use only so many test scenarios."""
    scenarios: Path = Path("log_scenarios")
    """Folder that holds train/, val/ and test/."""
    database: Path = Path("logs.db")
    """The searchable logs; built when missing or stale."""
    runs: Path = Path("runs")
    """Folder that gets one folder per run."""
    service_url: str | None = None
    """A training service that already runs (http://127.0.0.1:PORT/v1) instead of one started here or W&B's.
    """
    usd_per_million_tokens: Annotated[float, Field(ge=0)] | None = None
    """What your provider charges, for the estimate of --dry-run and the summary."""
    episode: EpisodeConfig = EpisodeConfig()


EMBEDDED_TRAINING: Mapping[str, Any] = {
    "base_model": "tiny-investigator",
    "learning_rate": 2e-4,
    "learning_rate_decay": 0.9,
    "max_minutes": 45.0,
    "scale_rewards": False,
    "steps": 45,
    "step_timeout_minutes": 10.0,
    "val_samples": 2,
    "episode": EMBEDDED.model_dump(),
}
"""What `--backend embedded` changes in the defaults of TrainingConfig."""


# ---------------------------------------------------------------------------------------- outcome and verdict


class Ending(StrEnum):
    """How an episode ended: one member per cause."""

    ANSWERED = "answered"
    """A valid report that names a service."""
    UNKNOWN = "unknown"
    """A valid report whose service or cause is 'unknown'."""
    OUT_OF_TURNS = "out_of_turns"
    """The last turn passed without a report."""
    OUT_OF_CONTEXT = "out_of_context"
    """The conversation outgrew the policy's context window, or the reply was cut by its length limit."""
    MALFORMED_CALL = "malformed_call"
    """A call whose JSON cannot be parsed, a text reply that holds no call, or a reply that holds too many, after
    the allowed repairs.
    """
    UNKNOWN_TOOL = "unknown_tool"
    """A call of a tool that does not exist, after the allowed repairs."""
    BAD_ARGUMENTS = "bad_arguments"
    """Arguments that break the tool's schema, or that the tool refuses, after the allowed repairs."""
    INVALID_REPORT = "invalid_report"
    """`return_final_answer` with a report that breaks the schema, after the allowed repairs."""
    EMPTY_REPLY = "empty_reply"
    """Neither text nor a call, after the allowed repairs."""
    REFUSED = "refused"
    """The policy or its provider refused to go on."""
    PROVIDER_ERROR = "provider_error"
    """The provider failed after retries. Never scored: `reward` refuses it."""


class Verdict(Frozen):
    """What a judge says of a report. `correct` means the right cause in the right service."""

    correct: bool
    service_correct: bool
    cause_correct: bool
    reason: str
    judge: str
    cost_usd: float = 0.0


Count = Annotated[int, Field(ge=0)]


class Outcome(Frozen):
    """What happened in one episode. Scoring reads this and never the transcript."""

    ending: Ending
    correct: bool = False
    """The judge's verdict; False when there is no report."""
    service_correct: bool = False
    """The report names the culprit; False when there is no report."""
    turns: Count = 0
    """Turns that were used: one for each call, and one for a reply without a call."""
    tool_calls: Count = 0
    """Calls that ran, the final answer excluded."""
    repeated_calls: Count = 0
    """Calls that repeat an earlier call of this episode exactly."""
    malformed_calls: Count = 0
    """Calls that were answered with an error, the one that ended the episode included."""
    gold_evidence: Count = 0
    """Gold log lines in the scenario."""
    gold_evidence_opened: Count = 0
    """Gold log lines that a tool showed before the answer."""
    cited: Count = 0
    """Distinct ids in the report."""
    cited_seen: Count = 0
    """Cited ids that a tool had shown in this episode."""
    cited_gold: Count = 0
    """Cited ids that were shown and belong to the gold evidence."""
    cited_supporting: Count = 0
    """Cited ids that were shown and are gold, or what the culprit did on the failing path."""
    cited_fabricated: Count = 0
    """Cited ids that do not exist in the scenario."""
    report_words: Count = 0
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    seconds: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_counted(cls, facts: Any) -> Any:
        """Read an outcome from before `cited_supporting` was counted, when every id that was shown supported."""
        if isinstance(facts, dict) and "cited_supporting" not in facts:
            return {**facts, "cited_supporting": facts.get("cited_seen", 0)}
        return facts

    @property
    def grounded(self) -> bool:
        """Right, and citing evidence for it that a tool had shown."""
        return self.correct and self.cited_supporting > 0


class Episode(Frozen):
    """One finished episode, as it is stored (one JSON line) and read back by every room."""

    schema_version: Literal[1] = 1
    scenario_id: str
    split: str = ""
    policy: str = ""
    sample: int = 0
    """Which of the k samples of this scenario."""
    messages: tuple[Message, ...]
    """OpenAI messages, tool results included."""
    report: Report | None = None
    verdict: Verdict | None = None
    outcome: Outcome
    reward: float | None = None
    reward_components: dict[str, float] = {}
    shown_log_ids: tuple[str, ...] = ()
    """Full ids of log lines the tools showed, in order of first appearance."""
    shown_trace_ids: tuple[str, ...] = ()
    cited_log_ids: tuple[str, ...] = ()
    """Full ids the report cites (fabricated ones as written)."""
    cited_trace_ids: tuple[str, ...] = ()
    cost_usd: float = 0.0
    metadata: dict[str, Scalar] = {}


class Judge(Protocol):
    """Says whether a report names the root cause of a scenario."""

    name: str

    async def verdict(self, scenario: Scenario, report: Report) -> Verdict:
        """Judge. Raises JudgeError instead of guessing."""
        ...


class Score(Protocol):
    """Says how good a report looks, without the truth: a reward model. Never a part of the reward."""

    name: str

    async def score(self, messages: Sequence[Message], report: Report) -> float:
        """Return a number, higher for better. Raises JudgeError instead of guessing."""
        ...


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Whole JSON lines of a file; a half-written last line is left out. Raises ScenarioError on a bad line
    before it.
    """
    rows: list[dict[str, Any]] = []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except ValueError as trouble:
            if number == len(lines):  # no newline after it: still being written
                break
            raise ScenarioError(
                f"{path}:{number}: not JSON ({trouble}); remove or mend this line"
            ) from trouble
    return rows

"""The words of this room: what a failure is called, what is said about it, and what is stored.

Two vocabularies meet here. Every failure has a category and a severity, whatever it came from. A failed
investigation (an `Episode`) also has a kind: what the agent did wrong, as claims that cite turns and log ids.
Plain data only: how a failure is explained is in `analyzer` and `investigations`, how it is stored in
`store`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

from project_types import Frozen, InvestigatorError, Timestamp


class StoreError(InvestigatorError):
    """failures.db cannot be used; the text names the file and what to type next."""


class FailureCategory(StrEnum):
    """What went wrong, in one of seven ways."""

    SYNTAX_ERROR = "syntax_error"
    """Source, a config file or a query does not parse or compile."""
    IMPORT_ERROR = "import_error"
    """A module, package, header, symbol or class is missing or of the wrong version."""
    VALIDATION_ERROR = "validation_error"
    """Data, arguments or configuration break a schema, a type or a rule."""
    RUNTIME_ERROR = "runtime_error"
    """The program crashed, or something it called failed."""
    TIMEOUT = "timeout"
    """Something took longer than it was allowed to."""
    RESOURCE_ERROR = "resource_error"
    """Memory, disk, files, quota or a device ran out or was not there."""
    LOGIC_ERROR = "logic_error"
    """It ran and gave a wrong result: a failed assertion, a wrong answer, a diverged loss."""


class Severity(StrEnum):
    """How urgent it is, most urgent first."""

    CRITICAL = "critical"
    """The run is lost or data is at risk; nothing goes on until somebody acts."""
    HIGH = "high"
    """The job or the build fails; a person has to fix it."""
    MEDIUM = "medium"
    """One case, test, request or episode fails; the rest goes on."""
    LOW = "low"
    """It may pass by itself, or costs little."""


Method = Literal["llm", "rules"]


class RulesVerdict(Frozen):
    """What the rules say of a failure that a model explains."""

    failure_category: FailureCategory
    severity: Severity


class FailureAnalysis(Frozen, Mapping[str, Any]):
    """Why something failed, and how that was found out. It can be read as a dict, too."""

    failure_category: FailureCategory
    root_cause: str
    fix_suggestion: str
    severity: Severity
    method: Method = "rules"
    """Who answered: a language model, or pattern rules."""
    why_method: str = ""
    """Why that one answered, e.g. 'no model is configured' or 'openai/gpt-4.1-mini did not answer:
    TimeoutError'.
    """
    model: str | None = None
    cost_usd: float = 0.0
    failure_found: bool = True
    """False: nothing in the texts says that anything failed."""
    rules: RulesVerdict | None = None
    """What the rules say where a model answers."""

    def __getitem__(self, name: str) -> Any:
        """The field of this name."""
        if name not in type(self).model_fields:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        """The names of the fields."""
        return iter(type(self).model_fields)

    def __len__(self) -> int:
        """How many fields there are."""
        return len(type(self).model_fields)


class InvestigationKind(StrEnum):
    """What an agent did wrong in one investigation; the members are in order of what is named first (see
    `investigations`).
    """

    PROVIDER_TROUBLE = "provider_trouble"
    """The policy's provider failed: nobody's merit or fault."""
    JUDGE_TROUBLE = "judge_trouble"
    """There is no verdict, or the verdict contradicts the facts of the episode."""
    REFUSED = "refused"
    """The policy or its provider declined to go on."""
    MALFORMED_CALL = "malformed_call"
    """A reply held no call, or a call that is not JSON."""
    WRONG_TOOL_USE = "wrong_tool_use"
    """A tool that does not exist, or arguments that a tool refuses."""
    INVALID_REPORT = "invalid_report"
    """The final report breaks its schema."""
    OUT_OF_CONTEXT = "out_of_context"
    """The conversation outgrew the context window, or the reply was cut."""
    FABRICATED_EVIDENCE = "fabricated_evidence"
    """The report cites ids that exist nowhere in the scenario."""
    INVENTED_SERVICE = "invented_service"
    """The report blames a service that the scenario does not have."""
    ANSWERED_BLIND = "answered_blind"
    """It answered before any tool had shown it a line."""
    SAW_AND_IGNORED = "saw_and_ignored"
    """A tool showed the decisive line and the report blames something else."""
    WRONG_TIME_WINDOW = "wrong_time_window"
    """Its searches excluded the time at which the evidence was logged."""
    EVIDENCE_CUT_OFF = "evidence_cut_off"
    """A search matched the decisive line, but it was beyond what was shown, and the rest was not asked for.
    """
    SEARCHED_NOTHING = "searched_nothing"
    """It called tools, and none of them showed it a single line."""
    STOPPED_AT_SYMPTOM = "stopped_at_symptom"
    """It blamed a service that only suffered: one between the culprit and the users."""
    FOLLOWED_WRONG_BRANCH = "followed_wrong_branch"
    """It blamed a service that the fault never touched."""
    RIGHT_SERVICE_WRONG_CAUSE = "right_service_wrong_cause"
    """The culprit is named and the cause is not."""
    REPEATED_ITSELF = "repeated_itself"
    """It spent its turns on calls it had made before."""
    GAVE_UP = "gave_up"
    """It answered 'unknown'."""
    OUT_OF_TURNS = "out_of_turns"
    """The last turn passed without a report."""
    NEVER_REACHED_EVIDENCE = "never_reached_evidence"
    """No tool ever showed a decisive line."""
    UNSUPPORTED_GUESS = "unsupported_guess"
    """The answer cites nothing that a tool had shown."""


class Claim(Frozen):
    """One thing said about an episode, and where it can be checked."""

    kind: InvestigationKind
    text: str
    turns: tuple[int, ...] = ()
    """Replies of the policy, the first is 1."""
    log_ids: tuple[str, ...] = ()
    """Full ids of log lines of the scenario (of fabricated ones: as the report wrote them)."""
    method: Method = "rules"


class ExperimentType(StrEnum):
    """What an experiment is."""

    TRAINING_RUN = "training_run"
    """A folder that train_serverless.py wrote."""
    EVALUATION = "evaluation"
    """A folder that `python -m evaluation run` wrote."""
    EPISODE = "episode"
    """One finished investigation."""
    ROLLOUT = "rollout"
    """An investigation that gave no episode: its provider or judge failed."""
    TRAINING_JOB = "training_job"
    """One step of training on the backend, stored when it failed."""
    CI_TEST = "ci_test"
    """One test case of a JUnit file, stored when it failed."""
    LOG = "log"
    """A log file that somebody gave to `ingest`."""


class Status(StrEnum):
    """How an experiment stands."""

    OK = "ok"
    FAILED = "failed"
    RUNNING = "running"


class Failure(Frozen):
    """What is stored about one failed experiment."""

    signature: str
    """12 hex digits; failures that are alike share it (`signatures`)."""
    template: str
    """The text the signature was made of: the message with numbers, ids and paths masked."""
    analysis: FailureAnalysis
    kind: InvestigationKind | None = None
    """Of a failed investigation: the first of its claims."""
    claims: tuple[Claim, ...] = ()
    error_message: str = ""
    """Redacted and cut."""
    excerpt: str = ""
    """The part of the log around the line that says why, redacted, 3,000 characters at most."""
    times: int = 1
    """How many failures this stands for (a training step counts its failed rollouts by reason)."""


class EpisodeFacts(Frozen):
    """Where a stored episode lies and what it came to, so that thousands can be listed without reading their
    file.
    """

    file: str
    """JSONL file, relative to the folder of failures.db."""
    offset: int
    length: int
    """Its line, in bytes."""
    ending: str
    correct: bool
    grounded: bool
    reward: float | None
    turns: int
    seconds: float
    tokens: int
    cost_usd: float
    blamed: str = ""
    """The service the report blames."""
    question: str = ""
    """What it was asked, on one line, redacted and cut."""
    answer: str = ""
    """The root cause that its report names, redacted and cut."""


class Experiment(Frozen):
    """One thing that was tried: a run, an episode of it, a test case, a log."""

    id: str
    """16 hex digits, the same whenever the same thing is captured again (`experiment_id`)."""
    type: ExperimentType
    name: str
    """What to call it in a table."""
    run: str
    """The run it belongs to: a folder relative to the folder of failures.db, or the name of an ingested file.
    """
    status: Status
    at: Timestamp
    """When it was written down (for an episode without a time of its own: when its file was)."""
    source: str = ""
    """File and, where there is one, line: `seed1/episodes/test-0000-t0.jsonl:17`."""
    split: str = ""
    sampling: str = ""
    """Of an episode of a training run: t0, t1 or rollouts."""
    step: int | None = None
    """Checkpoint of a training run."""
    policy: str = ""
    scenario_id: str = ""
    sample: int | None = None
    fault_type: str = ""
    topology: str = ""
    unseen: bool = False
    episode: EpisodeFacts | None = None
    failure: Failure | None = None

    @property
    def failure_analysis(self) -> FailureAnalysis | None:
        """Category, root cause, fix and severity of a failed experiment."""
        return self.failure.analysis if self.failure else None


Row = TypeVar("Row")


class Page(Frozen, Generic[Row]):
    """Some rows of a longer list."""

    rows: tuple[Row, ...]
    total: int
    """Rows that match, on all pages."""
    offset: int
    limit: int


def experiment_id(*parts: object) -> str:
    """A name for what these parts say, 16 hex digits: the same parts give the same id."""
    return _digest(parts)[:16]


def signature_of(*parts: object) -> str:
    """12 hex digits for a group of failures."""
    return _digest(parts)[:12]


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode(errors="backslashreplace")).hexdigest()

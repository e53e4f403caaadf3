"""An episode: its rules, how it ended, what is known of it, and who judges it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol

from pydantic import ConfigDict, Field, model_validator

from core.words.conversation import Message
from core.words.errors import InvestigatorError
from core.words.rows import Frozen, Scalar
from core.words.scenario import Report, Scenario


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


class EpisodeConfig(Frozen):
    """The rules of one episode. The defaults suit a general model; `EMBEDDED` suits the small one shipped
    here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_turns: Annotated[int, Field(ge=1, le=50)] = 10
    """Calls the policy may make before the episode ends without a report; a reply
    without a call counts too.
    """
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
    max_turns=8,
    tool_budget_tokens=600,
    max_completion_tokens=192,
    prompt="brief",
    provider_timeout_s=900,
    tools="full",
)
"""Rules for `tiny-investigator`: short results for a short context, and a patient wait for a service that may
share two cores among a hundred episodes.
"""


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
    """A call whose JSON cannot be parsed, a text reply that holds no call, or a reply that holds too many,
    after the allowed repairs.
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
        """Read an outcome from before `cited_supporting` was counted, when every id
        that was shown supported.
        """
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
    reward_components: dict[str, float] = {}  # noqa: RUF012  pydantic copies it
    shown_log_ids: tuple[str, ...] = ()
    """Full ids of log lines the tools showed, in order of first appearance."""
    shown_trace_ids: tuple[str, ...] = ()
    cited_log_ids: tuple[str, ...] = ()
    """Full ids the report cites (fabricated ones as written)."""
    cited_trace_ids: tuple[str, ...] = ()
    cost_usd: float = 0.0
    metadata: dict[str, Scalar] = {}  # noqa: RUF012  pydantic copies it


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

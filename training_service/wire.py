"""What goes over the wire: requests of ART's serverless client (0.5.18 and 0.5.23) and of OpenAI clients.

Pydantic models only. A request that asks for something this service would have to ignore (a response format,
a penalty) is refused by name rather than half obeyed. Trajectories are checked for shape and passed on as the
JSON they were.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    GetPydanticSchema,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import core_schema

from project_types import Frozen

Json = dict[str, Any]
NAME_PATTERN = r"^[^/\\#?%:@\s\x00-\x1f][^/\\#?%:@\x00-\x1f]*$"
NamePart = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=NAME_PATTERN)]
"""Entity, project or model name: printable, without the characters that inference names and addresses use."""


class Lenient(BaseModel):
    """Data of which only some fields concern us; the rest passes unread."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Wrap = Callable[[Any, ValidatorFunctionWrapHandler], Any]


def _with(model: type[BaseModel], wrap: Wrap) -> GetPydanticSchema:
    """Validate through `model`, so that errors name the field, and let `wrap` decide what is kept."""
    return GetPydanticSchema(
        lambda _, handler: core_schema.no_info_wrap_validator_function(wrap, handler(model))
    )


def _plain(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Keep the checked fields, as plain JSON."""
    return check(value).model_dump(exclude_none=True)


def _untouched(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Keep the JSON as it came, once it has passed."""
    check(value)
    return value


# ------------------------------------------------------------------------------------------------------- chat


class FunctionCall(Lenient):
    name: str
    arguments: str = "{}"


class ToolCall(Lenient):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(Lenient):
    """One message; text parts are joined, so `content` is always a string."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str = ""
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        if value is None:
            return ""
        if not isinstance(value, list):
            return value
        texts = [part.get("text") for part in value if isinstance(part, dict) and part.get("type") == "text"]
        if len(texts) != len(value) or not all(isinstance(text, str) for text in texts):
            raise ValueError("only text parts are supported; send content as a string")
        return "".join(str(text) for text in texts)


class FunctionDefinition(Lenient):
    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str = ""
    parameters: Json = {}


class ToolDefinition(Lenient):
    type: Literal["function"]
    function: FunctionDefinition


class NamedFunction(Lenient):
    name: str


class NamedToolChoice(Lenient):
    type: Literal["function"]
    function: NamedFunction


NEUTRAL: dict[str, tuple[object, ...]] = {
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "repetition_penalty": (None, 1),
    "logit_bias": (None, {}),
    "min_p": (None, 0),
    "top_k": (None, 0, -1),
    "response_format": (None, {"type": "text"}),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "top_logprobs": (None, 0),
    "prediction": (None,),
    "web_search_options": (None,),
    "stream": (None, False),
    "chat_template_kwargs": (None, {}, {"preserve_thinking": True}),
}
"""Parameters this service does not implement, with the values that change nothing. Any other value is
refused.
"""

WITHOUT_EFFECT = frozenset(
    {
        "user",
        "metadata",
        "store",
        "service_tier",
        "stream_options",
        "parallel_tool_calls",
        "reasoning_effort",
        "verbosity",
    }
    | {
        "nvext",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "return_token_ids",
        "return_tokens_as_token_ids",
    }
)
"""Parameters that cannot change which tokens are right, accepted and not used."""


class ChatRequest(Frozen):
    """A chat completion. `messages` and `tools` are plain JSON for the chat template, checked and without
    unknown fields.
    """

    model: Annotated[str, Field(min_length=1, max_length=600)]
    messages: Annotated[list[Annotated[Json, _with(ChatMessage, _plain)]], Field(min_length=1)]
    tools: list[Annotated[Json, _with(ToolDefinition, _untouched)]] = Field(default_factory=list)
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice = "auto"
    temperature: Annotated[FiniteFloat, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[FiniteFloat, Field(gt=0, le=1)] = 1.0
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    """None: up to the end of the context window."""
    stop: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=16)] = ()
    seed: int | None = None
    n: Annotated[int, Field(ge=1, le=64)] = 1
    logprobs: bool = False
    """Chosen-token logprobs are returned unconditionally; this is only checked."""

    @model_validator(mode="before")
    @classmethod
    def _normalise(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        given = dict(value)
        if given.get("stream"):
            raise ValueError("stream: streaming is not supported here; send stream=false")
        for name, neutral in NEUTRAL.items():
            if given.pop(name, None) not in neutral:
                raise ValueError(f"{name}: not supported here; leave it out")
        for name in WITHOUT_EFFECT:
            given.pop(name, None)
        limit = given.pop("max_tokens", None)
        if given.get("max_completion_tokens") is None and limit is not None:
            given["max_completion_tokens"] = limit
        if isinstance(given.get("stop"), str):
            given["stop"] = [given["stop"]]
        return {name: entry for name, entry in given.items() if entry is not None}

    @model_validator(mode="after")
    def _choice_exists(self) -> ChatRequest:
        if self.tool_choice not in ("none", "auto") and not self.tools:
            raise ValueError(
                "tool_choice asks for a call, but tools is empty; send tools or leave tool_choice out"
            )
        if isinstance(self.tool_choice, NamedToolChoice):
            names = [tool["function"]["name"] for tool in self.tools]
            if self.tool_choice.function.name not in names:
                raise ValueError(
                    f"tool_choice names {self.tool_choice.function.name!r}, but tools has only {', '.join(names)}"
                )
        return self


# --------------------------------------------------------------------------------------------------- training


class TokenLogprob(Lenient):
    token: str
    logprob: FiniteFloat


class ChoiceLogprobs(Lenient):
    content: list[TokenLogprob] | None = None


class Choice(Lenient):
    """What the policy wrote. `token_ids` and `prompt_token_ids` are what makes training exact."""

    finish_reason: str | None = None
    message: Json
    logprobs: ChoiceLogprobs | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None


def _message_or_choice(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, dict) and ("finish_reason" in value or "logprobs" in value):
        check(value)
    elif not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise ValueError("every entry is a message with a role or a choice with a finish_reason")
    return value


class History(Lenient):
    """Part of a trajectory. ART 0.5.23 leaves out every field that has its default."""

    messages_and_choices: list[Annotated[Json, _with(Choice, _message_or_choice)]] = []
    tools: list[Json] | None = None


class Trajectory(History):
    reward: FiniteFloat = 0.0
    additional_histories: list[History] = []
    exchanges: None = None

    @field_validator("exchanges", mode="before")
    @classmethod
    def _only_messages_and_choices(cls, value: object) -> None:
        if value:
            raise ValueError("exchanges are not supported here; make trajectories of messages_and_choices")


class TrajectoryGroup(Lenient):
    trajectories: list[Trajectory]


Ratio = Annotated[FiniteFloat, Field(ge=0)]


UNSUPPORTED: dict[str, tuple[tuple[object, ...], str]] = {
    "kl_penalty_reference_step": ((None,), "the KL penalty is taken against the base model; leave it out"),
    "kl_penalty_step_lag": ((None,), "the KL penalty is taken against the base model; leave it out"),
    "kl_ref_adapter_path": ((None,), "the KL penalty is taken against the base model; leave it out"),
    "plot_tensors": ((None, False), "no pictures are drawn here; leave it out"),
    "scale_learning_rate_by_reward_std_dev": ((None, False), "set learning_rate for each step instead"),
}
"""What ART 0.5.23 may ask for and this service does not do: the values that
change nothing, and what to do.
"""


class TrainingConfig(Frozen):
    """`experimental_config`. ART sends null for what the caller left alone; defaults are the engine's.

    ART 0.5.18 sends a part of these keys, 0.5.23 all of them. Two keys are other names for older ones:
    `loss_fn` says what `ppo` says, `normalize_advantages` what `scale_rewards` says. A request whose names
    disagree is refused. `logprob_calculation_chunk_size` only saves memory in ART and is not used here.
    """

    advantage_balance: Annotated[FiniteFloat, Field(ge=-1, le=1)] | None = None
    allow_training_without_logprobs: bool | None = None
    """False: a choice without log-probabilities is only read. Otherwise it counts as sampled just now."""
    epsilon: Ratio | None = None
    epsilon_high: Ratio | None = None
    importance_sampling_level: Literal["token", "sequence", "average", "geometric_average"] | None = None
    kimi_k2_tau: Ratio | None = None
    kl_penalty_coef: Ratio | None = None
    """Not sent by ART 0.5.18's serverless client; 0.5.23 and other clients do."""
    kl_penalty_source: Literal["current_learner", "sample"] | None = None
    """Whose log-probabilities are compared with the base model's: the model in training, or the sampler."""
    learning_rate: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    mask_prob_ratio: bool | None = None
    max_negative_advantage_importance_sampling_weight: Ratio | None = None
    num_trajectories_learning_rate_multiplier_power: Annotated[FiniteFloat, Field(ge=-4, le=4)] | None = None
    """The learning rate is multiplied by the number of trained trajectories to this power."""
    packed_sequence_length: Annotated[int, Field(ge=64, le=1 << 20)] | None = None
    """Tokens of one micro-batch. A longer trajectory is trained alone, not cut."""
    ppo: bool | None = None
    precalculate_logprobs: bool | None = None
    scale_rewards: bool | None = None
    truncated_importance_sampling: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Upper bound of the ratio of precalculated to sampled probabilities; needs `precalculate_logprobs`."""

    @model_validator(mode="before")
    @classmethod
    def _newer_names(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        given = {name: entry for name, entry in value.items() if name != "logprob_calculation_chunk_size"}
        for name, (neutral, advice) in UNSUPPORTED.items():
            if given.pop(name, None) not in neutral:
                raise ValueError(f"{name}: not supported here; {advice}")
        loss_fn = given.pop("loss_fn", None)
        if loss_fn not in (None, "cispo", "ppo"):
            raise ValueError(f"loss_fn: {loss_fn!r} is not known here; use cispo or ppo")
        if loss_fn is not None:
            _agree(given, "ppo", loss_fn == "ppo", f"loss_fn={loss_fn}")
        scaled = given.pop("normalize_advantages", None)
        if scaled is not None:
            _agree(given, "scale_rewards", scaled, f"normalize_advantages={scaled}")
        return given

    @model_validator(mode="after")
    def _truncation_has_something_to_truncate(self) -> TrainingConfig:
        if self.truncated_importance_sampling is not None and not self.precalculate_logprobs:
            raise ValueError(
                "truncated_importance_sampling: needs precalculate_logprobs=true; set it, or leave this out"
            )
        return self

    def given(self) -> Json:
        """The keys that were set."""
        return self.model_dump(exclude_none=True)


def _agree(given: Json, name: str, value: object, said: str) -> None:
    """Take over what the newer name said. Raises ValueError where the older name says something else."""
    if given.get(name) not in (None, value):
        raise ValueError(f"{said} contradicts {name}={given[name]}; send one of the two")
    given[name] = value


JobKind = Literal["grpo", "sft", "dpo", "reward"]


class Demonstration(Lenient):
    """A conversation whose replies are to be learnt (`sft`)."""

    messages: Annotated[list[Annotated[Json, _with(ChatMessage, _plain)]], Field(min_length=1)]
    tools: list[Annotated[Json, _with(ToolDefinition, _untouched)]] = []


class Preference(Demonstration):
    """A prompt and two answers to it (`dpo`, `reward`)."""

    chosen: Annotated[str, Field(min_length=1)]
    rejected: Annotated[str, Field(min_length=1)]


class FitConfig(Frozen):
    """How an `sft`, `dpo` or `reward` job goes through its rows. Defaults are the engine's."""

    learning_rate: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    epochs: Annotated[FiniteFloat, Field(gt=0, le=100)] | None = None
    items_per_step: Annotated[int, Field(ge=1, le=4096)] | None = None
    seed: int | None = None
    beta: Annotated[FiniteFloat, Field(gt=0, le=10)] | None = None
    """Of dpo; so are the three below."""
    ld_alpha: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    per_token: bool | None = None
    imitation: Annotated[FiniteFloat, Field(ge=0, le=10)] | None = None

    def given(self) -> Json:
        """The keys that were set."""
        return self.model_dump(exclude_none=True)


class TrainingJobRequest(Lenient):
    """A job. `rows` are the checked JSON as it came, with the fields this service does not read.

    ART sends trajectory groups and no kind: that is `grpo`. The other kinds send rows of their own.
    """

    model_id: Annotated[str, Field(min_length=1, max_length=200)]
    kind: JobKind = "grpo"
    trajectory_groups: list[Annotated[Json, _with(TrajectoryGroup, _untouched)]] | None = None
    demonstrations: list[Annotated[Json, _with(Demonstration, _plain)]] | None = None
    pairs: list[Annotated[Json, _with(Preference, _plain)]] | None = None
    experimental_config: TrainingConfig = TrainingConfig()
    fit_config: FitConfig = FitConfig()

    @field_validator("experimental_config", "fit_config", mode="before")
    @classmethod
    def _null_is_default(cls, value: object) -> object:
        return {} if value is None else value

    @model_validator(mode="after")
    def _has_its_rows(self) -> TrainingJobRequest:
        if getattr(self, ROWS[self.kind]) is None:
            raise ValueError(f"a job of kind {self.kind} needs {ROWS[self.kind]}; send them")
        return self

    @property
    def rows(self) -> list[Json]:
        """Return what this kind of job trains on."""
        return list(getattr(self, ROWS[self.kind]))

    @property
    def config(self) -> Json:
        """Return the settings of this kind of job that were set."""
        return self.experimental_config.given() if self.kind == "grpo" else self.fit_config.given()


ROWS: dict[JobKind, str] = {
    "grpo": "trajectory_groups",
    "sft": "demonstrations",
    "dpo": "pairs",
    "reward": "pairs",
}
"""The field that holds the rows of each kind of job."""


# ------------------------------------------------------------------------------------- models and checkpoints


class CreateModelRequest(Lenient):
    base_model: Annotated[str, Field(min_length=1, max_length=600)]
    entity: NamePart | None = None
    project: NamePart | None = None
    name: NamePart | None = None
    return_existing: bool = False


class DeleteCheckpointsRequest(Lenient):
    steps: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=100_000)]


class PageQuery(Frozen):
    """Cursor paging as OpenAI does it; `limit` above 100 is cut to 100."""

    after: str | None = None
    before: str | None = None
    limit: Annotated[int, Field(ge=1)] = 20
    order: Literal["asc", "desc"] = "asc"


def error_body(message: str, kind: str, code: str | None = None) -> Json:
    """An error as the OpenAI clients read it."""
    return {"error": {"message": message, "type": kind, "code": code}}


def page(rows: list[Json], has_more: bool) -> Json:
    """One page of a list."""
    return {
        "object": "list",
        "data": rows,
        "first_id": rows[0]["id"] if rows else None,
        "last_id": rows[-1]["id"] if rows else None,
        "has_more": has_more,
    }


def to_json(value: object) -> str:
    """Strict JSON: a NaN is our bug and surfaces here, not at the client."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))

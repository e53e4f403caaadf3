"""What a policy and its tools say to each other: calls, results, messages, replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from core.words.rows import Frozen
from core.words.scenario import Evidence


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
        """Do it. Raises ToolInputError for what the model got wrong; anything
        else is our bug and surfaces.
        """
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

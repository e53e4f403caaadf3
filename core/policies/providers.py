"""A policy behind a provider: what `openai:` and `litellm:` policies and trained models have in common.

Replies are unvalidated input: what a server leaves out or writes otherwise is put right here, as far as its
meaning is plain. Not here: when a call is tried again (`core.model_calls`), and what is said (`rollout`).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError

from core.model_calls import MAY_PASS, Caller, CallError, Patience, Problem
from project_types import ChatReply, ContextOverflow, EpisodeConfig, Message, ProviderError, ToolCall

FIXES = {
    Problem.KEY: "check the API key and what it may do",
    Problem.NAME: "check the model's name and the base URL",
    Problem.REQUEST: "the server does not accept such a request",
}


@dataclass(frozen=True)
class ProviderChat:
    """A Chat over an OpenAI-style `create` function; what is tried again is in `core.model_calls`."""

    create: Callable[..., Awaitable[Any]]
    model: str
    config: EpisodeConfig
    patience: Patience
    options: Mapping[str, Any]

    async def __call__(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        caller = Caller(self.create, self.config.provider_timeout_s, self.patience)
        try:
            return await caller.ask(self._request(messages, tools), _reply)
        except CallError as trouble:
            if trouble.problem is Problem.FILTERED:
                return ChatReply(refusal=str(trouble))
            if trouble.problem is Problem.TOO_LONG:
                raise ContextOverflow(f"{self.model}: {trouble}") from trouble
            raise ProviderError(self._told(trouble)) from trouble

    def _request(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        rules = self.config
        return {
            "model": self.model,
            "messages": list(messages),
            "temperature": rules.temperature,
            "top_p": rules.top_p,
            "max_completion_tokens": rules.max_completion_tokens,
            **({"tools": list(tools)} if tools else {}),
            **self.options,
        }

    def _told(self, trouble: CallError) -> str:
        if trouble.problem in MAY_PASS:
            text = f"{self.model}: no usable reply in {self.patience.attempts} attempts, the last: {trouble}"
            return f"{text}; check that the server is up, or raise provider_timeout_s"
        return f"{self.model}: {trouble}; {FIXES[trouble.problem]}"


def _sendable(choice: Any) -> Any:
    """The choice, with a question mark for each half of a surrogate pair, which JSON can escape and nothing
    can send or store.
    """
    try:
        choice.model_dump_json(warnings=False)
    except PydanticSerializationError:
        text = json.dumps(choice.model_dump(warnings=False), ensure_ascii=False)
        return type(choice).model_validate_json(text.encode(errors="replace"))
    return choice


def _reply(completion: Any) -> ChatReply:
    """What a server said, whatever it left out. Raises what taking an unreadable reply apart raises."""
    choice = completion.choices[0]
    for call in choice.message.tool_calls or ():
        call.function.arguments = _json_text(getattr(call.function, "arguments", None))
    choice.message.content = _text(choice.message.content)
    choice, usage = _sendable(choice), completion.usage
    calls = [
        ToolCall(id=call.id or f"call_{number}", name=call.function.name, arguments=call.function.arguments)
        for number, call in enumerate(choice.message.tool_calls or ())
    ]
    return ChatReply(
        content=choice.message.content,
        tool_calls=tuple(calls),
        finish_reason=choice.finish_reason or "stop",
        refusal=getattr(choice.message, "refusal", None),
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cost_usd=getattr(completion, "_hidden_params", {}).get("response_cost") or 0.0,
        raw=choice,
    )


def _json_text(arguments: Any) -> str:
    """Arguments as JSON text. Some servers send the object itself, and nothing for a call without any."""
    if arguments is None or arguments == "":
        return "{}"
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _text(content: Any) -> Any:
    """Content as one text. Some servers send a list of parts."""
    if not isinstance(content, list):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def _count(usage: Any, name: str) -> int:
    """Tokens of one kind; 0 where a server does not count them."""
    said = getattr(usage, name, None)
    return max(0, int(said)) if isinstance(said, int | float) else 0

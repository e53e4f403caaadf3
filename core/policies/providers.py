"""Policies behind a provider: an OpenAI-compatible server, or anything litellm reaches.

Replies are unvalidated input; what may pass is tried again, what will not is named. Not here: what is said
(`rollout`).
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from project_types import Chat, ChatReply, ContextOverflow, EpisodeConfig, Message, ProviderError, ToolCall

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

DEFAULT_RULES = EpisodeConfig()


class _Transient(ProviderError):
    """A failure that another attempt may not meet."""

    asked_wait_s = 0.0
    """What the server asks to wait before that attempt."""


class Patience(NamedTuple):
    """How often a provider is asked before the rollout fails, and the waits between: random, their range
    doubling.

    A server that asks for a longer wait (Retry-After) gets it, up to `provider_timeout_s`.
    """

    attempts: int = 5
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0


PATIENCE = Patience()


def openai_chat(
    client: AsyncOpenAI,
    model_name: str,
    config: EpisodeConfig = DEFAULT_RULES,
    patience: Patience = PATIENCE,
    **options: Any,
) -> Chat:
    """A policy behind an OpenAI-compatible server; `ChatReply.raw` is the openai Choice. `options` (seed,
    ...) are sent along.
    """
    create = client.with_options(max_retries=0, timeout=config.provider_timeout_s).chat.completions.create
    return _ProviderChat(create, model_name, config, patience, options)


def litellm_chat(
    model: str, config: EpisodeConfig = DEFAULT_RULES, patience: Patience = PATIENCE, **options: Any
) -> Chat:
    """A policy that litellm reaches by name, its cost counted. `options` (api_base, api_key, seed, ...) are
    passed on.
    """
    os.environ.setdefault(
        "LITELLM_LOCAL_MODEL_COST_MAP", "True"
    )  # else the import fetches prices from the network
    import litellm

    litellm.suppress_debug_info = True
    options = {"timeout": config.provider_timeout_s, "max_retries": 0, **options}
    return _ProviderChat(litellm.acompletion, model, config, patience, options)


TRY_AGAIN = {408, 409, 425, 429}
TOO_LONG = re.compile(
    r"context.?(length|window)|maximum context|(prompt|input) is too long|too many tokens|maximum number of tokens",
    re.IGNORECASE,
)
CENSORED = re.compile(r"content.?(filter|policy|management)", re.IGNORECASE)


@dataclass(frozen=True)
class _ProviderChat:
    """A Chat over an OpenAI-style `create` function; tries again what may pass, and names what will not."""

    create: Callable[..., Awaitable[Any]]
    model: str
    config: EpisodeConfig
    patience: Patience
    options: Mapping[str, Any]

    async def __call__(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        rules = self.config
        sampling = {
            "temperature": rules.temperature,
            "top_p": rules.top_p,
            "max_completion_tokens": rules.max_completion_tokens,
        }
        request = {
            "model": self.model,
            "messages": list(messages),
            **sampling,
            **({"tools": list(tools)} if tools else {}),
        }
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Transient),
            stop=stop_after_attempt(self.patience.attempts),
            wait=self._wait,
            reraise=True,
        )
        try:
            return await retrying(self._once, {**request, **self.options})
        except _Transient as trouble:
            text = f"{self.model}: no usable reply in {self.patience.attempts} attempts, the last: {trouble}"
            raise ProviderError(
                f"{text}; check that the server is up, or raise provider_timeout_s"
            ) from trouble

    def _wait(self, state: RetryCallState) -> float:
        """Seconds before the next attempt: random, or longer where the server asks for it, up to the time one
        reply may take.
        """
        failure = state.outcome.exception() if state.outcome else None
        asked = failure.asked_wait_s if isinstance(failure, _Transient) else 0.0
        drawn = wait_random_exponential(
            multiplier=self.patience.first_wait_s, max=self.patience.longest_wait_s
        )(state)
        return max(drawn, min(asked, self.config.provider_timeout_s))

    async def _once(self, request: dict[str, Any]) -> ChatReply:
        import openai  # litellm's errors derive from openai's

        try:
            async with asyncio.timeout(
                self.config.provider_timeout_s
            ):  # the client's own timeout restarts with every byte
                return _reply(await self.create(**request))
        except (TimeoutError, openai.APITimeoutError) as trouble:
            raise _Transient(f"no reply within {self.config.provider_timeout_s:g} s") from trouble
        except openai.APIStatusError as trouble:
            return self._refused(trouble)
        except (openai.APIError, json.JSONDecodeError, UnicodeDecodeError) as trouble:
            raise _Transient(f"{type(trouble).__name__}: {trouble}"[:400]) from trouble

    def _refused(self, trouble: APIStatusError) -> ChatReply:
        """What an HTTP error means: try again, too long, a refusal to reply, or a setting to correct."""
        status, text = trouble.status_code, f"HTTP {trouble.status_code}: {trouble}"[:400]
        if status in TRY_AGAIN or status >= 500:
            again = _Transient(text)
            again.asked_wait_s = _asked_wait_s(
                getattr(trouble, "litellm_response_headers", None) or trouble.response.headers
            )
            raise again from trouble
        if status == 413 or TOO_LONG.search(text):
            raise ContextOverflow(f"{self.model}: {text}") from trouble
        if CENSORED.search(text):
            return ChatReply(refusal=text)
        fix = {
            401: "check the API key",
            403: "check what the API key may do",
            404: "check the model's name and the base URL",
        }
        raise ProviderError(
            f"{self.model}: {text}; {fix.get(status, 'the server does not accept such a request')}"
        ) from trouble


def _asked_wait_s(headers: Mapping[str, str]) -> float:
    """Seconds that Retry-After asks for, written as seconds or as a date; 0 where it says nothing that can be
    read.
    """
    asked = headers.get("retry-after", "")
    try:
        return float(asked) if math.isfinite(float(asked)) else 0.0
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(asked).timestamp() - time.time()
    except ValueError:
        return 0.0


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
    try:  # the clients hand over whatever the server sent, unvalidated
        choice, usage = _sendable(completion.choices[0]), completion.usage
        calls = [
            (call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()
        ]
        return ChatReply(
            content=choice.message.content,
            tool_calls=tuple(
                ToolCall(id=id_ or f"call_{n}", name=name, arguments=text)
                for n, (id_, name, text) in enumerate(calls)
            ),
            finish_reason=choice.finish_reason or "stop",
            refusal=getattr(choice.message, "refusal", None),
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
            cost_usd=getattr(completion, "_hidden_params", {}).get("response_cost") or 0.0,
            raw=choice,
        )
    except (AttributeError, IndexError, TypeError, ValidationError) as trouble:
        raise _Transient(f"unreadable reply ({type(trouble).__name__}: {trouble})"[:400]) from trouble

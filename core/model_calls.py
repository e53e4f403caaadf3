"""One rule for every call of a language model: how long to wait, what to try again, what an error means.

Policies, LLM judges and the failure analyzer ask through `Caller`. Each attempt has a time limit that covers
the last byte. A timeout, an overloaded server, a lost connection and an unreadable reply are tried again. A
conversation that is too long, a content filter and a wrong key are not. The caller decides what a failure
means for it: an episode that ends, a verdict that is missing, rules that answer instead.

Not here: what is asked, and what a good reply holds (`core.policies.providers`, `core.json_answers`).
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import ValidationError

from project_types import InvestigatorError

if TYPE_CHECKING:
    from openai import APIError

T = TypeVar("T")


class Problem(StrEnum):
    """Why a call of a model gave nothing."""

    SLOW = "slow"
    """No whole reply within the time limit."""
    DOWN = "down"
    """Overloaded, broken or not reachable."""
    UNREADABLE = "unreadable"
    """A reply came and is not what the protocol promises."""
    TOO_LONG = "too long"
    """The conversation does not fit the model's context."""
    FILTERED = "filtered"
    """The provider's content filter stopped it."""
    KEY = "key"
    """The key is wrong or may not do this."""
    NAME = "name"
    """Nothing answers to this model name or path."""
    REQUEST = "request"
    """The server does not accept such a request."""


MAY_PASS = {Problem.SLOW, Problem.DOWN, Problem.UNREADABLE}
"""What another attempt may not meet."""


class CallError(InvestigatorError):
    """A call of a model that gave nothing. The text holds the server's words."""

    def __init__(self, problem: Problem, text: str, asked_wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.problem = problem
        self.asked_wait_s = asked_wait_s
        """Seconds the server asks to wait before the next attempt."""


class Patience(NamedTuple):
    """How often a model is asked, and the random waits between; their range doubles each time.

    A server that asks for a longer wait (Retry-After) gets it, up to the time limit of one attempt.
    """

    attempts: int = 5
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0

    def wait_s(self, attempt: int) -> float:
        """Seconds to wait after this attempt; the first is 1."""
        return random.uniform(0, min(self.longest_wait_s, self.first_wait_s * 2 ** (attempt - 1)))


PATIENCE = Patience()


LITELLM_NOISE = (
    "Pydantic serializer warnings",  # about its own types, on every call
    "coroutine 'Logging.async_success_handler' was never",  # its logging, when a loop closes
    # It makes a request's coroutine in a thread, and drops it when the call was cancelled meanwhile.
    r"coroutine '\w+\.a(sync_)?completion' was never",
)
"""Warnings that are litellm's own doing and that no user can act on."""


def load_litellm() -> Any:
    """Import litellm without its price look-up on the network and without its advertising.

    The first import takes seconds. Call this before a time limit starts.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    for noise in LITELLM_NOISE:
        warnings.filterwarnings("ignore", message=noise)
    return litellm


def reached(model: str, api_base: str | None, api_key: str | None) -> dict[str, str | None]:
    """What litellm is told of where a model is. A server of one's own may ask for no key; the client does."""
    keyless = api_base and model.startswith("openai/") and not os.environ.get("OPENAI_API_KEY")
    return {"api_base": api_base, "api_key": api_key or ("local" if keyless else None)}


@asynccontextmanager
async def within(limit_s: float) -> AsyncIterator[None]:
    """Bound a block of calls. Raises CallError when the time is over."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as trouble:
        raise CallError(Problem.SLOW, f"no reply within {limit_s:g} s") from trouble


@dataclass(frozen=True)
class Caller:
    """A model behind an OpenAI-style `create` function. `timeout_s` bounds one attempt."""

    create: Callable[..., Awaitable[Any]]
    timeout_s: float
    patience: Patience = PATIENCE

    async def ask(self, request: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """Send the request until it succeeds or trying again is pointless; `read` takes what came.

        Raises:
            CallError: what the last attempt met. A reply that `read` cannot take apart is unreadable.
        """
        for attempt in range(1, self.patience.attempts + 1):
            try:
                return await self._once(request, read)
            except CallError as trouble:
                if trouble.problem not in MAY_PASS or attempt == self.patience.attempts:
                    raise
                wait_s = max(self.patience.wait_s(attempt), min(trouble.asked_wait_s, self.timeout_s))
            await asyncio.sleep(wait_s)
        raise ValueError("patience allows no attempt; give it at least one")

    async def _once(self, request: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        import openai  # litellm's errors derive from openai's

        try:
            async with within(self.timeout_s):  # the client's own time limit restarts with every byte
                completion = await self.create(**request)
        except openai.APITimeoutError as trouble:
            raise CallError(Problem.SLOW, f"no reply within {self.timeout_s:g} s") from trouble
        except openai.APIError as trouble:
            raise _meant(trouble) from trouble
        except ValueError as trouble:  # a body that is no JSON, or no text
            raise CallError(Problem.UNREADABLE, _words(trouble)) from trouble
        try:  # the clients hand over whatever the server sent, unvalidated
            return read(completion)
        except (AttributeError, IndexError, KeyError, TypeError, ValidationError) as trouble:
            raise CallError(Problem.UNREADABLE, f"unreadable reply ({_words(trouble)})") from trouble


# ----------------------------------------------------------------------------------- what an HTTP error means

TRY_AGAIN = {408, 409, 425, 429}
TOO_LONG = re.compile(
    r"context.?(length|window|size|limit)"  # OpenAI, SGLang, llama.cpp, Anthropic, litellm's own class
    r"|(maximum|available|exceeds?( the)?) context"
    r"|maximum (model|input|sequence|prompt) length|max_model_len|max_seq_len"  # vLLM, TensorRT-LLM
    r"|(prompt|input|request)s? (is|are) too long|reduce the length of the (messages|prompt|input)"
    r"|too many (input )?tokens|maximum number of (input )?tokens|(input|prompt) tokens? .{0,40}exceed"
    r"|max_\w*tokens must be at least 1"  # vLLM, when no room is left for a reply
    r"|`inputs` tokens"  # TGI
    r"|the context of \S+ is \d+",  # training_service
    re.IGNORECASE,
)
"""How servers say that a conversation does not fit."""
FILTER = re.compile(r"content.?(filter|policy|management)", re.IGNORECASE)
STATUSES = {401: Problem.KEY, 403: Problem.KEY, 404: Problem.NAME, 413: Problem.TOO_LONG}


def _meant(trouble: APIError) -> CallError:
    """What a client's error means, by its HTTP status and the server's words."""
    status, said = getattr(trouble, "status_code", None), _words(trouble)
    # A rate limit may speak of too many tokens, so its status counts before its words.
    if status is None or status in TRY_AGAIN:
        return CallError(Problem.DOWN, said, _asked_wait_s(trouble))
    if TOO_LONG.search(said):
        return CallError(Problem.TOO_LONG, said)
    if status >= 500:
        return CallError(Problem.DOWN, said, _asked_wait_s(trouble))
    if FILTER.search(said):
        return CallError(Problem.FILTERED, said)
    return CallError(STATUSES.get(status, Problem.REQUEST), said)


def _words(trouble: Exception) -> str:
    """What a client's error says, with the server's code and type, which litellm leaves out of its text."""
    status = getattr(trouble, "status_code", None)
    begin = f"HTTP {status}" if status else type(trouble).__name__
    marks = (getattr(trouble, "code", None), getattr(trouble, "type", None))
    added = [str(mark) for mark in marks if mark and str(mark) not in str(trouble)]
    return f"{begin}: {str(trouble)[:400]}" + (f" ({', '.join(added)})" if added else "")


def _asked_wait_s(trouble: APIError) -> float:
    """Seconds that Retry-After asks for, as seconds or as a date; 0 where nothing can be read."""
    response = getattr(trouble, "response", None)
    headers = getattr(trouble, "litellm_response_headers", None) or getattr(response, "headers", {})
    asked = headers.get("retry-after", "")
    try:
        return float(asked) if math.isfinite(float(asked)) else 0.0
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(asked).timestamp() - time.time()
    except ValueError:
        return 0.0

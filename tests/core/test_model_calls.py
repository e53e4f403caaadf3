"""One rule for every call: what servers say in an error, and what is tried again.
Clients and sockets are real.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any

import pytest
from openai import AsyncOpenAI

from core.model_calls import Caller, CallError, Patience, Problem, load_litellm
from tests.fakes.openai_server import OpenAIServer, Reply, hang, http_error, rubbish, say

HASTY = Patience(attempts=3, first_wait_s=0.001, longest_wait_s=0.002)


async def asked(script: list[Reply], through: str, timeout_s: float = 30.0) -> tuple[Any, int]:
    """What a caller of this client gets, or its error, and how often the server was asked."""
    request: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
    with OpenAIServer(script) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client:
            create: Any = client.chat.completions.create
            request["model"] = "fake"
            if through == "litellm":
                create = load_litellm().acompletion
                request |= {"model": "openai/fake", "api_base": server.base_url, "api_key": "test"}
                request["max_retries"] = 0
            caller = Caller(create, timeout_s, HASTY)
            try:
                said: Any = await caller.ask(request, lambda reply: reply.choices[0].message.content)
            except CallError as trouble:
                said = trouble
        return said, len(server.requests)


def refused(message: str, status: int = 400, **more: Any) -> Reply:
    """An error as OpenAI-compatible servers write it."""
    error = {"message": message, "type": "BadRequestError", "code": status, **more}
    return Reply(status=status, text=json.dumps({"error": error}))


ONLY_A_CODE = refused("The request cannot be served.", code="context_length_exceeded")
TOO_LONG = {
    "OpenAI": refused("This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
    "only the code": ONLY_A_CODE,
    "vLLM": refused(
        "The decoder prompt (length 10127) is longer than the maximum model length of 8192. Make sure that "
        "`max_model_len` is no smaller than the number of text tokens."
    ),
    "vLLM, no room for a reply": refused("max_tokens must be at least 1, got -935."),
    "SGLang": refused("The input (9000 tokens) is longer than the model's context length (8192 tokens)."),
    "llama.cpp": refused(
        "the request exceeds the available context size. try increasing the context size",
        type="exceed_context_size_error",
    ),
    "TGI": Reply(
        status=422,
        text=json.dumps(
            {
                "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. "
                "Given: 5000 `inputs` tokens and 1024 `max_new_tokens`",
                "error_type": "validation",
            }
        ),
    ),
    "Anthropic": refused("prompt is too long: 210000 tokens > 200000 maximum"),
    "Gemini": refused(
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
    ),
    "Bedrock": refused("Input is too long for requested model."),
    "a server that calls it its own fault": refused(
        "Requested tokens (9000) exceed context window of 8192", 500
    ),
    "our own service": refused(
        "the prompt has 40003 tokens, the context of tiny-investigator is 2048; shorten the conversation",
        type="invalid_request_error",
        code="context_length_exceeded",
    ),
    "413": refused("payload too large", 413),
}


@pytest.mark.parametrize("through", ["openai", "litellm"])
@pytest.mark.parametrize("reply", TOO_LONG.values(), ids=TOO_LONG.keys())
async def test_a_conversation_that_does_not_fit_is_known_in_every_servers_words(
    reply: Reply, through: str
) -> None:
    if reply is ONLY_A_CODE and through == "litellm":
        return  # litellm does not hand the code on, so there is nothing to know it by
    said, requests = await asked([reply], through)
    assert isinstance(said, CallError)
    assert (said.problem, requests) == (Problem.TOO_LONG, 1)


@pytest.mark.parametrize("through", ["openai", "litellm"])
@pytest.mark.parametrize(
    ("reply", "problem", "attempts"),
    [
        pytest.param(refused("temperature must be at most 2"), Problem.REQUEST, 1, id="another 400"),
        pytest.param(refused("max_tokens must be at most 4096"), Problem.REQUEST, 1, id="a setting"),
        pytest.param(refused("no such key", 401), Problem.KEY, 1, id="401"),
        pytest.param(refused("no such model", 404), Problem.NAME, 1, id="404"),
        pytest.param(refused("blocked", code="content_filter"), Problem.FILTERED, 1, id="filter"),
        pytest.param(
            refused("Rate limit: too many tokens per minute", 429),
            Problem.DOWN,
            3,
            id="a rate limit of tokens",
        ),
        pytest.param(http_error(500), Problem.DOWN, 3, id="500"),
    ],
)
async def test_any_other_error_is_what_it_is(
    reply: Reply, problem: Problem, attempts: int, through: str
) -> None:
    if through == "litellm" and problem is Problem.FILTERED:
        reply = refused("blocked by the content policy")  # litellm does not hand the code on
    said, requests = await asked([reply] * 3, through)
    assert isinstance(said, CallError)
    assert (said.problem, requests) == (problem, attempts)


@pytest.mark.parametrize("through", ["openai", "litellm"])
@pytest.mark.parametrize("reply", [rubbish(), rubbish("<html>"), rubbish('{"choices": []}'), http_error(503)])
async def test_what_may_pass_is_asked_again_until_it_has(reply: Reply, through: str) -> None:
    assert await asked([reply, reply, say("hello")], through) == ("hello", 3)


@pytest.mark.parametrize("through", ["openai", "litellm"])
async def test_every_attempt_has_its_time_limit(through: str) -> None:
    load_litellm()
    said, requests = await asked([hang()] * 3, through, timeout_s=0.2)
    assert (said.problem, str(said)) == (Problem.SLOW, "no reply within 0.2 s")
    assert requests <= 3, "a busy machine may not send one within its time"


async def test_an_attempt_that_was_too_slow_is_made_again() -> None:
    attempts = 0

    async def create(**_: Any) -> None:
        nonlocal attempts
        attempts += 1
        await asyncio.Event().wait()

    with pytest.raises(CallError, match="no reply within"):
        await Caller(create, 0.01, HASTY).ask({}, str)
    assert attempts == 3


def test_a_request_that_litellm_drops_when_a_call_is_cancelled_is_no_warning() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        load_litellm()
        from litellm.llms.openai.openai import OpenAIChatCompletion

        nothing: Any = None
        OpenAIChatCompletion().acompletion(*[nothing] * 8)  # as in a thread whose task is gone
    assert not [str(one.message) for one in heard if "never awaited" in str(one.message)]


def test_waits_double_and_never_pass_the_longest() -> None:
    patience = Patience(attempts=9, first_wait_s=1.0, longest_wait_s=3.0)
    for attempt, most in [(1, 1.0), (2, 2.0), (3, 3.0), (8, 3.0)]:
        waits = [patience.wait_s(attempt) for _ in range(200)]
        assert min(waits) >= 0
        assert most / 2 < max(waits) <= most

"""A model is asked for one JSON object over a real socket: with what its server takes, and read where it
stands.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from core.json_answers import JsonAnswers, json_in, only_object_in
from core.model_calls import CallError, Patience, Problem
from tests.fakes.openai_server import OpenAIServer, Reply, cut_off, http_error, say

OBJECT = '{"fits": true}'
HASTY = Patience(attempts=2, first_wait_s=0.01, longest_wait_s=0.02)


class Fit(BaseModel):
    fits: bool


def answers(server: OpenAIServer) -> JsonAnswers:
    return JsonAnswers("openai/fake", Fit, 30.0, HASTY, api_base=server.base_url, api_key="test")


def refusing(*words: str) -> Callable[[dict[str, Any]], Reply]:
    """A server that refuses a request which holds one of these parameters."""

    def reply(body: dict[str, Any]) -> Reply:
        for word in words:
            if word in body:
                return http_error(400, f"Unsupported value: '{word}' is not supported with this model.")
        return say(OBJECT)

    return reply


@pytest.mark.parametrize(
    ("refused", "sent"),
    [
        ((), [("json_schema", 0)]),
        (("response_format",), [("json_schema", 0), ("json_object", 0), (None, 0)]),
        (("temperature",), [("json_schema", 0), ("json_schema", None)]),
        (
            ("temperature", "response_format"),
            [("json_schema", 0), ("json_schema", None), ("json_object", None), (None, None)],
        ),
    ],
    ids=["takes all", "no formats", "no temperature", "neither"],
)
async def test_what_a_server_refuses_is_left_out_from_then_on(
    refused: tuple[str, ...], sent: list[tuple[str | None, int | None]]
) -> None:
    with OpenAIServer(refusing(*refused)) as server:
        model = answers(server)
        first = await model.ask([{"role": "user", "content": "does it fit?"}])
        again = await model.ask([{"role": "user", "content": "and now?"}])
        bodies = [
            (body.get("response_format", {}).get("type"), body.get("temperature")) for body in server.requests
        ]
    assert (first.text, again.text) == (OBJECT, OBJECT)
    assert bodies == [*sent, sent[-1]]
    assert model.calls == len(bodies)


async def test_many_questions_at_once_find_out_together_what_a_server_takes() -> None:
    with OpenAIServer(refusing("response_format", "temperature")) as server:
        model = answers(server)
        said = await asyncio.gather(*(model.ask([{"role": "user", "content": "fits?"}]) for _ in range(8)))
    assert {one.text for one in said} == {OBJECT}


async def test_a_request_that_no_form_makes_acceptable_is_an_error_with_the_servers_words() -> None:
    with OpenAIServer(lambda body: http_error(400, "this model is retired")) as server:
        with pytest.raises(CallError, match="this model is retired") as caught:
            await answers(server).ask([{"role": "user", "content": "fits?"}])
        assert len(server.requests) == 3
    assert caught.value.problem is Problem.REQUEST


async def test_a_reply_that_was_cut_says_so() -> None:
    with OpenAIServer(lambda body: cut_off(OBJECT)) as server:
        said = await answers(server).ask([{"role": "user", "content": "fits?"}])
    assert not said.whole


@pytest.mark.parametrize(
    "reply",
    [
        OBJECT,
        f"  {OBJECT}\n",
        f"```json\n{OBJECT}\n```",
        f"```JSON\n{OBJECT}\n```\n",
        f"```\n{OBJECT}\n```",
        f"<think>It says {{}}.</think>{OBJECT}",
        f"They match.\n</think>\n\n```json\n{OBJECT}\n```",
        f"\ufeff{OBJECT}",
    ],
    ids=[
        "bare",
        "spaces",
        "fence",
        "capitals",
        "no language",
        "thought",
        "half a thought",
        "byte order mark",
    ],
)
def test_the_one_object_of_a_reply_is_found(reply: str) -> None:
    assert json.loads(json_in(reply)) == {"fits": True}


@pytest.mark.parametrize(
    "reply",
    [
        f"{OBJECT}\n{OBJECT}",
        f"```json\n{OBJECT}\n```\n```json\n{OBJECT}\n```",
        f"Sure!\n```json\n{OBJECT}\n```",
        f"```json\n{OBJECT}\n```\nI hope this helps.",
        f"I think {OBJECT}",
        "```json\n```",
        "<think>it fits",
        "",
    ],
    ids=[
        "two",
        "two fences",
        "before a fence",
        "behind a fence",
        "prose",
        "empty fence",
        "only a thought",
        "",
    ],
)
def test_a_reply_with_anything_else_around_its_object_stays_unreadable(reply: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        json.loads(json_in(reply))


@given(st.text() | st.text(alphabet='`{}\n<>/think json"\\'))
def test_an_object_with_any_text_in_it_is_read_as_it_stands(text: str) -> None:
    written = json.dumps({"reason": text})
    for reply in (written, f"```json\n{written}\n```", f"```\n{written}```"):
        assert json.loads(json_in(reply)) == {"reason": text}


@pytest.mark.parametrize(
    "reply",
    [
        OBJECT,
        f"Sure! Here is it:\n\n{OBJECT}\n\nLet me know if you need more.",
        f"```json\n{OBJECT}\n```",
        f"It is\n```\n{OBJECT}\n```\nas the log shows.",
        f'<think>maybe {{"fits": false}}?</think>{OBJECT}',
        f"braces {{ like these }} are no object, {OBJECT} is one",
        f"{OBJECT} and again {OBJECT}",
    ],
)
def test_one_object_is_taken_out_of_prose_a_fence_or_after_a_thought(reply: str) -> None:
    assert only_object_in(reply) == {"fits": True}


@pytest.mark.parametrize(
    "reply", ["", "it fits", '{"fits": true} {"fits": false}', '{"fits": ', "{" * 5000, "[1]"]
)
def test_no_object_or_several_that_differ_are_an_error(reply: str) -> None:
    with pytest.raises(ValueError, match="JSON objects"):
        only_object_in(reply)

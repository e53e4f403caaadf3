"""The policy's provider has a bad day: what passes is tried again, what stays raises, and neither is ever
scored.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from openai import AsyncOpenAI

from project_types import Ending, Episode, ProviderError
from rollout import investigate, litellm_chat, openai_chat, tool_schemas
from tests.builders.scenarios import CAUSE, GOLD, INCIDENT
from tests.fakes.openai_server import (
    OpenAIServer,
    Reply,
    answer,
    bad_day,
    by_turn,
    call,
    completion,
    dripping,
    hang,
    http_error,
    late,
    overflow,
    rubbish,
    text_call,
)
from tests.fakes.played import HASTY, RULES, TEXT, play
from tests.fakes.stand_ins import Grep, Says


@pytest.mark.parametrize(
    "trouble",
    [
        http_error(500),
        http_error(429),
        http_error(503),
        rubbish(),
        rubbish("<html>"),
        rubbish('{"choices": []}'),
    ],
)
async def test_a_passing_trouble_of_the_provider_is_tried_again_and_leaves_no_mark(trouble: Reply) -> None:
    episode, requests = await play([trouble, trouble, answer("ledger", CAUSE)])
    assert (episode.outcome.ending, episode.outcome.turns, episode.outcome.malformed_calls) == (
        Ending.ANSWERED,
        1,
        0,
    )
    assert len(requests) == 3


async def test_a_provider_that_recovers_at_once_costs_one_retry() -> None:
    _, requests = await play(bad_day("500-then-ok", answer("ledger", CAUSE)))
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("trouble", "attempts", "hint"),
    [
        pytest.param(http_error(500), 3, "3 attempts.*check that the server is up", id="down"),
        pytest.param(rubbish(), 3, "3 attempts", id="rubbish"),
        pytest.param(http_error(401, "bad key"), 1, "check the API key", id="bad key"),
        pytest.param(http_error(404, "no such model"), 1, "check the model's name", id="no such model"),
        pytest.param(
            http_error(400, "temperature must be below 2"), 1, "temperature must be below 2", id="bad request"
        ),
    ],
)
async def test_a_provider_that_stays_broken_raises_and_is_never_scored(
    trouble: Reply, attempts: int, hint: str
) -> None:
    with OpenAIServer([call("grep", word="cdn"), *[trouble] * 5]) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="test") as client:
            with pytest.raises(ProviderError, match=hint) as caught:
                await investigate(
                    openai_chat(client, "scripted", RULES, HASTY),
                    INCIDENT,
                    [Grep()],
                    judge=Says(True),
                    config=RULES,
                )
    assert len(server.requests) == 1 + attempts
    assert caught.value.episode is not None
    assert (caught.value.episode.outcome.ending, caught.value.episode.outcome.tool_calls) == (
        Ending.PROVIDER_ERROR,
        1,
    )
    assert caught.value.episode.reward is None


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize(
    ("through", "asked"), [("openai", "0.2"), ("openai", "tomorrow"), ("litellm", "0.2")]
)
async def test_a_provider_that_asks_for_a_wait_gets_it_up_to_the_time_a_reply_may_take(
    through: str, asked: str
) -> None:
    rules = RULES.model_copy(update={"provider_timeout_s": 0.8 if asked == "tomorrow" else 5})
    tomorrow = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    busy = replace(http_error(429), headers={"Retry-After": tomorrow if asked == "tomorrow" else asked})
    with OpenAIServer([busy, answer("ledger", CAUSE)]) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="test") as client:
            chats = {
                "openai": openai_chat(client, "scripted", rules, HASTY),
                "litellm": litellm_chat(
                    "openai/scripted", rules, HASTY, api_base=server.base_url, api_key="test"
                ),
            }
            began = time.monotonic()
            await investigate(chats[through], INCIDENT, [Grep()], config=rules)
    assert 0.2 <= time.monotonic() - began < 60


@pytest.mark.parametrize("asked", ["", "soon", "-5", "nan", "inf", "Sat, 99 Nov 2026"])
async def test_a_wait_that_cannot_be_read_is_not_waited_for(asked: str) -> None:
    busy = replace(http_error(503), headers={"Retry-After": asked})
    _, requests = await play([busy, answer("ledger", CAUSE)])
    assert len(requests) == 2


async def test_half_a_surrogate_pair_becomes_a_question_mark_that_can_be_sent_and_stored() -> None:
    halves = Reply({"content": "half \ud800", "refusal": "\udfff no"})
    episode, requests = await play([halves])
    assert (len(requests), episode.outcome.ending) == (1, Ending.REFUSED)
    assert episode.messages[-1]["content"] == "half ?"
    assert Episode.model_validate_json(episode.model_dump_json()) == episode


def _written(**function: Any) -> Reply:
    """A call as a server writes it that does not keep to the letter."""
    made = {"id": "c", "type": "function", "function": {"name": "grep", **function}}
    return Reply({"content": None, "tool_calls": [made]}, finish_reason="tool_calls")


@pytest.mark.parametrize("through", ["openai", "litellm"])
@pytest.mark.parametrize(
    ("reply", "ran"),
    [
        pytest.param(_written(arguments={"word": "cdn"}), 1, id="an object"),
        pytest.param(_written(arguments='{"word": "cdn"}'), 1, id="text"),
        pytest.param(_written(arguments=None), 0, id="null"),
        pytest.param(_written(arguments=""), 0, id="empty"),
        pytest.param(_written(), 0, id="absent"),
    ],
)
async def test_arguments_are_taken_however_a_server_writes_them(reply: Reply, ran: int, through: str) -> None:
    """`grep` needs a word, so a call without arguments is the model's mistake and not the provider's."""
    with OpenAIServer([reply, answer("ledger", CAUSE)]) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="test") as client:
            reach = {"api_base": server.base_url, "api_key": "test"}
            chat = (
                openai_chat(client, "scripted", RULES, HASTY)
                if through == "openai"
                else litellm_chat("openai/scripted", RULES, HASTY, **reach)
            )
            episode = await investigate(chat, INCIDENT, [Grep()], config=RULES)
    facts = episode.outcome
    assert (facts.ending, facts.tool_calls, facts.malformed_calls) == (Ending.ANSWERED, ran, 1 - ran)
    sent = server.requests[1]["messages"][2]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(sent) == ({"word": "cdn"} if ran else {})


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": None, "completion_tokens": 3, "total_tokens": None},
        {"prompt_tokens": -1, "completion_tokens": 3},
        {"completion_tokens": 3},
        None,
    ],
    ids=["null", "negative", "absent", "none at all"],
)
async def test_tokens_that_a_server_does_not_count_count_as_none(usage: dict[str, Any] | None) -> None:
    body = completion(answer("ledger", CAUSE), {"messages": []}) | {"usage": usage}
    episode, _ = await play([Reply(text=json.dumps(body))])
    facts = episode.outcome
    assert (facts.prompt_tokens, facts.completion_tokens) == (0, 3 if usage else 0)


async def test_content_in_parts_is_one_text() -> None:
    parts = [
        {"type": "text", "text": '{"tool": "grep", '},
        {"type": "text", "text": '"arguments": {"word": "cdn"}}'},
    ]
    final = text_call("return_final_answer", root_cause=CAUSE, suspected_service="ledger")
    episode, _ = await play([Reply({"content": parts}), final], config=TEXT)
    assert episode.outcome.tool_calls == 1


async def test_a_reply_that_comes_too_late_is_asked_for_again() -> None:
    rules = RULES.model_copy(update={"provider_timeout_s": 0.3})
    episode, requests = await play([late(answer("orders", "late"), 5), answer("ledger", CAUSE)], config=rules)
    assert len(requests) == 2
    assert episode.report is not None
    assert episode.report.suspected_service == "ledger"


async def test_a_reply_that_drips_in_forever_is_given_up_and_asked_for_again() -> None:
    rules = RULES.model_copy(update={"provider_timeout_s": 0.4})
    _, requests = await play([dripping(answer("ledger", CAUSE), 0.05), answer("ledger", CAUSE)], config=rules)
    assert len(requests) == 2


async def test_a_reply_that_is_slow_but_in_time_is_taken() -> None:
    _, requests = await play([late(answer("ledger", CAUSE), 0.2)])
    assert len(requests) == 1


async def test_a_provider_that_never_replies_is_given_up() -> None:
    rules = RULES.model_copy(update={"provider_timeout_s": 0.1})
    with pytest.raises(ProviderError, match=r"no reply within 0\.1 s"):
        await play([hang()] * 3, config=rules)


async def test_nobody_listening_is_a_provider_error_that_says_what_to_check() -> None:
    with OpenAIServer([]) as server:
        gone = server.base_url
    async with AsyncOpenAI(base_url=gone, api_key="test") as client:
        with pytest.raises(ProviderError, match="check that the server is up"):
            await investigate(openai_chat(client, "scripted", RULES, HASTY), INCIDENT, [Grep()], config=RULES)


async def test_a_request_carries_the_rules_and_the_schemas_of_the_tools() -> None:
    rules = RULES.model_copy(update={"temperature": 0.25, "top_p": 0.5, "max_completion_tokens": 77})
    _, requests = await play([answer("ledger", CAUSE)], config=rules)
    sent = {key: requests[0][key] for key in ("model", "temperature", "top_p", "max_completion_tokens")}
    assert sent == {"model": "scripted", "temperature": 0.25, "top_p": 0.5, "max_completion_tokens": 77}
    assert requests[0]["tools"] == tool_schemas([Grep()])


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # litellm's, about its own types
@pytest.mark.parametrize(
    ("script", "ending"),
    [
        pytest.param(
            [call("grep", word="space"), http_error(500), answer("ledger", CAUSE, key_log_ids=[GOLD])],
            Ending.ANSWERED,
            id="ok",
        ),
        pytest.param([overflow()], Ending.OUT_OF_CONTEXT, id="overflow"),
    ],
)
async def test_litellm_reaches_the_same_policies(script: list[Reply], ending: Ending) -> None:
    with OpenAIServer(script) as server:
        chat = litellm_chat("openai/scripted", RULES, HASTY, api_base=server.base_url, api_key="test")
        episode = await investigate(chat, INCIDENT, [Grep()], judge=Says(True), config=RULES)
    assert episode.outcome.ending is ending
    assert len(server.requests) == len(script)


async def test_many_episodes_at_once_share_a_server_without_mixing() -> None:
    with OpenAIServer(
        by_turn(
            [
                call("grep", word="cdn"),
                call("grep", word="space"),
                answer("ledger", CAUSE, key_log_ids=[GOLD]),
            ]
        )
    ) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="test") as client:
            chat = openai_chat(client, "scripted", RULES, HASTY)
            episodes = await asyncio.gather(
                *(investigate(chat, INCIDENT, [Grep()], judge=Says(True), config=RULES) for _ in range(8))
            )
    assert {(episode.outcome.turns, episode.outcome.cited_gold) for episode in episodes} == {(3, 1)}


async def test_the_calls_of_an_episode_carry_one_session_and_those_of_another_a_different_one() -> None:
    script = by_turn([call("grep", word="cdn"), answer("ledger", CAUSE)])
    with OpenAIServer(script) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="test") as client:
            for _ in range(2):
                chat = openai_chat(client, "scripted", RULES, HASTY)
                await investigate(chat, INCIDENT, [Grep()], config=RULES)
    sessions = [headers["x-session-id"] for headers in server.headers]
    assert sessions == [sessions[0]] * 2 + [sessions[2]] * 2
    assert sessions[0] != sessions[2]

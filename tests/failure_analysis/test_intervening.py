"""One tool result or one call of a stored episode is changed, and the effect is
what the policy makes of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failure_analysis.episodes.intervening import (
    Change,
    Effect,
    Situation,
    difference,
    intervene,
    replacing_call,
)
from failure_analysis.records import StoreError
from log_search_tools import log_tools
from make_judge_model import load_judge
from project_types import Chat, ChatReply, Episode, EpisodeConfig, Message, ProviderError, ToolCall
from tests.builders.played import GOLD, LOUD, RIGHT, RULES, SYMPTOM, Stage, answer, raw_call, scripted, search

TEXT = RULES.model_copy(update={"call_format": "text"})


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


async def attentive(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
    """A policy that names the ledger if it was shown the full volume, and the mailer otherwise."""
    seen = any(
        "no space left" in str(message.get("content"))
        for message in messages
        if message["role"] != "assistant"
    )
    return (
        answer("ledger", RIGHT, GOLD)
        if seen
        else answer("mailer", "mailer: template store unreachable", LOUD)
    )


def effect(
    stage: Stage,
    episode: Episode,
    change: Change,
    *,
    k: int = 4,
    chat: Chat = attentive,
    config: EpisodeConfig = RULES,
) -> Effect:
    situation = Situation(
        episode,
        stage.scenario,
        lambda: log_tools(stage.database, stage.scenario.id, config),
        lambda sample: chat,
        load_judge("offline"),
        config,
    )
    return asyncio.run(intervene(situation, change, k, 2))


def mailer_search(stage: Stage) -> Episode:
    return stage.play(search(service="mailer"), answer("mailer", "mailer: template store unreachable", LOUD))


def test_showing_the_decisive_line_makes_the_difference(stage: Stage) -> None:
    better = next(m["content"] for m in stage.right().messages if m["role"] == "tool")
    found = effect(stage, mailer_search(stage), Change(1, result=better))
    assert (found.unchanged.right, found.with_change.right) == (0, 4)
    assert found.with_change.grounded == 4
    assert found.success.value == 1.0
    assert found.success.low > 0
    assert found.notes == ()


def test_another_call_at_one_turn_makes_the_difference(stage: Stage) -> None:
    call = replacing_call('{"name": "search_logs", "arguments": {"service": "ledger"}}')
    found = effect(stage, mailer_search(stage), Change(1, call=call))
    assert (found.unchanged.right, found.with_change.right) == (0, 4)
    assert found.changed == "the call of turn 1"


def test_a_change_that_does_not_matter_shows_no_effect(stage: Stage) -> None:
    found = effect(stage, mailer_search(stage), Change(1, result="nothing here"))
    assert found.success.value == 0.0
    assert found.success.low < 0 < found.success.high


def test_the_final_answer_can_be_replaced_by_a_call(stage: Stage) -> None:
    call = replacing_call('{"name": "search_logs", "arguments": {"service": "ledger"}}')
    found = effect(stage, mailer_search(stage), Change(2, call=call))
    assert (found.unchanged.right, found.with_change.right) == (0, 4)


def test_episodes_whose_calls_are_text_are_played_again_as_text(stage: Stage) -> None:
    said = ChatReply(content='{"tool": "search_logs", "arguments": {"service": "mailer"}}')
    report = {"suspected_service": "mailer", "root_cause": "mailer: down", "key_log_ids": [LOUD]}
    episode = stage.play(
        said, ChatReply(content=json.dumps({"tool": "return_final_answer", "arguments": report})), config=TEXT
    )

    async def text_chat(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        (call,) = (await attentive(messages, tools)).tool_calls
        return ChatReply(content=json.dumps({"tool": call.name, "arguments": json.loads(call.arguments)}))

    change = Change(1, call=replacing_call('{"name": "search_logs", "arguments": {"service": "ledger"}}'))
    found = effect(stage, episode, change, chat=text_chat, config=TEXT)
    assert (found.unchanged.right, found.with_change.right) == (0, 4)


def test_a_search_that_now_answers_otherwise_is_noted(stage: Stage) -> None:
    episode = mailer_search(stage)
    messages = tuple(
        {**m, "content": "something older"} if m["role"] == "tool" else m for m in episode.messages
    )
    found = effect(stage, episode.model_copy(update={"messages": messages}), Change(1, result="x"))
    assert found.notes == ("the tools now answer turn 1 otherwise than they did then",)


def test_plays_without_a_verdict_are_not_counted(stage: Stage) -> None:
    turns = iter(range(100))

    async def shaky(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        if next(turns) % 3 == 0:
            raise ProviderError("no reply")
        return await attentive(messages, tools)

    found = effect(stage, mailer_search(stage), Change(1, result="x"), k=6, chat=shaky)
    assert found.unchanged.played + found.with_change.played == 8
    assert found.unchanged.failed + found.with_change.failed == 4


def test_when_nothing_comes_to_a_verdict_that_is_said(stage: Stage) -> None:
    with pytest.raises(StoreError, match="no play came to a verdict"):
        effect(stage, mailer_search(stage), Change(1, result="x"), chat=scripted(ProviderError("no reply")))


@pytest.mark.parametrize(
    ("change", "why"),
    [(Change(9, result="x"), "the episode has 2 turns"), (Change(2, result="x"), "turn 2 called no tool")],
    ids=["no-such-turn", "no-result"],
)
def test_a_turn_that_cannot_be_changed_is_said(stage: Stage, change: Change, why: str) -> None:
    with pytest.raises(StoreError, match=why):
        effect(stage, mailer_search(stage), change)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"x"', '{"arguments": {}}', '{"name": 3}', '{"name": "x", "arguments": []}']
)
def test_a_replacement_that_is_no_call_is_said_with_an_example(text: str) -> None:
    with pytest.raises(StoreError, match=r"write \{"):
        replacing_call(text)


def test_a_stored_reply_that_was_malformed_is_replayed_as_it_was(stage: Stage) -> None:
    patient = RULES.model_copy(update={"repairs": 1})
    episode = stage.play(
        raw_call("search_logs", "{"), search(service="orders"), answer("orders", "x", SYMPTOM), config=patient
    )
    found = effect(stage, episode, Change(2, result="no space left"), config=patient)
    assert found.with_change.right == 4
    assert found.notes == ()


@pytest.mark.parametrize(
    ("hits", "of", "hits_then", "of_then", "low", "high"),
    [
        (48, 80, 56, 70, 0.0524, 0.3339),
        (3, 10, 9, 10, 0.1705, 0.8090),
        (0, 10, 0, 20, -0.2775, 0.1611),
        (10, 10, 0, 10, -1.0, -0.6075),
    ],
)
def test_the_interval_is_newcombes(
    hits: int, of: int, hits_then: int, of_then: int, low: float, high: float
) -> None:
    found = difference(hits, of, hits_then, of_then)
    assert found.low == pytest.approx(low, abs=1e-3)
    assert found.high == pytest.approx(high, abs=1e-3)


@given(of=st.integers(1, 50), of_then=st.integers(1, 50), data=st.data())
def test_an_interval_holds_its_value_and_lies_between_minus_one_and_one(
    of: int, of_then: int, data: st.DataObject
) -> None:
    hits, hits_then = data.draw(st.integers(0, of)), data.draw(st.integers(0, of_then))
    found = difference(hits, of, hits_then, of_then)
    assert -1 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    mirrored = difference(hits_then, of_then, hits, of)
    assert mirrored.low == pytest.approx(-found.high)
    assert mirrored.high == pytest.approx(-found.low)


def test_a_replaced_call_keeps_its_arguments(tmp_path: Path) -> None:
    assert replacing_call('{"name": "read_trace", "arguments": {"trace_id": "0011"}}') == ToolCall(
        id="replaced", name="read_trace", arguments='{"trace_id": "0011"}'
    )

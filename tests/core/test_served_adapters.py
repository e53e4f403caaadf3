"""The client of a served adapter: what it asks, what it reads, and how it fails. Over a real socket."""

from __future__ import annotations

from typing import Any

import pytest

from core.model_calls import CallError, Problem
from core.served_adapters import ServedAdapters, ServedScore, question, said
from project_types import JudgeError, Report
from tests.fakes.adapter_server import adapter_server

REPORT = Report(root_cause="the pool of orders is empty", suspected_service="orders")
EPISODE: list[dict[str, Any]] = [
    {"role": "system", "content": "investigate"},
    {"role": "user", "content": "checkout is failing"},
    {"role": "assistant", "content": "", "tool_calls": []},
    {"role": "user", "content": "call one tool"},
]


async def test_a_report_is_scored_as_the_answer_to_what_was_asked() -> None:
    with adapter_server({"score": {"adapter": "judge@v1", "scores": [1.5]}}) as server:
        score = ServedScore("judge@v1", ServedAdapters(server.url, "secret"))
        assert await score.score(EPISODE, REPORT) == 1.5
    ((path, token, body),) = server.requests
    assert (path, token) == ("/v1/score", "secret")
    assert body == {"adapter": "judge@v1", "messages": question(EPISODE), "answers": [said(REPORT)]}
    assert body["messages"] == EPISODE[:2]


@pytest.mark.parametrize(
    "reply", [{}, {"adapter": "judge@v1", "scores": "high"}, {"adapter": "judge@v1", "scores": []}, [1.0]]
)
async def test_a_score_that_cannot_be_read_is_no_score(reply: Any) -> None:
    with adapter_server({"score": reply}) as server, pytest.raises(JudgeError, match="judge@v1"):
        await ServedScore("judge@v1", ServedAdapters(server.url)).score(EPISODE, REPORT)


async def test_each_failure_is_told_apart() -> None:
    with adapter_server({}) as server, pytest.raises(CallError, match="HTTP 404") as unknown:
        await ServedAdapters(server.url).triage("a log", "none@v1")
    assert unknown.value.problem is Problem.NAME
    with pytest.raises(CallError, match="python -m alignment serve") as down:
        await ServedAdapters(server.url).triage("a log", "production")
    assert down.value.problem is Problem.DOWN

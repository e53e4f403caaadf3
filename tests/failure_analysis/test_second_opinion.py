"""A model's claims about an episode are kept only when they cite turns and lines that are real; it is asked
once per group.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.model_calls import Patience
from failure_analysis.capture import capture
from failure_analysis.episodes.second_opinion import Opinion, second_opinion
from failure_analysis.logs.analyzer import LogAnalyzer
from failure_analysis.records import InvestigationKind
from failure_analysis.store import FailureStore, Wanted
from tests.builders.played import GOLD, SYMPTOM, Stage, answer, evaluation, search
from tests.fakes.openai_server import OpenAIServer, Reply, http_error, say


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


def said(*claims: dict[str, Any]) -> Reply:
    return say(json.dumps({"claims": list(claims)}))


def claim(**fields: Any) -> dict[str, Any]:
    return {
        "kind": "saw_and_ignored",
        "text": "it was the full volume",
        "turns": [1],
        "log_ids": [GOLD[:4]],
        **fields,
    }


def ask(stage: Stage, *replies: Reply) -> tuple[Opinion, str]:
    """The opinion on a wrong episode, and the question that was asked."""
    with OpenAIServer(list(replies)) as server:
        found = second_opinion(analyzer(server), stage.wrong(), stage.scenario)
        return found, server.requests[0]["messages"][1]["content"]


def analyzer(server: OpenAIServer) -> LogAnalyzer:
    hasty = Patience(attempts=4, first_wait_s=0.01, longest_wait_s=0.05)
    return LogAnalyzer("openai/fake", api_base=server.base_url, api_key="test", timeout_s=60, patience=hasty)


def test_a_claim_that_cites_what_happened_is_kept_with_full_ids(stage: Stage) -> None:
    found, question = ask(stage, said(claim()))
    assert [(one.kind, one.turns, one.log_ids, one.method) for one in found.claims] == [
        (InvestigationKind.SAW_AND_IGNORED, (1,), (GOLD,), "llm")
    ]
    assert "openai/fake added 1 claims" in found.why
    assert "culprit" in question
    assert "no space left on device" in question


@pytest.mark.parametrize(
    "fields",
    [
        {"turns": [9]},
        {"turns": [0]},
        {"turns": []},
        {"log_ids": ["feedbeef"]},
        {"log_ids": [GOLD[:4], "feedbeef"]},
        {"log_ids": ["0b0b"]},
    ],
    ids=["no-such-turn", "turn-zero", "no-turn", "invented-line", "one-invented", "a-line-nobody-saw"],
)
def test_a_claim_that_cites_what_never_happened_is_dropped(stage: Stage, fields: dict[str, Any]) -> None:
    found, _ = ask(stage, said(claim(**fields), claim(text="this one is real")))
    assert [one.text for one in found.claims] == ["this one is real"]
    assert "1 that cite nothing real were dropped" in found.why


@pytest.mark.parametrize(
    "reply",
    [say("no JSON"), said({"kind": "laziness"}), http_error(500)],
    ids=["prose", "unknown-kind", "500"],
)
def test_a_model_without_a_usable_opinion_leaves_the_rules_alone(stage: Stage, reply: Reply) -> None:
    found, _ = ask(stage, *[reply] * 4)
    assert found.claims == ()
    assert "openai/fake" in found.why


def test_a_capture_with_a_model_asks_once_per_group_and_keeps_the_rules_first(
    tmp_path: Path, stage: Stage
) -> None:
    other = stage.play(
        search(service="orders"), answer("orders", "orders: call to ledger failed", SYMPTOM), sample=2
    )
    run = evaluation(tmp_path / "eval", stage, [stage.wrong(0), stage.wrong(1), other])
    store = FailureStore(tmp_path / "failures.db")
    with OpenAIServer(lambda body: said(claim())) as server:
        capture(run, store, analyzer(server))
        assert len(server.requests) == 2
        (run / "episodes.jsonl").rename(run / "more.jsonl")
        capture(run / "more.jsonl", store, analyzer(server))
        assert len(server.requests) == 2
    told = [row.failure for row in store.experiments(Wanted(run="eval")).rows if row.failure]
    methods = [[one.method for one in failure.claims] for failure in told]
    assert sum("llm" in each for each in methods) == 2
    assert all(each[0] == "rules" for each in methods)

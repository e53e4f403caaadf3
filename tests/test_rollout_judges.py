"""Whole rollouts over two sockets, a scripted policy and a fake LLM judge: good days score, bad days drop the
episode.
"""

from __future__ import annotations

import pytest

from core.judges.llm import LLMJudge
from project_types import Ending, JudgeError
from rollout import BANDS, reward
from tests.builders.scenarios import CAUSE, GOLD
from tests.fakes.judge_server import judge_server
from tests.fakes.openai_server import Mode, OpenAIServer, answer, call
from tests.fakes.played import play

RIGHT = {"service_correct": True, "cause_correct": True, "reason": "the volume is full"}
WRONG = {"service_correct": True, "cause_correct": False, "reason": "a symptom"}
pytestmark = pytest.mark.filterwarnings(
    "ignore:Pydantic serializer warnings"
)  # litellm's, about its own types


def judge_at(server: OpenAIServer, timeout_s: float = 5) -> LLMJudge:
    return LLMJudge(
        "openai/fake",
        api_base=server.base_url,
        api_key="test",
        timeout_s=timeout_s,
        attempts=2,
        retry_wait_s=0.01,
    )


@pytest.mark.parametrize("mode", ["ok", "late", "500-then-ok"])
async def test_an_episode_is_scored_by_the_verdict_however_slowly_it_comes(mode: Mode) -> None:
    with judge_server(mode, RIGHT) as server:
        episode, _ = await play(
            [call("grep", word="space"), answer("ledger", CAUSE, key_log_ids=[GOLD])], judge=judge_at(server)
        )
    assert (episode.outcome.ending, episode.outcome.grounded) == (Ending.ANSWERED, True)
    assert episode.reward == reward(episode.outcome).total >= BANDS["grounded"].low
    assert episode.verdict is not None
    assert episode.verdict.reason == RIGHT["reason"]


@pytest.mark.parametrize("mode", ["timeout", "rubbish", "refusal", "overflow"])
async def test_a_judge_without_a_verdict_drops_the_episode_and_never_scores_it(mode: Mode) -> None:
    with judge_server(mode, RIGHT) as server, pytest.raises(JudgeError) as caught:
        await play([answer("ledger", CAUSE)], judge=judge_at(server, timeout_s=0.3))
    assert caught.value.episode is not None
    assert (caught.value.episode.reward, caught.value.episode.verdict) == (None, None)


async def test_a_right_service_with_a_wrong_cause_is_wrong_but_less_so() -> None:
    with judge_server("ok", WRONG) as server:
        near, _ = await play([answer("ledger", "it is slow")], judge=judge_at(server))
    with judge_server("ok", {**WRONG, "service_correct": False}) as server:
        far, _ = await play([answer("orders", "it is slow")], judge=judge_at(server))
    assert near.reward is not None
    assert far.reward is not None
    assert BANDS["wrong"].high >= near.reward > far.reward

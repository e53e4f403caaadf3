"""Each kind of failed investigation is recognised in an episode that was really played; its claims cite what
can be checked.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core.log_stores.id_prefix import IdPrefixes
from failure_analysis.episodes.investigations import claims, failed
from failure_analysis.episodes.kinds import MEANING
from failure_analysis.episodes.turns import turns_of
from failure_analysis.records import InvestigationKind as Kind
from project_types import (
    ChatReply,
    Episode,
    EpisodeConfig,
    JudgeError,
    ProviderError,
    Report,
    Scenario,
    Verdict,
)
from tests.builders.played import (
    FRONT,
    GOLD,
    LOUD,
    NARROW,
    RIGHT,
    RULES,
    SYMPTOM,
    Stage,
    answer,
    call,
    raw_call,
    search,
)

WARNINGS = search(min_level="WARN")
BLAMES_ORDERS = answer("orders", "orders: call to ledger failed", SYMPTOM)
BLAMES_MAILER = answer("mailer", "mailer: template store unreachable", LOUD)
REPAIRS = RULES.model_copy(update={"repairs": 1})
TEXT = RULES.model_copy(update={"call_format": "text"})

CUT_IN_A_CALL = ChatReply(content='<tool_call>{"na', finish_reason="length")
CUT_BEFORE_ANY = ChatReply(content="well", finish_reason="length")
CASES: dict[str, tuple[Kind, tuple[ChatReply, ...], EpisodeConfig, tuple[int, ...], tuple[str, ...]]] = {
    "saw the decisive line and blamed the caller": (Kind.SAW_AND_IGNORED, (WARNINGS, BLAMES_ORDERS), RULES, (1, 2), (GOLD,)),
    "blamed a victim": (Kind.STOPPED_AT_SYMPTOM, (search(service="orders"), BLAMES_ORDERS), RULES, (1, 2), (SYMPTOM,)),
    "blamed a bystander": (Kind.FOLLOWED_WRONG_BRANCH, (search(service="mailer"), BLAMES_MAILER), RULES, (1, 2), (LOUD,)),
    "right service, another cause": (
        Kind.RIGHT_SERVICE_WRONG_CAUSE,
        (search(service="ledger", min_level="WARN"), answer("ledger", "ledger: a certificate expired", GOLD)),
        RULES, (1, 2), (GOLD,),
    ),
    "looked at the wrong time": (
        Kind.WRONG_TIME_WINDOW, (search(service="ledger", start_time="14:05:30"), BLAMES_MAILER), RULES, (1,),
        (GOLD,),
    ),
    "did not ask for the rest": (
        Kind.EVIDENCE_CUT_OFF, (search(min_level="WARN", limit=1), BLAMES_MAILER), RULES, (1,), (GOLD,),
    ),
    "invented an id": (
        Kind.FABRICATED_EVIDENCE, (WARNINGS, answer("orders", "orders: down", "feedbeef", SYMPTOM)), RULES,
        (2,), ("feedbeef",),
    ),
    "invented a service": (
        Kind.INVENTED_SERVICE,
        (search(service="mailer"), answer("billing-db", "billing-db: it is down", LOUD)), RULES, (1, 2),
        (LOUD,),
    ),
    "searched for what is not there": (
        Kind.SEARCHED_NOTHING,
        (search(keywords=["zebra"]), answer("mailer", "mailer: template store unreachable")), RULES, (1,),
        (),
    ),
    "answered at once": (Kind.ANSWERED_BLIND, (answer("mailer", "mailer: it is always the mailer"),), RULES, (1,), ()),
    "right, but cites nothing": (Kind.UNSUPPORTED_GUESS, (WARNINGS, answer("ledger", RIGHT)), RULES, (2,), ()),
    "gave up": (Kind.GAVE_UP, (search(service="mailer"), answer("unknown", "unknown")), RULES, (2,), ()),
    "gave up in spite of the evidence": (Kind.GAVE_UP, (WARNINGS, answer("unknown", "unknown")), RULES, (1, 2), (GOLD,)),
    "repeated itself to the end": (Kind.REPEATED_ITSELF, (search(service="orders"),), RULES, (1, 2, 3, 4, 5, 6), ()),
    "ran out of turns": (
        Kind.OUT_OF_TURNS, tuple(search(service="orders", limit=n) for n in range(1, 7)), RULES, (6,), (),
    ),
    "a call that is no JSON": (Kind.MALFORMED_CALL, (raw_call("search_logs", "{"),), RULES, (1,), ()),
    "prose instead of a call": (Kind.MALFORMED_CALL, (WARNINGS, ChatReply(content="I think it is orders")), RULES, (2,), ()),
    "nothing at all": (Kind.MALFORMED_CALL, (ChatReply(),), RULES, (1,), ()),
    "a tool that does not exist": (Kind.WRONG_TOOL_USE, (call("grep", word="x"),), RULES, (1,), ()),
    "arguments a tool refuses, twice": (Kind.WRONG_TOOL_USE, (search(min_level="LOUD"),), REPAIRS, (1, 2), ()),
    "a report without a cause": (Kind.INVALID_REPORT, (call("return_final_answer", suspected_service="x"),), RULES, (1,), ()),
    "a call that was cut": (Kind.OUT_OF_CONTEXT, (WARNINGS, CUT_IN_A_CALL), RULES, (2,), ()),
    "cut before any call": (Kind.MALFORMED_CALL, (WARNINGS, CUT_BEFORE_ANY), RULES, (2,), ()),
    "declined": (Kind.REFUSED, (WARNINGS, ChatReply(refusal="no")), RULES, (2,), ()),
    "calls as text": (
        Kind.STOPPED_AT_SYMPTOM,
        (
            ChatReply(content='{"tool": "search_logs", "arguments": {"service": "orders"}}'),
            ChatReply(content='{"tool": "return_final_answer", "arguments": {"suspected_service": "orders", '
                              f'"root_cause": "orders: calls fail", "key_log_ids": ["{SYMPTOM[:4]}"]}}}}'),
        ),
        TEXT, (1, 2), (SYMPTOM,),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.mark.parametrize(("kind", "replies", "config", "turns", "log_ids"), CASES.values(), ids=CASES.keys())
def test_an_episode_is_named_by_what_went_wrong_and_cites_where(
    stage: Stage,
    kind: Kind,
    replies: tuple[ChatReply, ...],
    config: EpisodeConfig,
    turns: tuple[int, ...],
    log_ids: tuple[str, ...],
) -> None:
    episode = stage.play(*replies, config=config)
    assert failed(episode)
    first = claims(episode, stage.scenario)[0]
    assert (first.kind, first.turns, first.log_ids) == (kind, turns, log_ids)


def test_every_kind_is_recognised_in_a_played_episode_and_means_something() -> None:
    interrupted = {
        Kind.PROVIDER_TROUBLE,
        Kind.JUDGE_TROUBLE,
    }  # tested below: nothing is judged when they happen
    seen_behind_others = {Kind.NEVER_REACHED_EVIDENCE}
    assert {case[0] for case in CASES.values()} | interrupted | seen_behind_others == set(Kind)
    assert set(MEANING) == set(Kind)
    assert len(Kind) >= 12


def test_an_episode_that_never_saw_the_evidence_says_so_whatever_else_it_did(stage: Stage) -> None:
    episode = stage.play(search(service="orders"), BLAMES_ORDERS)
    found = {claim.kind: claim for claim in claims(episode, stage.scenario)}
    assert found[Kind.NEVER_REACHED_EVIDENCE].log_ids == (GOLD,)
    assert found[Kind.NEVER_REACHED_EVIDENCE].turns == (1, 2)


def test_a_grounded_answer_is_no_failure(stage: Stage) -> None:
    assert not failed(stage.right())
    assert claims(stage.right(), stage.scenario) == ()


def test_every_claim_of_every_case_cites_turns_of_the_episode_and_lines_of_the_scenario(stage: Stage) -> None:
    known = {row.id for row in stage.scenario.logs}
    for kind, replies, config, *_ in CASES.values():
        episode = stage.play(*replies, config=config)
        turns = range(1, episode.outcome.turns + 1)
        for claim in claims(episode, stage.scenario):
            assert claim.text
            assert claim.turns
            assert set(claim.turns) <= set(turns)
            assert set(claim.log_ids) <= known or claim.kind is Kind.FABRICATED_EVIDENCE, kind


def test_a_search_that_shows_one_of_its_kind_is_not_called_cut_off(stage: Stage) -> None:
    episode = stage.play(search(min_level="WARN", service="ledger", limit=1), BLAMES_MAILER, config=NARROW)
    assert Kind.EVIDENCE_CUT_OFF not in {claim.kind for claim in claims(episode, stage.scenario)}


def test_paging_on_to_the_decisive_line_is_seeing_it(stage: Stage) -> None:
    pages = (search(min_level="WARN", limit=1), search(min_level="WARN", cursor=1), BLAMES_MAILER)
    episode = stage.play(*pages)
    assert claims(episode, stage.scenario)[0].kind is Kind.SAW_AND_IGNORED


def test_a_provider_that_fails_is_nobodys_mistake(stage: Stage) -> None:
    with pytest.raises(ProviderError) as caught:
        stage.play(WARNINGS, ProviderError("no reply"))
    assert caught.value.episode is not None
    found = claims(caught.value.episode, stage.scenario, "ProviderError")
    assert [claim.kind for claim in found] == [Kind.PROVIDER_TROUBLE]
    assert found[0].turns == (1,)


class Unsure:
    """A judge that never comes to a verdict."""

    name = "unsure"

    async def verdict(self, scenario: Scenario, report: Report) -> Verdict:
        raise JudgeError("no verdict today")


class Harsh:
    """A judge for whom nothing is right."""

    name = "harsh"

    async def verdict(self, scenario: Scenario, report: Report) -> Verdict:
        return Verdict(
            correct=False, service_correct=False, cause_correct=False, reason="no", judge=self.name
        )


def test_a_judge_that_fails_is_named(stage: Stage) -> None:
    with pytest.raises(JudgeError) as caught:
        stage.play(WARNINGS, BLAMES_ORDERS, judge=Unsure())
    assert caught.value.episode is not None
    assert claims(caught.value.episode, stage.scenario, "JudgeError")[0].kind is Kind.JUDGE_TROUBLE
    assert claims(caught.value.episode, stage.scenario)[0].kind is Kind.JUDGE_TROUBLE


def test_a_verdict_that_contradicts_the_facts_is_doubted(stage: Stage) -> None:
    episode = stage.play(WARNINGS, answer("ledger", RIGHT, GOLD), judge=Harsh())
    first = claims(episode, stage.scenario)[0]
    assert first.kind is Kind.JUDGE_TROUBLE
    assert first.log_ids == (GOLD,)
    assert "harsh" in first.text


def test_a_report_that_places_the_decisive_line_in_another_service_is_rightly_wrong(stage: Stage) -> None:
    elsewhere = RIGHT.replace("ledger:", "orders:", 1)
    episode = stage.play(WARNINGS, answer("ledger", elsewhere, GOLD), judge=Harsh())
    kinds = [claim.kind for claim in claims(episode, stage.scenario)]
    assert Kind.JUDGE_TROUBLE not in kinds
    assert kinds


def test_without_the_scenario_only_what_the_episode_says_is_claimed(stage: Stage) -> None:
    episode = stage.play(WARNINGS, answer("mailer", "mailer: down"))
    assert [claim.kind for claim in claims(episode)] == [Kind.UNSUPPORTED_GUESS]
    assert claims(stage.wrong())


def test_shown_ids_are_found_again_with_and_without_the_scenario(stage: Stage) -> None:
    episode = stage.play(WARNINGS, BLAMES_ORDERS)
    ids = IdPrefixes(row.id for row in stage.scenario.logs)
    for turns in (turns_of(episode), turns_of(episode, ids)):
        assert turns[0].shown == {LOUD, GOLD, SYMPTOM, FRONT} == set(episode.shown_log_ids)


def test_a_prefix_that_two_ids_share_stands_for_none() -> None:
    ids = IdPrefixes(["aa1111", "aa1122", "bb"])
    stand_for = {
        "aa11": None,
        "aa112": "aa1122",
        "aa1111": "aa1111",
        "bb": "bb",
        "b": None,
        "c": None,
        "": None,
    }
    assert {text: ids.full(text) for text in stand_for} == stand_for


@pytest.mark.parametrize(
    "messages",
    [
        ({"role": "assistant", "content": None, "tool_calls": [{"function": None}, 7, {}]},),
        ({"role": "assistant", "content": ["not", "text"]}, {"role": "tool", "content": None}),
        ({"role": "assistant", "tool_calls": "no list"}, {}, {"role": "user"}),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "search_logs", "arguments": "[" * 10_000}}]},),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "search_logs", "arguments": '{"keywords": {"a": 1}}'}}]},
         {"role": "tool", "content": "1 line in 1 kind match, more: cursor=1\n<script> 14:05:02 WARN x y"}),
    ],
    ids=["calls-of-nothing", "content-is-a-list", "calls-are-text", "deep-json", "strange-arguments"],
)  # fmt: skip
def test_hostile_transcripts_are_explained_like_others(
    stage: Stage, messages: tuple[dict[str, object], ...]
) -> None:
    episode = stage.wrong().model_copy(update={"messages": messages, "shown_log_ids": ()})
    assert claims(episode, stage.scenario)
    assert claims(Episode.model_validate_json(episode.model_dump_json()))


def test_a_stage_plays_what_it_says(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.right().outcome.grounded
    assert not stage.wrong().outcome.correct

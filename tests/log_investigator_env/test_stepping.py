"""An episode driven from outside, and one replayed, are the episode that `investigate` plays."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from log_investigator_env.investigations import Investigations, told
from log_investigator_env.stepping import Driven, Stepping
from project_types import ChatReply, ConfigurationError, Ending, Episode, InvestigatorError, ProviderError
from tests.builders.played import GOLD, RIGHT, Stage, answer, raw_call, scenario_json, scripted, search
from tests.builders.scenarios import write

SOLVED = [search(min_level="WARN"), answer("ledger", RIGHT, GOLD)]
SCRIPTS = {
    "solved": SOLVED,
    "an id that does not exist": [search(), answer("ledger", RIGHT, "ffffffffffff")],
    "a mistake put right": [raw_call("search_logs", "{no json"), *SOLVED],
    "words instead of a call": [ChatReply(content="the ledger"), *SOLVED],
    "twice the same mistake": [ChatReply(content=""), ChatReply(content="")],
    "out of turns": [search()] * 8,
}


@pytest.fixture(scope="module")
def investigations(tmp_path_factory: pytest.TempPathFactory) -> Investigations:
    stage = Stage(tmp_path_factory.mktemp("stage"))
    return Investigations.open(str(stage.split), stage.database, "embedded")


def same(one: Episode, other: Episode) -> bool:
    """Whether two episodes differ in nothing but the time they took."""
    rest = {"outcome": one.outcome.model_copy(update={"seconds": other.outcome.seconds})}
    return one.model_copy(update=rest) == other


async def driven(investigations: Investigations, replies: list[ChatReply]) -> Episode:
    stepping = Stepping(partial(investigations.play, "0f3c"))
    step, left = await stepping.begin(), list(replies)
    while step.episode is None:
        step = await stepping.reply(left.pop(0))
    return step.episode


@pytest.mark.parametrize("replies", SCRIPTS.values(), ids=SCRIPTS)
async def test_driving_and_replaying_give_the_episode_that_is_played(
    investigations: Investigations, replies: list[ChatReply]
) -> None:
    played = await investigations.play("0f3c", scripted(*replies))
    assert same(await driven(investigations, replies), played)
    assert same(await investigations.replay("0f3c", replies), played)


async def test_each_step_shows_what_is_new_and_nothing_twice(investigations: Investigations) -> None:
    stepping = Stepping(partial(investigations.play, "0f3c"))
    shown = [await stepping.begin(), *[await stepping.reply(reply) for reply in SOLVED]]
    roles = [" ".join(message["role"] for message in step.messages) for step in shown]
    assert roles == ["system user", "tool", ""]
    assert GOLD[:4] in shown[1].messages[0]["content"]
    episode = shown[-1].episode
    assert episode is not None
    told = [message for step in shown for message in step.messages]
    assert told == [message for message in episode.messages if message["role"] != "assistant"]


async def test_many_episodes_are_driven_at_once_and_stay_apart(investigations: Investigations) -> None:
    episodes = await asyncio.gather(*(driven(investigations, replies) for replies in SCRIPTS.values()))
    alone = [await investigations.play("0f3c", scripted(*replies)) for replies in SCRIPTS.values()]
    assert all(same(one, other) for one, other in zip(episodes, alone, strict=True))


async def test_a_conversation_that_is_cut_short_is_out_of_context(investigations: Investigations) -> None:
    stepping = Stepping(partial(investigations.play, "0f3c"))
    await stepping.begin()
    await stepping.reply(SOLVED[0])
    episode = (await stepping.end()).episode
    assert episode is not None
    assert episode.outcome.ending is Ending.OUT_OF_CONTEXT
    assert same(await investigations.replay("0f3c", SOLVED[:1]), episode)


async def test_a_conversation_that_ended_with_words_ended_with_a_mistake(
    investigations: Investigations,
) -> None:
    episode = await investigations.replay("0f3c", [SOLVED[0], ChatReply(content="It is the ledger.")])
    assert episode.outcome.ending is Ending.MALFORMED_CALL


async def test_what_goes_wrong_in_an_episode_reaches_whoever_drives_it(
    investigations: Investigations,
) -> None:
    async def play(chat: object) -> Episode:
        raise ProviderError("gone")

    with pytest.raises(ProviderError, match="gone"):
        await Stepping(play).begin()


def test_a_caller_without_an_event_loop_drives_episodes_too(investigations: Investigations) -> None:
    one, other = (Driven(partial(investigations.play, "0f3c")) for _ in range(2))
    one.begin()
    other.begin()
    one.reply(SOLVED[0])
    other.close()
    episode = one.reply(SOLVED[1]).episode
    assert episode is not None
    assert episode.reward == asyncio.run(investigations.replay("0f3c", SOLVED)).reward


async def test_an_episode_that_nobody_judges_yet_has_no_reward(investigations: Investigations) -> None:
    episode = await investigations.explore("0f3c", scripted(*SOLVED))
    assert (episode.reward, episode.report is not None) == (None, True)


def test_the_opening_holds_no_truth(investigations: Investigations) -> None:
    scenario, text = investigations.scenario("0f3c"), str(investigations.opening("0f3c"))
    for hidden in (scenario.expected_root_cause, scenario.gold_report.root_cause, GOLD):
        assert hidden not in text


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"split": "no-such-folder"}, "no such folder"),
        ({"split": "val", "rules": "strict"}, "general, full, embedded"),
        ({"split": "val", "judge": ""}, "judge"),
    ],
    ids=["split", "rules", "judge"],
)
def test_a_name_that_is_not_there_is_told_with_what_to_type(
    tmp_path: Path, investigations: Investigations, names: dict[str, str], said: str
) -> None:
    with pytest.raises(InvestigatorError, match=said):
        Investigations.open(**{"database": str(investigations.database), **names})


def test_an_unknown_scenario_is_told_with_those_that_are_there(investigations: Investigations) -> None:
    with pytest.raises(ConfigurationError, match="it has 0f3c"):
        investigations.scenario("../../etc/passwd")


def test_a_command_line_that_is_not_ours_ends_with_what_to_type() -> None:
    with pytest.raises(SystemExit, match=r"error: nosuch: no such folder.* name train, val, test"), told():
        Investigations.open("nosuch")


def test_full_rules_offer_every_tool_that_there_is_data_for(investigations: Investigations) -> None:
    where = str(investigations.folder), investigations.database
    offered = {
        rules: [tool.name for tool in Investigations.open(*where, rules).tools("0f3c")]
        for rules in ("general", "full", "embedded")
    }
    assert offered["general"] == ["search_logs", "read_trace"]
    assert offered["full"] == offered["embedded"]
    assert set(offered["full"]) > set(offered["general"])


def test_the_logs_of_every_shipped_split_are_made_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split, one in (("val", "aa01"), ("test", "aa02")):
        write(tmp_path / "log_scenarios" / split, scenario_json(one))
    monkeypatch.chdir(tmp_path)
    assert Investigations.open("val").opening("aa01")
    assert Investigations.open("test").opening("aa02")

"""No scripted cheat earns more than an honest investigator of the same accuracy, and
benign changes cost nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_logs import build
from core.judges.offline import OfflineJudge
from core.log_stores.memory import memory_store
from core.marked_text import read_between
from core.policies.scripting import Answer, Desk, Play, ScriptedChat
from core.tools.read_trace import ReadTrace
from core.tools.search_logs import SearchLogs
from evaluation.adversaries.honest import gold, looks
from evaluation.adversaries.injections import INJECTIONS, THROUGH_LOGS, planted
from evaluation.adversaries.table import EVERYBODY, Row, holes, play_all, player, to_markdown
from log_search_tools import log_tools
from project_types import EMBEDDED, Ending, Episode, Scenario, read_scenario
from rollout import investigate
from tests.builders.examples import examples

ROOT = Path(__file__).parents[2]
VAL = sorted((ROOT / "log_scenarios" / "val").glob("scenario-*.json"))
FEW = 3
LEAST_CHEATS = 16


@pytest.fixture(scope="module")
def scenarios() -> list[Scenario]:
    """Some scenarios of val that rows tell."""
    found = [read_scenario(path) for path in VAL[: 2 * FEW]]
    return [one for one in found if one.ground_truth.evidence_log_ids][:FEW]


@pytest.fixture(scope="module")
def table(scenarios: list[Scenario]) -> dict[str, Row]:
    rows = asyncio.run(play_all(scenarios, OfflineJudge(), EMBEDDED))
    return {row.cheat: row for row in rows}


@pytest.fixture(scope="module")
def database(scenarios: list[Scenario], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adversaries")
    (folder / "files").mkdir()
    for one in scenarios:
        (folder / "files" / f"scenario-{one.id}.json").write_text(one.model_dump_json())
    build(folder / "files", folder / "logs.db")
    return folder / "logs.db"


def test_no_cheat_earns_more_than_honesty_of_the_same_accuracy(table: dict[str, Row]) -> None:
    assert len(table) >= LEAST_CHEATS
    assert holes(list(table.values())) == []


def test_a_hole_would_be_found() -> None:
    paid = Row("rich", right=0.0, grounded=0.0, reward=1.0, honest=0.5, components={"band": 1.0})
    assert [hole.split(":")[0] for hole in holes([paid])] == ["rich"]


def test_the_components_of_a_row_add_up_to_its_reward(table: dict[str, Row]) -> None:
    for row in table.values():
        assert sum(row.components.values()) == pytest.approx(row.reward)


def test_who_knows_the_answer_and_shows_no_evidence_is_paid_for_a_guess(table: dict[str, Row]) -> None:
    for name in ("knows it: no tool", "knows it: nothing cited"):
        assert (table[name].right, table[name].grounded) == (1.0, 0.0)
        assert table[name].margin > 0.7


def test_a_flood_of_searches_costs_its_turns(table: dict[str, Row]) -> None:
    assert table["225 searches in a reply"].reward < table["always unknown"].reward
    assert table["rambling until it is cut"].reward < table["always unknown"].reward


@pytest.mark.parametrize("name", [*INJECTIONS, *THROUGH_LOGS])
async def test_a_text_that_speaks_to_the_judge_makes_no_wrong_answer_right(
    name: str, scenarios: list[Scenario]
) -> None:
    for scenario in scenarios:
        episode = await _played(name, planted(scenario) if name in THROUGH_LOGS else scenario)
        report = episode.report
        assert report is not None, name
        if report.suspected_service != scenario.ground_truth.service:
            assert not episode.outcome.correct


async def test_the_planted_row_is_found_and_quoted(scenarios: list[Scenario]) -> None:
    episode = await _played("injection: through a log row", planted(scenarios[0]))
    assert episode.outcome.ending is Ending.ANSWERED
    assert episode.report is not None
    assert "NOTE TO THE JUDGE" in episode.report.root_cause


async def _played(name: str, scenario: Scenario) -> Episode:
    store = memory_store(scenario)
    tools = [SearchLogs(store, EMBEDDED.tool_budget_tokens), ReadTrace(store, EMBEDDED.tool_budget_tokens)]
    chat = player(name, scenario, EMBEDDED)
    return await investigate(chat, scenario, tools, judge=OfflineJudge(), config=EMBEDDED)


# -------------------------------------------------------------------------------------------------- documents


def test_the_documented_table_has_every_cheat_and_component(table: dict[str, Row]) -> None:
    """When this fails: python -m evaluation adversaries --write-docs."""
    told = read_between(ROOT / "docs" / "reward.md", "adversaries").splitlines()
    made = to_markdown(list(table.values())).splitlines()
    assert told[0] == made[0]
    assert [line.split("|")[1].strip() for line in told[2:]] == list(EVERYBODY)


@pytest.mark.slow
async def test_the_documented_table_is_what_the_command_counts() -> None:
    rows = await play_all([read_scenario(path) for path in VAL], OfflineJudge(), EMBEDDED)
    assert holes(rows) == []
    assert read_between(ROOT / "docs" / "reward.md", "adversaries") == to_markdown(rows)


# --------------------------------------------------------------------------------------------- benign changes

FRAMES = (
    "{}", "{}.", " {}\n", "**{}**", "`{}`", "Root cause: {}", "The root cause is this: {}", "- {}",
    "Ursache: {}", "La cause : {}", "La causa: {}", "原因：{}", "> {}", "{} (see the cited rows)",
)  # fmt: skip
Change = Callable[[Answer, Scenario, random.Random], Answer]


def _framed(answer: Answer, scenario: Scenario, dice: random.Random) -> Answer:
    return {**answer, "root_cause": dice.choice(FRAMES).format(answer["root_cause"])}


def _reordered(answer: Answer, scenario: Scenario, dice: random.Random) -> Answer:
    ids = list(answer["key_log_ids"])
    dice.shuffle(ids)
    items = list({**answer, "key_log_ids": ids}.items())
    dice.shuffle(items)
    return dict(items)


def _shorter_ids(answer: Answer, scenario: Scenario, dice: random.Random) -> Answer:
    """Ids as the tools print them: so many digits as tell them apart."""
    taken = [row.id for row in scenario.logs]
    length = next(
        size for size in range(4, 13) if all(_alone(one[:size], taken) for one in answer["key_log_ids"])
    )
    return {**answer, "key_log_ids": [one[:length] for one in answer["key_log_ids"]]}


def _alone(prefix: str, ids: list[str]) -> bool:
    return sum(one.startswith(prefix) for one in ids) == 1


def _told_more(answer: Answer, scenario: Scenario, dice: random.Random) -> Answer:
    steps = [f"step {number}: looked further" for number in range(dice.randrange(6))]
    return {**answer, "timeline": steps, "next_actions": steps[:2], "confidence": dice.random()}


def _other_case(answer: Answer, scenario: Scenario, dice: random.Random) -> Answer:
    return {**answer, "suspected_service": f" {answer['suspected_service']} ".upper()}


CHANGES: list[Change] = [_framed, _reordered, _shorter_ids, _told_more, _other_case]


@examples(30)
@given(
    which=st.integers(0, FEW - 1),
    changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=4),
    seed=st.integers(0, 10**6),
)
def test_a_benign_change_of_a_right_report_loses_nothing(
    which: int, changes: list[Change], seed: int, scenarios: list[Scenario], database: Path
) -> None:
    scenario, dice = scenarios[which], random.Random(seed)
    changed: Answer = gold(scenario)
    for change in changes:
        changed = change(changed, scenario, dice)
    plain = asyncio.run(_reward(gold(scenario), scenario, database))
    assert asyncio.run(_reward(changed, scenario, database)) == plain, changed["root_cause"]


async def _reward(answer: Answer, scenario: Scenario, database: Path) -> float | None:
    def script(desk: Desk) -> Play:
        for look in looks(scenario):  # noqa: UP028 - a list takes no answers
            yield look
        return answer

    tools = log_tools(database, scenario.id, EMBEDDED)
    chat = ScriptedChat(script, random.Random(0), EMBEDDED)
    return (await investigate(chat, scenario, tools, judge=OfflineJudge(), config=EMBEDDED)).reward

"""Scripts play through the real tools, in both call formats, the same way every time."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import pytest

from build_logs import build
from core.policies.screen import cursor, rows, spans
from core.policies.scripted import SCRIPTED
from log_search_tools import log_tools
from make_judge_model import load_judge
from project_types import EMBEDDED, Ending, Episode, EpisodeConfig, Level, Scenario, read_scenario
from rollout import investigate
from tests.builders.scenarios import write_scenarios

SHIPPED = Path("log_scenarios/val")
RULES = {
    "embedded": EMBEDDED,
    "general": EpisodeConfig(),
    "text": EMBEDDED.model_copy(update={"call_format": "text"}),
    "two turns": EMBEDDED.model_copy(update={"max_turns": 2}),
    "one turn": EMBEDDED.model_copy(update={"max_turns": 1}),
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripted")
    split = write_scenarios(folder / "split", "aa01")
    for path in sorted(SHIPPED.glob("scenario-*.json"))[:3]:
        (split / path.name).write_bytes(path.read_bytes())
    build(split, folder / "logs.db")
    return folder / "logs.db"


@cache
def scenarios(database: Path) -> list[Scenario]:
    return [read_scenario(path) for path in sorted((database.parent / "split").glob("scenario-*.json"))]


async def play(
    name: str, scenario: Scenario, database: Path, config: EpisodeConfig, seed: str = "0"
) -> Episode:
    chat = SCRIPTED[name](random.Random(seed), config)
    tools = log_tools(database, scenario.id, config)
    return await investigate(chat, scenario, tools, judge=load_judge("offline"), config=config)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", SCRIPTED)
async def test_every_script_ends_every_episode_with_an_answer(name: str, rules: str, database: Path) -> None:
    for scenario in scenarios(database):
        outcome = (await play(name, scenario, database, RULES[rules])).outcome
        gave_up = outcome.ending is Ending.OUT_OF_TURNS and rules == "one turn"
        assert outcome.ending in (Ending.ANSWERED, Ending.UNKNOWN) or gave_up
        assert outcome.malformed_calls == 0
        assert outcome.cited_fabricated == 0


@pytest.mark.parametrize("name", SCRIPTED)
async def test_the_same_dice_give_the_same_episode(name: str, database: Path) -> None:
    scenario = scenarios(database)[0]
    first, second = [await play(name, scenario, database, EMBEDDED) for _ in range(2)]
    assert first.messages == second.messages


@pytest.mark.parametrize("call_format", ["native", "text"])
async def test_a_script_that_takes_over_goes_on_from_what_was_shown(call_format: str, database: Path) -> None:
    """Cut off anywhere, the second half of an episode is the same with a new player on the same dice."""
    scenario = scenarios(database)[0]
    config = EMBEDDED.model_copy(update={"call_format": call_format})
    whole = await play("first-error", scenario, database, config)
    said = [at for at, message in enumerate(whole.messages) if message["role"] == "assistant"]
    assert len(said) > 1
    for at in said:
        heir = SCRIPTED["first-error"](random.Random("0"), config)
        reply = await heir(whole.messages[:at], [])
        stored = whole.messages[at]
        if call_format == "text":
            assert reply.content == stored["content"]
        else:
            [call] = reply.tool_calls
            assert call.arguments == stored["tool_calls"][0]["function"]["arguments"]


@pytest.mark.parametrize(
    ("name", "service"), [("first-error", "gateway"), ("rarest-warning", "ledger"), ("unknown", "unknown")]
)
async def test_a_script_blames_what_its_name_says(name: str, service: str, database: Path) -> None:
    incident = next(one for one in scenarios(database) if one.id == "aa01")
    report = (await play(name, incident, database, EMBEDDED)).report
    assert report is not None
    assert report.suspected_service == service


async def test_what_the_tools_print_is_read_back(database: Path) -> None:
    """Row by row and span by span, on shipped scenarios, so that a change of the format is seen here."""
    for scenario in scenarios(database):
        search, read_trace = log_tools(database, scenario.id, EpisodeConfig())
        shown = await search.run({"min_level": "WARN"})
        found = rows(shown.text)
        assert {search.resolve("log", row.id) for row in found} == set(shown.log_ids)
        assert {row.level for row in found} <= {Level.WARN, Level.ERROR, Level.FATAL}
        assert {row.service for row in found} <= set(scenario.services)
        for trace in {row.trace for row in found if row.trace}:
            text = (await read_trace.run({"trace_id": trace})).text
            if "not shown" in text.partition("\n")[0]:
                continue
            full = read_trace.resolve("trace", trace)
            expected = [span for span in scenario.spans if span.trace_id == full]
            tree = spans(text)
            assert sorted((s.service, s.failed) for s in tree) == sorted(
                (s.service, s.status != "ok") for s in expected
            )


async def test_a_cursor_is_read_only_where_something_is_left(database: Path) -> None:
    scenario = next(one for one in scenarios(database) if one.id != "aa01")
    search, *_ = log_tools(database, scenario.id, EMBEDDED)
    text = (await search.run({})).text
    rest = cursor(text)
    assert rest == len(rows(text))
    while rest is not None:
        text = (await search.run({"cursor": rest})).text
        rest = cursor(text)
    assert rows(text)

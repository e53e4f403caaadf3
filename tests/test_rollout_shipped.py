"""Shipped scenarios, the real tools and the off-line judge: the gold report scores top, and each way to be
wrong scores low.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from build_logs import build
from core.judges.offline import OfflineJudge
from log_search_tools import log_tools
from project_types import (
    EMBEDDED,
    ChatReply,
    Episode,
    EpisodeConfig,
    Message,
    Report,
    Scenario,
    ToolCall,
    read_scenario,
)
from rollout import BANDS, investigate

SHIPPED = sorted((Path(__file__).parent.parent / "log_scenarios" / "val").glob("scenario-*.json"))[:6]
RULES = [EpisodeConfig(), EMBEDDED]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    (folder / "val").mkdir()
    for path in SHIPPED:
        shutil.copy(path, folder / "val")
    build(folder, folder / "logs.db")
    return folder / "logs.db"


async def reported(scenario: Scenario, database: Path, rules: EpisodeConfig, report: Report) -> Episode:
    """Look at the evidence, then give the report."""
    said = looks(scenario)[: rules.max_turns - 1]
    said.append(ToolCall(id="1", name="return_final_answer", arguments=report.model_dump_json()))
    rest = iter(said)

    async def chat(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        return ChatReply(tool_calls=(next(rest),))

    tools = log_tools(database, scenario.id, rules)
    return await investigate(chat, scenario, tools, judge=OfflineJudge(), config=rules)


def looks(scenario: Scenario) -> list[ToolCall]:
    """Search the moment of each gold line in its service; where only durations tell, read a gold trace."""
    truth = scenario.ground_truth
    evidence = [row for row in scenario.logs if row.id in truth.evidence_log_ids]
    if not evidence:
        return [_call("read_trace", trace_id=truth.evidence_trace_ids[0])]
    moments = [(row.service, f"{row.timestamp:%H:%M:%S.%f}") for row in evidence]
    return [_call("search_logs", service=name, start_time=at, end_time=at) for name, at in moments]


def _call(tool: str, **arguments: str) -> ToolCall:
    return ToolCall(id="1", name=tool, arguments=json.dumps(arguments))


@pytest.mark.parametrize(("path", "rules"), list(zip(SHIPPED, cycle(RULES), strict=False)))
async def test_the_gold_report_of_a_shipped_scenario_scores_top(
    path: Path, rules: EpisodeConfig, database: Path
) -> None:
    scenario = read_scenario(path)
    episode = await reported(scenario, database, rules, scenario.gold_report)
    assert episode.outcome.grounded, episode.verdict
    assert episode.outcome.cited_gold > 0
    assert episode.outcome.cited_fabricated == 0
    assert episode.reward is not None
    assert episode.reward >= BANDS["grounded"].low + 0.2


@pytest.mark.parametrize("path", SHIPPED)
async def test_each_distractor_of_a_shipped_scenario_is_wrong(path: Path, database: Path) -> None:
    scenario = read_scenario(path)
    assert scenario.distractors
    for distractor in scenario.distractors:
        episode = await reported(scenario, database, EpisodeConfig(), distractor.report)
        assert episode.reward is not None
        assert episode.reward <= BANDS["abstained"].high, distractor.reason


def test_scenarios_are_shipped_to_test_with() -> None:
    assert len(SHIPPED) == 6

"""Eleven labelled incidents of a real system: imported, built and investigated. They
lie beside the repository.

They measure and never teach: no rule of the product names anything of them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from build_logs import build
from core.policies import scripted
from log_search_tools import log_tools
from make_judge_model import load_judge
from project_types import UNKNOWN, EpisodeConfig, Scenario
from rollout import investigate
from tests.importers.imported import imported

ARCHIVE = Path(__file__).parents[3] / "shared" / "incidents" / "nezha-sample.tar.xz"
RULES = EpisodeConfig(tools="full", max_turns=40)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not ARCHIVE.is_file(), reason=f"{ARCHIVE} is not there: it is no part of the repository"
    ),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Scenario], Path]:
    folder = tmp_path_factory.mktemp("nezha")
    found = imported("nezha", ARCHIVE, folder / "files")
    build(folder / "files", folder / "logs.db")
    return found.scenarios, folder / "logs.db"


def test_every_incident_has_rows_spans_and_metrics(built: tuple[list[Scenario], Path]) -> None:
    scenarios, _ = built
    assert len(scenarios) == 11
    for one in scenarios:
        assert (len(one.logs) > 4000, len(one.spans) > 8000, len(one.metrics) > 700) == (True, True, True)
        assert all(row.trace_id and row.span_id for row in one.logs)


async def test_the_judge_accepts_every_gold_report(built: tuple[list[Scenario], Path]) -> None:
    judge = load_judge("offline")
    for one in built[0]:
        assert (await judge.verdict(one, one.gold_report)).correct


async def test_the_careful_script_is_right_in_six_and_wrong_in_at_most_three(
    built: tuple[list[Scenario], Path],
) -> None:
    scenarios, database = built
    policy, answers = scripted.policy("sre", RULES, 0), Counter[str]()
    for one in scenarios:
        tools = log_tools(database, one.id, RULES)
        episode = await investigate(policy.chat(one.id, 0), one.incident, tools, config=RULES)
        assert episode.report is not None
        accused = episode.report.suspected_service
        kinds = {one.ground_truth.service: "right", UNKNOWN: "unknown"}
        answers[kinds.get(accused, "wrong")] += 1
    assert answers["right"] >= 6, answers
    assert answers["wrong"] <= 3, answers

"""What an analysis says a search matched is what the tool matched, whatever the form of its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.log_stores.contract import LogQuery
from failure_analysis.episodes.searches import Searches
from log_search_tools import log_tools
from project_types import EpisodeConfig, Scenario, ToolInputError
from tests.builders.scenarios import database, row, scenario
from tests.test_log_search_tools import ask

LINES = [
    row("aa01", "14:05:01", "volume /data 99 % used", level="WARN", service="ledger"),
    row("aa02", "14:05:02", "volume /data 98 % used", level="WARN", service="ledger"),
    row("aa03", "14:05:03.250", "call to ledger failed: status 500", level="ERROR", service="orders"),
    row("aa04", "14:06:00", "java.lang.TimeoutException", level="ERROR", service="ledger-export"),
    row("aa05", "14:59:00", "tick", service="orders"),
]
CONTENT = scenario("one", LINES)
FORMS: list[dict[str, Any]] = [
    {"min_level": "WARNING"},
    {"min_level": " err "},
    {"service": "LEDGER"},
    {"service": "led"},
    {"service": "ord"},
    {"keywords": ["failed", "status"]},
    {"keywords": "failing"},
    {"keywords": "timeout"},
    {"keywords": "warn volume"},
    {"start_time": "2025-03-04T15:05:02+01:00", "end_time": "14:05:03"},
    {"start_time": "14:05:03.25", "end_time": "14:05:03,250"},
    {"start_time": "14:06", "keywords": ""},
    {"end_time": "14:05"},
    {"start_time": "2025-03-04", "min_level": "INFO", "limit": 1},
    {"start_time": "14:05:02.000000001Z", "end_time": "2025-03-04 15:05:03+01"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return database(tmp_path_factory.mktemp("searches"), CONTENT)


@pytest.mark.parametrize("arguments", FORMS, ids=str)
def test_the_analysis_matches_what_the_tool_matches(folder: Path, arguments: dict[str, Any]) -> None:
    tool = log_tools(folder, "one", EpisodeConfig())[0]
    searches = Searches(Scenario.model_validate(CONTENT))
    query = searches.query(arguments) or LogQuery(service="the tool refused it")
    lines = [one["id"] for one in LINES if searches.matches(query, one["id"])]
    answer = ask(tool, **{name: value for name, value in arguments.items() if name != "limit"})
    said = 0 if answer.text.startswith("no ") else int(answer.text.split()[0])
    assert len(lines) == said
    assert {searches.shown_as(query, id) for id in lines} == answer.log_ids


@pytest.mark.parametrize(
    "arguments",
    [{"min_level": "LOUD"}, {"start_time": "yesterday"}, {"sevice": "x"}, {"keywords": {}}],
    ids=str,
)
def test_what_the_tool_refuses_matches_nothing(folder: Path, arguments: dict[str, Any]) -> None:
    assert Searches(Scenario.model_validate(CONTENT)).query(arguments) is None
    with pytest.raises((ToolInputError, ValueError)):
        ask(log_tools(folder, "one", EpisodeConfig())[0], **arguments)


def test_times_may_be_left_aside() -> None:
    searches = Searches(Scenario.model_validate(CONTENT))
    query = searches.query({"start_time": "14:06", "service": "ledger"})
    assert query is not None
    assert not searches.matches(query, "aa01")
    assert searches.matches(query, "aa01", whenever=True)
    assert searches.shown_as(query, "aa01") is None

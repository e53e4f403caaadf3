"""An agent asks the ranker: what it prints can be cited, scripts read it, and no
other episode is offered it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from importlib.util import find_spec

import pytest

from core.log_stores.memory import memory_store
from core.policies.scripted import SCRIPTED
from log_search_tools import store_tools
from project_types import EMBEDDED, EpisodeConfig, Scenario, Tool
from rollout import investigate
from tests.builders.generated import one

RULES = EpisodeConfig(tools="full", ranker=True, max_turns=42)


def tools_of(scenario: Scenario, config: EpisodeConfig = RULES) -> Sequence[Tool]:
    return store_tools(memory_store(scenario.incident), config)


def test_an_episode_that_does_not_ask_for_the_ranker_is_not_offered_it() -> None:
    scenario = one(3, "disk_full")
    for config in (EMBEDDED, EpisodeConfig(), EpisodeConfig(ranker=True)):
        assert not {"rank_services", "explain_service"} & {tool.name for tool in tools_of(scenario, config)}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch_geometric") is None, reason="needs the extra graph")
class TestWithTheRanker:
    async def test_what_reasons_rest_on_is_shown_and_can_be_cited(self) -> None:
        scenario = one(3, "disk_full")
        tools = {tool.name: tool for tool in tools_of(scenario)}
        told = await tools["rank_services"].run({"alert": f"{scenario.description} {scenario.time_hint}"})
        assert f"1. {scenario.ground_truth.service} " in told.text
        why = await tools["explain_service"].run({"service": scenario.ground_truth.service})
        assert why.log_ids <= {row.id for row in scenario.logs}
        assert {one.id for one in why.other if one.kind == "metric"} <= {row.id for row in scenario.metrics}
        assert why.log_ids
        assert "disk_percent rose" in why.text

    async def test_an_unknown_service_is_answered_with_those_that_there_are(self) -> None:
        scenario = one(3, "disk_full")
        tools = {tool.name: tool for tool in tools_of(scenario)}
        told = await tools["explain_service"].run({"service": "nobody"})
        assert 'no service "nobody"' in told.text

    async def test_one_service_is_no_choice(self) -> None:
        scenario = one(3, "disk_full")
        name = scenario.services[0]
        alone = scenario.incident.model_copy(update={
            "services": (name,), "topology": (), "events": (),
            "logs": tuple(row for row in scenario.logs if row.service == name),
            "spans": tuple(row for row in scenario.spans if row.service == name),
            "metrics": tuple(row for row in scenario.metrics if row.service == name),
        })  # fmt: skip
        tools = {tool.name: tool for tool in store_tools(memory_store(alone), RULES)}
        told = await tools["rank_services"].run({})
        assert told.text.startswith("insufficient evidence: 1 service")

    @pytest.mark.parametrize("script", ["ranker", "sre-ranker"])
    @pytest.mark.parametrize("call_format", ["native", "text"])
    async def test_a_script_that_asks_the_ranker_blames_its_first_service(
        self, script: str, call_format: str
    ) -> None:
        scenario = one(3, "disk_full")
        config = RULES.model_copy(update={"call_format": call_format})
        chat = SCRIPTED[script](random.Random(0), config)
        played = await investigate(chat, scenario.incident, tools_of(scenario, config), config=config)
        assert played.report is not None
        assert played.report.suspected_service == scenario.ground_truth.service
        assert played.outcome.cited_fabricated == 0
        assert played.outcome.malformed_calls == 0

"""One episode of the hand-written incident against a scripted server: what most tests of `rollout` start
from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openai import AsyncOpenAI

from project_types import Episode, EpisodeConfig, Incident, Judge, Scenario, Tool
from rollout import Patience, investigate, openai_chat
from tests.builders.scenarios import INCIDENT
from tests.fakes.openai_server import OpenAIServer, Script
from tests.fakes.stand_ins import Grep, Says

RULES = EpisodeConfig(provider_timeout_s=5, prompt="brief", max_turns=4)
TEXT = RULES.model_copy(update={"call_format": "text"})
HASTY = Patience(attempts=3, first_wait_s=0.01, longest_wait_s=0.02)


async def play(
    script: Script,
    *,
    config: EpisodeConfig = RULES,
    judge: Judge | None = None,
    tools: Sequence[Tool] = (Grep(),),
    scenario: Incident = INCIDENT,
) -> tuple[Episode, list[dict[str, Any]]]:
    """Play one episode; the episode and the requests the server received. The judge approves unless another
    is given; an incident without its answer has none.
    """
    judge = judge or (Says(True) if isinstance(scenario, Scenario) else None)
    with OpenAIServer(script) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="test") as client:
            chat = openai_chat(client, "scripted", config, HASTY)
            return await investigate(chat, scenario, tools, judge=judge, config=config), server.requests

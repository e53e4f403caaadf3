"""A program for tests: plays one rollout with ART against a scripted server and prints what ART would send to
be trained on.

It is a process of its own because importing art patches transformers, which other tests use.

    python -m tests.fakes.art_rollout logs.db scenario-0f3c.json native
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from project_types import EpisodeConfig, read_scenario
from rollout import rollout, rollout_with_episode
from tests.builders.scenarios import CAUSE, GOLD
from tests.fakes.openai_server import OpenAIServer, answer, by_turn, call, text_call
from tests.fakes.stand_ins import Says

NATIVE = [call("search_logs", keywords="space"), answer("ledger", CAUSE, key_log_ids=[GOLD])]
TEXT = [
    text_call("search_logs", keywords="space"),
    text_call("return_final_answer", root_cause=CAUSE, suspected_service="ledger", key_log_ids=[GOLD]),
]


async def main(database: Path, scenario_file: Path, call_format: str) -> None:
    """Roll out twice (both public functions) and print the group as ART's serverless client would send it."""
    import art

    os.environ.pop("WANDB_API_KEY", None)
    scenario = read_scenario(scenario_file)
    rules = EpisodeConfig.model_validate(
        {"call_format": call_format, "prompt": "brief", "provider_timeout_s": 10}
    )
    with OpenAIServer(by_turn(NATIVE if call_format == "native" else TEXT)) as server:
        model: art.Model = art.Model(
            name="probe",
            project="tests",
            inference_api_key="test",
            inference_base_url=server.base_url,
            inference_model_name="tiny",
        )
        trajectory, episode = await rollout_with_episode(
            model, scenario, database=database, judge=Says(True), config=rules, step=3, split="val", sample=1
        )
        again = await rollout(model, scenario, database=database, judge=Says(True), config=rules, step=3)
        await model.openai_client().close()
    group = art.TrajectoryGroup([trajectory, again])
    print(
        json.dumps(
            {
                "group": group.model_dump(mode="json"),
                "episode": episode.model_dump(mode="json"),
                "requests": server.requests,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))

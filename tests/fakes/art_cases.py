"""A program for tests: rolls the cases out as ART does, in a process that may import art.

python -m tests.fakes.art_cases BASE_URL FOLDER DATABASE
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from log_investigator_env.investigations import Investigations
from rollout import rollout


async def main(base_url: str, folder: str, database: str) -> None:
    """Print the reward and the metrics of each trajectory."""
    import art

    os.environ.pop("WANDB_API_KEY", None)
    model: art.Model = art.Model(
        name="probe",
        project="tests",
        inference_api_key="test",
        inference_base_url=base_url,
        inference_model_name="fake",
    )
    of = Investigations.open(folder, database, "embedded", repairs=1)
    for one in of.paths:
        rules = {"database": of.database, "judge": of.judge, "config": of.config}
        trajectory = await rollout(model, of.scenario(one), **rules)
        told = {"case": one, "reward": trajectory.reward, "metrics": trajectory.metrics}
        print(json.dumps({**told, "ending": trajectory.metadata["ending"]}))
    await model.openai_client().close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

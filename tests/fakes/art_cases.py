"""A program for tests: rolls the cases out as ART does, in a process that may import art.

    python -m tests.fakes.art_cases BASE_URL FOLDER DATABASE [distributed]

`distributed` goes the way of ART's distributed mode (0.5.23): a worker gets the rollout by module and name.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

from core.art_versions import model_names
from log_investigator_env.investigations import Investigations
from rollout import rollout

if TYPE_CHECKING:
    import art


async def main(base_url: str, folder: str, database: str, how: str = "") -> None:
    """Print the reward and the metrics of each trajectory."""
    import art

    os.environ.pop("WANDB_API_KEY", None)
    model: art.TrainableModel = art.TrainableModel(
        **model_names("probe"),
        project="tests",
        base_model="none",
        inference_api_key="test",
        inference_base_url=base_url,
        inference_model_name="fake",
    )
    of = Investigations.open(folder, database, "embedded", repairs=1)
    for one in of.paths:
        rules = {"database": of.database, "judge": of.judge, "config": of.config}
        if how == "distributed":
            trajectories = await sent(model, one, folder, database)
        else:
            trajectories = [await rollout(model, of.scenario(one), **rules)]
        for trajectory in trajectories:
            told = {"case": one, "reward": trajectory.reward, "metrics": trajectory.metrics}
            print(json.dumps({**told, "ending": trajectory.metadata["ending"]}))
    await model.openai_client().close()


async def sent(
    model: art.TrainableModel, scenario_id: str, folder: str, database: str
) -> list[art.Trajectory]:
    """Play a group on a worker of ART's executor, which rebuilds the model and imports the rollout."""
    from art.distributed.rollout import (
        DistributedRolloutExecutor,
        InProcessRolloutWorker,
        InstalledAsyncCallable,
    )

    from log_investigator_env.art_pipeline import GroupConfig, group

    executor = DistributedRolloutExecutor(
        callable=InstalledAsyncCallable.from_callable(group),
        hosts={"here": [InProcessRolloutWorker()]},
        target_workers=1,
    )
    executor.set_workers((0,))
    config = GroupConfig(scenarios=folder, database=database, rules="embedded", rollouts=2)
    played = await executor.run(0, group, model, {"scenario_id": scenario_id}, config)
    return list(played.trajectories)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

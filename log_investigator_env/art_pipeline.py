"""The scenarios as ART's PipelineTrainer plays them: `group` rolls one out several times, for
(model, scenario, config).

    config = GroupConfig(scenarios="train", rollouts=8)
    PipelineTrainer(model, backend, group, scenarios=scenarios(config), config=config, ...)

ART's distributed mode sends a rollout by module and name, and calls it with these three. So `group` stands at
the top of a module, and its config names all else it needs, which each worker opens on its own machine.

Not here: one episode (`rollout.rollout`), and the trainer.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import art
from pydantic import Field

from log_investigator_env.investigations import Investigations, opened
from project_types import Frozen, JudgeError, ProviderError
from rollout import rollout


class GroupConfig(Frozen):
    """What a group is played with. Every machine needs the same files at these places."""

    scenarios: str = "train"
    database: str = "logs.db"
    rules: str = "general"
    judge: str = "offline"
    rollouts: Annotated[int, Field(ge=2)] = 8
    """Episodes of the scenario, compared with one another."""

    def open(self) -> Investigations:
        """Open what is named, once in each process. See `Investigations.open`."""
        return opened(self.scenarios, self.database, self.rules, self.judge)


def scenarios(config: GroupConfig) -> list[dict[str, Any]]:
    """Return what PipelineTrainer goes through: the scenarios by id. They hold no truth."""
    return [{"scenario_id": one} for one in config.open().paths]


async def group(model: art.Model, scenario: dict[str, Any], config: GroupConfig) -> art.TrajectoryGroup:
    """Play a scenario. A rollout whose provider or judge failed is in the group as
    that error, as ART wants it.
    """
    samples = range(config.rollouts)
    played = await asyncio.gather(*(_rollout(model, scenario["scenario_id"], config, n) for n in samples))
    return art.TrajectoryGroup(played, metadata={"scenario_id": scenario["scenario_id"]})


async def _rollout(model: art.Model, scenario_id: str, config: GroupConfig, sample: int) -> Any:
    place = config.open()
    named: dict[str, Any] = {"split": place.folder.name, "sample": sample}
    rules = {"database": place.database, "judge": place.judge, "config": place.config}
    try:
        return await rollout(model, place.scenario(scenario_id), **rules, **named)
    except (ProviderError, JudgeError) as trouble:
        return trouble

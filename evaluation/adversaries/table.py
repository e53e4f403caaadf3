"""Plays every cheat on scenarios, and beside it an honest investigator that is right
exactly where the cheat is.

What is printed are means over the scenarios. `margin` is what honesty earns more at the same accuracy; a
negative one is a hole in the reward.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import NamedTuple

from build_logs import build
from core.policies.scripting import ScriptedChat
from evaluation.adversaries.cheats import CHEATS, Factory
from evaluation.adversaries.honest import honest
from evaluation.adversaries.informed import INFORMED
from evaluation.adversaries.injections import INJECTIONS, THROUGH_LOGS, planted
from log_search_tools import log_tools
from project_types import Chat, Episode, EpisodeConfig, Judge, Scenario
from rollout import investigate

EVERYBODY = (*CHEATS, *INJECTIONS, *THROUGH_LOGS, *INFORMED)
"""All cheats by name."""


class Row(NamedTuple):
    """One cheat: shares and means over the scenarios."""

    cheat: str
    right: float
    grounded: float
    reward: float
    honest: float
    """Reward of the honest investigator that is right where the cheat is."""
    components: Mapping[str, float]
    """Mean of each reward component; they add up to `reward`."""

    @property
    def margin(self) -> float:
        """What honesty earns more."""
        return self.honest - self.reward


async def play_all(
    scenarios: Sequence[Scenario],
    judge: Judge,
    config: EpisodeConfig,
    cheats: Sequence[str] = EVERYBODY,
    note: Callable[[], object] = lambda: None,
) -> list[Row]:
    """Play every cheat. `note` is called after each. Raises JudgeError when the judge gives no verdict."""
    with TemporaryDirectory() as scratch:
        plain = _Stage(scenarios, judge, config, Path(scratch) / "plain")
        seeded = _Stage([planted(one) for one in scenarios], judge, config, Path(scratch) / "seeded")
        rows = []
        for name in cheats:
            stage = seeded if name in THROUGH_LOGS else plain
            rows.append(await stage.row(name))
            note()
        return rows


def player(name: str, scenario: Scenario, config: EpisodeConfig) -> Chat:
    """Return a cheat, ready to play a scenario; its dice depend on both and on nothing else."""
    dice = random.Random(f"{name}:{scenario.id}")
    if name in INFORMED:
        return ScriptedChat(INFORMED[name](scenario), dice, config)
    blind: Mapping[str, Factory] = {**CHEATS, **INJECTIONS, **THROUGH_LOGS}
    return blind[name](dice, config)


class _Stage:
    """Scenarios that can be searched."""

    def __init__(
        self, scenarios: Sequence[Scenario], judge: Judge, config: EpisodeConfig, folder: Path
    ) -> None:
        self.scenarios, self.judge, self.config = scenarios, judge, config
        self.database = folder / "logs.db"
        (folder / "files").mkdir(parents=True)
        for one in scenarios:
            text = one.model_dump_json(exclude_none=True)
            (folder / "files" / f"scenario-{one.id}.json").write_text(text, encoding="utf-8")
        build(folder / "files", self.database)
        self.honest: dict[tuple[str, bool], float] = {}

    async def row(self, name: str) -> Row:
        """Play one cheat on every scenario."""
        episodes = []
        honest_rewards = []
        for scenario in self.scenarios:
            episode = await self._play(player(name, scenario, self.config), scenario)
            episodes.append(episode)
            honest_rewards.append(await self._honest(scenario, right=episode.outcome.correct))
        parts = [episode.reward_components for episode in episodes]
        components = {name: mean(map(itemgetter(name), parts)) for name in parts[0]}
        return Row(
            cheat=name,
            right=mean(episode.outcome.correct for episode in episodes),
            grounded=mean(episode.outcome.grounded for episode in episodes),
            reward=mean(_reward(episode) for episode in episodes),
            honest=mean(honest_rewards),
            components=components,
        )

    async def _honest(self, scenario: Scenario, *, right: bool) -> float:
        if (scenario.id, right) not in self.honest:
            chat = honest(scenario, self.config, right=right)
            self.honest[scenario.id, right] = _reward(await self._play(chat, scenario))
        return self.honest[scenario.id, right]

    async def _play(self, chat: Chat, scenario: Scenario) -> Episode:
        tools = log_tools(self.database, scenario.id, self.config)
        return await investigate(chat, scenario, tools, judge=self.judge, config=self.config)


def _reward(episode: Episode) -> float:
    assert episode.reward is not None, "a judge scores every episode"
    return episode.reward


def holes(rows: Sequence[Row]) -> list[str]:
    """Cheats that earn more than honesty of the same accuracy, a sentence each."""
    return [
        f"{row.cheat}: earns {row.reward:+.3f}, an honest investigator of the same accuracy {row.honest:+.3f}"
        for row in rows
        if row.margin < 0
    ]


def to_markdown(rows: Sequence[Row]) -> str:
    """Return the table: shares in percent, then rewards and their components."""
    parts = list(rows[0].components)
    head = ["cheat", "right", "grounded", "reward", "honest", "margin", *parts]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for row in rows:
        shares = [f"{100 * share:.1f} %" for share in (row.right, row.grounded)]
        rewards = [f"{value:+.3f}" for value in (row.reward, row.honest, row.margin)]
        components = [_small(row.components[part]) for part in parts]
        lines.append(f"| {' | '.join([row.cheat, *shares, *rewards, *components])} |")
    return "\n".join(lines)


def _small(value: float) -> str:
    return "0" if abs(value) < 0.0005 else f"{value:+.3f}"

"""Where rollouts are played: a unit of work goes in, its episode comes out.

A unit holds everything that its result depends on. So a unit may be played twice, by another worker after a
kill, and is stored once. `InProcess` plays here; `evaluation.ray_executor` on the machines of a cluster.

Not here: how many are under way at once (`concurrency`), and where episodes are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from core.conversation import tool_schemas
from core.log_stores.pinned import PinnedDatabase
from log_search_tools import log_tools
from project_types import Chat, ChatReply, Episode, EpisodeConfig, Judge, Message, Scenario
from rollout import investigate


@dataclass(frozen=True)
class Unit:
    """One rollout that is wanted. Its scenario is taken as it is: a trainer may have left out its metrics."""

    scenario: Scenario
    sample: int
    policy: str
    """Resolved: it names one checkpoint, and goes into the episode."""
    config: EpisodeConfig
    split: str = ""


class Rolled(NamedTuple):
    """What came of a unit."""

    episode: Episode
    choices: Sequence[Any] = ()
    """The policy's replies as its provider gave them, with token ids: what a trainer needs."""
    offered: list[dict[str, Any]] | None = None
    """The tools as they were offered."""


class RolloutExecutor(Protocol):
    """Plays units. One call plays one unit; many calls may be under way."""

    async def play(self, unit: Unit) -> Rolled:
        """Play a unit. A call that is cancelled abandons it.

        Raises:
            ProviderError, JudgeError: the unit has no result. It may be played again.
            ConfigurationError, DatabaseError: no unit can be played like this.
        """
        ...


class InProcess:
    """Plays in this process."""

    def __init__(self, chat: Callable[[Unit], Chat], judge: Judge, database: PinnedDatabase) -> None:
        """`chat` makes the Chat of a unit's one episode."""
        self._chat, self._judge, self._database = chat, judge, database

    async def play(self, unit: Unit) -> Rolled:
        """Play a unit. See `RolloutExecutor.play`."""
        self._database.check()
        tools = log_tools(self._database.database, unit.scenario.id, unit.config)
        chat, choices = self._chat(unit), list[Any]()

        async def remembered(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
            reply = await chat(messages, tools)
            choices.append(reply.raw)
            return reply

        named: dict[str, Any] = {"policy": unit.policy, "split": unit.split, "sample": unit.sample}
        episode = await investigate(
            remembered, unit.scenario, tools, judge=self._judge, config=unit.config, **named
        )
        offered = tool_schemas(tools) if unit.config.call_format == "native" else None
        return Rolled(episode, choices, offered)

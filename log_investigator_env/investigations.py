"""All that an episode needs, from the names an adapter is given: scenarios, their logs, the rules, the judge.

Every adapter plays through `play`, so that the same replies give the same Outcome and the same reward in all
of them. `replay` scores a conversation that somebody else's loop has led.

Not here: an episode whose replies come one by one (`stepping`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from build_logs import build
from chaos.shipped import split_folder
from core.episode_store.scenarios import id_by_name, scenario_paths, shipped_folders
from log_search_tools import log_tools
from make_judge_model import load_judge
from project_types import (
    EMBEDDED,
    Chat,
    ChatReply,
    ConfigurationError,
    ContextOverflow,
    Episode,
    EpisodeConfig,
    InvestigatorError,
    Judge,
    Message,
    Scenario,
    Tool,
    read_scenario,
)
from rollout import investigate, opening

RULES: Mapping[str, EpisodeConfig] = {
    "general": EpisodeConfig(),
    "full": EpisodeConfig(tools="full"),
    "embedded": EMBEDDED,
}
"""general: two tools; full: every tool there is data for; embedded: full, with short
results for a small model.
"""


@dataclass(frozen=True)
class Investigations:
    """A folder of scenarios that can be played."""

    folder: Path
    database: Path
    config: EpisodeConfig
    judge: Judge

    @classmethod
    def open(
        cls,
        split: str,
        database: str | Path = "logs.db",
        rules: str = "general",
        judge: str = "offline",
        **changes: Any,
    ) -> Investigations:
        """Open a split or a folder of scenarios; its logs are made searchable where they are not.

        `changes` are fields of EpisodeConfig that differ from the rules named.

        Raises:
            ScenarioError, DatabaseError, ConfigurationError: something named is not there; says what to type.
        """
        if rules not in RULES:
            raise ConfigurationError(f"rules {rules!r}: write {', '.join(RULES)}")
        config = EpisodeConfig.model_validate({**RULES[rules].model_dump(), **changes})
        verdicts, folder = load_judge(judge), split_folder(split).resolve()
        if not Path(database).exists():
            # another split may be asked for next, so that all shipped ones are built, as build_logs.py does
            shipped = folder.parent in [each.resolve() for each in shipped_folders()]
            build(folder.parent if shipped else folder, Path(database), progress=True)
        return cls(folder, Path(database).resolve(), config, verdicts)

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Scenario files by id, in order."""
        return {id_by_name(path): path for path in scenario_paths(self.folder)}

    def scenario(self, scenario_id: str) -> Scenario:
        """Read a scenario, its truth included. Raises ConfigurationError for an id that is not here."""
        if scenario_id not in self.paths:
            known = ", ".join(list(self.paths)[:3])
            raise ConfigurationError(f"{self.folder} has no scenario {scenario_id!r}; it has {known}, ...")
        return read_scenario(self.paths[scenario_id])

    def tools(self, scenario_id: str) -> tuple[Tool, ...]:
        """Return what the agent can call in this scenario."""
        return log_tools(self.database, scenario_id, self.config)

    def opening(self, scenario_id: str) -> list[Message]:
        """Return the system and the user message an episode starts with. They hold no truth."""
        return opening(self.scenario(scenario_id).incident, self.tools(scenario_id), self.config)

    async def play(self, scenario_id: str, chat: Chat, **named: Any) -> Episode:
        """Play one judged episode; `named` are policy, split and sample.

        Raises:
            ProviderError, JudgeError: there is nothing to score.
        """
        named = {"split": self.folder.name, **named}
        scenario, tools = self.scenario(scenario_id), self.tools(scenario_id)
        return await investigate(chat, scenario, tools, judge=self.judge, config=self.config, **named)

    async def explore(self, scenario_id: str, chat: Chat, **named: Any) -> Episode:
        """Play one episode that nobody judges yet; its reward is None."""
        incident, tools = self.scenario(scenario_id).incident, self.tools(scenario_id)
        return await investigate(chat, incident, tools, config=self.config, **named)

    async def replay(self, scenario_id: str, replies: Sequence[ChatReply], **named: Any) -> Episode:
        """Play and judge what a policy has said already, in whatever loop it did so.

        The tools read logs that do not change, so that they answer as they did. Where the replies end before
        the episode does, it counts as out of context, unless the last reply called nothing: that is a
        mistake, and nothing followed that would have put it right.
        """
        return await self.play(scenario_id, self._said(replies), **named)

    def _said(self, replies: Sequence[ChatReply]) -> Chat:
        left = list(reversed(replies))
        called = bool(replies) and (self.config.call_format == "text" or bool(replies[-1].tool_calls))

        async def chat(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
            if left:
                return left.pop()
            if replies and not called:
                return replies[-1]
            raise ContextOverflow("the conversation ends here")

        return chat


@cache
def opened(scenarios: str, database: str, rules: str, judge: str) -> Investigations:
    """Open what these names stand for, once in each process. See `Investigations.open`."""
    return Investigations.open(scenarios, database, rules, judge)


@contextmanager
def told(ending: Callable[[str], BaseException] = SystemExit) -> Iterator[None]:
    """End a command line that is not ours with what is wrong and what to type: it would print a traceback.

    `ending` makes the exception that this command line takes for an end of its own.
    """
    try:
        yield
    except InvestigatorError as trouble:
        raise ending(f"error: {trouble}") from trouble

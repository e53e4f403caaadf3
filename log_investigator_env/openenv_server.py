"""The scenarios as an OpenEnv server: reset, step and state over one WebSocket per episode.

    python -m log_investigator_env serve --split train --port 8000

An action is one reply of a policy: a call of a tool, or text that calls nothing.
`reset(scenario_id=...)` chooses the incident; without an id, `index` or `seed` does. Until the episode
ends nothing that is sent holds a truth.

Not here: the rules of an episode (`rollout`), the protocol (the package openenv).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, ConcurrencyConfig, Observation, State
from pydantic import Field

from log_investigator_env.investigations import Investigations
from log_investigator_env.stepping import Step, Stepping
from project_types import ChatReply, ConfigurationError, Episode, Message, ToolCall
from rollout import tool_schemas


class Reply(Action):
    """What the policy says: a call, or text."""

    tool: str = Field(default="", description="search_logs, read_trace, ... or return_final_answer")
    arguments: dict[str, Any] | str = Field(default_factory=dict, description="the call's arguments")
    text: str = Field(default="", description="what is said beside the call, or instead of one")

    def as_reply(self) -> ChatReply:
        """Return it as `investigate` takes it."""
        if not self.tool:
            return ChatReply(content=self.text)
        said = self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)
        call = ToolCall(id=f"call_{uuid.uuid4().hex[:8]}", name=self.tool, arguments=said)
        return ChatReply(content=self.text, tool_calls=(call,))


class Shown(Observation):
    """What the policy sees next. `reward`, `outcome` and `components` come with the last step."""

    text: str = ""
    """The newest message: the report of the incident, or what a tool showed."""
    messages: list[dict[str, Any]] = Field(default_factory=list)
    """All messages since the last reply; after a reset, the opening of the conversation."""
    tools: list[dict[str, Any]] = Field(default_factory=list)
    """After a reset, what can be called, as OpenAI function schemas."""
    outcome: dict[str, Any] | None = None
    components: dict[str, float] = Field(default_factory=dict)


class Progress(State):
    """Where an episode stands."""

    scenario_id: str = ""
    done: bool = False


class InvestigationEnvironment(Environment[Reply, Shown, Progress]):
    """One session: at most one episode at a time."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, investigations: Investigations) -> None:
        super().__init__()
        self._of = investigations
        self._stepping: Stepping | None = None
        self._state = Progress()

    async def reset_async(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        scenario_id: str = "",
        index: int | None = None,
        **_: Any,
    ) -> Shown:
        """Start an episode of the scenario named, or of the one at `index` or `seed`, counted round."""
        self.close()
        ids = list(self._of.paths)
        chosen = scenario_id or ids[(seed or 0 if index is None else index) % len(ids)]
        stepping = Stepping(partial(self._of.play, chosen, policy="openenv"))
        self._state = Progress(episode_id=episode_id or uuid.uuid4().hex, scenario_id=chosen)
        shown = _shown(await stepping.begin())
        shown.tools = tool_schemas(self._of.tools(chosen))
        self._stepping = stepping
        return shown

    async def step_async(self, action: Reply, timeout_s: float | None = None, **_: Any) -> Shown:
        """Take one reply."""
        if self._stepping is None or self._state.done:
            raise ConfigurationError("no episode is under way; reset first")
        step = await self._stepping.reply(action.as_reply())
        self._state.step_count += 1
        self._state.done = step.episode is not None
        return _shown(step)

    @property
    def state(self) -> Progress:
        """Where the episode stands."""
        return self._state

    def reset(self, seed: int | None = None, episode_id: str | None = None, **_: Any) -> Shown:
        """Not offered: the server awaits `reset_async`."""
        raise NotImplementedError("use reset_async")

    def step(self, action: Reply, timeout_s: float | None = None, **_: Any) -> Shown:
        """Not offered: the server awaits `step_async`."""
        raise NotImplementedError("use step_async")

    def close(self) -> None:
        """Abandon what is under way."""
        if self._stepping is not None:
            self._stepping.close()
        self._stepping = None

    def list_splits(self) -> list[str]:
        """Return the one split that is served."""
        return [self._of.folder.name]

    def list_tasks(self, split: str) -> list[Any]:
        """Return the scenarios by id."""
        return [self.get_task(split, index) for index in range(self.num_tasks(split))]

    def num_tasks(self, split: str) -> int:
        """Count the scenarios."""
        return len(self._of.paths) if split in self.list_splits() else 0

    def get_task(self, split: str, index: int) -> Mapping[str, Any]:
        """Return one scenario's id. Raises IndexError beyond the last."""
        return {"id": list(self._of.paths)[index], "index": index}


def _shown(step: Step) -> Shown:
    messages: list[Message] = list(step.messages)
    text = messages[-1]["content"] if messages else ""
    ended = _ended(step.episode) if step.episode else {}
    return Shown(text=text, messages=messages, **ended)


def _ended(episode: Episode) -> dict[str, Any]:
    return {
        "done": True,
        "reward": episode.reward,
        "outcome": episode.outcome.model_dump(mode="json"),
        "components": episode.reward_components,
    }


def app(investigations: Investigations, sessions: int = 64) -> Any:
    """Make the FastAPI application, for `sessions` episodes at once."""
    limits = ConcurrencyConfig(max_concurrent_envs=sessions, session_timeout=None)
    make = partial(InvestigationEnvironment, investigations)
    return create_fastapi_app(
        make, Reply, Shown, concurrency_config=limits, env_name="log_investigator", state_cls=Progress
    )

"""The scenarios as an environment of TRL: `GRPOTrainer(environment_factory=...)` trains on them.

    investigations = Investigations.open("train", rules="embedded", repairs=0)
    GRPOTrainer(
        model, reward_funcs=investigation, train_dataset=prompts(investigations),
        environment_factory=environment_class(investigations), args=GRPOConfig(...),
    )

TRL leads the conversation: it parses the calls and stops when a reply holds none. So a reply without a call
is the last one here, and each call is taken by itself. Everything else is `rollout.investigate`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import Parameter
from itertools import count
from typing import Any

from pydantic import BaseModel

from core.trajectory import metrics
from log_investigator_env.investigations import Investigations
from log_investigator_env.stepping import Driven, Step
from log_investigator_env.tool_functions import ENDED, described, signature
from project_types import ChatReply, Episode, JudgeError, Report, ToolCall
from rollout import FINAL_ANSWER

logger = logging.getLogger(__name__)

TINY_RESPONSES: Mapping[str, Any] = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "tool_calls": {
            "open_pattern": r"<\|call\|>(?P<name>\S+) ",
            "close_pattern": r"<\|end\|>|(?=<\|call\|>)",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": {"close_pattern": r"<\|end\|>|(?=<\|call\|>)", "content": "text"},
    },
}
"""How `tiny-investigator` writes its calls, for `tokenizer.response_template`."""


class InvestigationEnvironment:
    """One rollout: TRL calls `reset`, then the tools, which `environment_class` adds."""

    _investigations: Investigations

    def __init__(self) -> None:
        self._driven: Driven | None = None
        self._episode: Episode | None = None

    def reset(self, scenario_id: str, **_: Any) -> None:
        """Start an episode of this scenario; the prompt holds its opening already."""
        if self._driven is not None:
            self._driven.close()
        self._driven = Driven(partial(self._investigations.play, scenario_id, policy="trl"))
        self._episode = self._driven.begin().episode

    def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        said = json.dumps({key: value for key, value in arguments.items() if value is not None})
        call = ToolCall(id=f"call_{next(_NUMBERS)}", name=name, arguments=said)
        return self._say(ChatReply(tool_calls=(call,)))

    def _say(self, reply: ChatReply) -> str:
        if self._episode is not None:
            return ENDED
        assert self._driven is not None, "TRL resets an environment before it calls a tool"
        return self._take(self._driven.reply(reply))

    def _take(self, step: Step) -> str:
        self._episode = step.episode
        return "\n".join(message["content"] for message in step.messages) or ENDED

    def _finished(self, last: Mapping[str, Any]) -> Episode:
        """Return the episode, once TRL has ended the conversation with this message."""
        while self._episode is None and last.get("role") == "assistant" and not last.get("tool_calls"):
            self._say(ChatReply(content=str(last.get("content") or "")))
        if self._episode is None:
            assert self._driven is not None
            self._take(self._driven.end())
        assert self._episode is not None
        return self._episode


_NUMBERS = count()


def environment_class(investigations: Investigations) -> type[InvestigationEnvironment]:
    """Make the class that `environment_factory` takes. Its tools are those of the first scenario."""
    offered = investigations.tools(next(iter(investigations.paths)))
    tools = [(tool.name, tool.description, tool.arguments) for tool in offered]
    tools.append((FINAL_ANSWER, "End the investigation with your report.", Report))
    methods = {name: _method(name, about, arguments) for name, about, arguments in tools}
    return type(
        "InvestigationEnvironment",
        (InvestigationEnvironment,),
        {"_investigations": investigations, **methods},
    )


def _method(name: str, about: str, arguments: type[BaseModel]) -> Any:
    def called(self: InvestigationEnvironment, **given: Any) -> str:
        return self._call(name, given)

    self_first = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    signed = signature(arguments, self_first)
    annotations = {each.name: each.annotation for each in signed.parameters.values() if each.name != "self"}
    called.__name__, called.__qualname__, called.__doc__ = name, name, described(about, arguments)
    called.__signature__ = signed  # type: ignore[attr-defined]
    called.__annotations__ = {**annotations, "return": str}
    return called


def prompts(investigations: Investigations) -> Any:
    """Make the dataset of all scenarios: a prompt without truth, and the id that `reset` takes."""
    from datasets import Dataset

    ids = list(investigations.paths)
    return Dataset.from_list([{"prompt": investigations.opening(one), "scenario_id": one} for one in ids])


def investigation(
    completions: Sequence[Sequence[Mapping[str, Any]]],
    environments: Sequence[InvestigationEnvironment],
    log_metric: Any = None,
    **_: Any,
) -> list[float | None]:
    """Reward each rollout by its Outcome. None, which TRL leaves out, where the judge gave no verdict."""
    rewards: list[float | None] = []
    for completion, environment in zip(completions, environments, strict=True):
        try:
            episode = environment._finished(completion[-1])
        except JudgeError as trouble:
            logger.warning("a rollout without a verdict is left out: %s", trouble)
            rewards.append(None)
            continue
        rewards.append(episode.reward)
        for name, value in metrics(episode).items() if log_metric else ():
            log_metric(f"investigation/{name}", value)
    return rewards

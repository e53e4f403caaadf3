"""Turns a generator into a policy: it yields calls, is sent the text each tool printed, and returns its
report.

    def play(desk: Desk) -> Play:
        text = yield search(min_level="ERROR")
        return blame(rows(text)[0])

The episode drives it one reply at a time through the same door as a model (`project_types.Chat`), in either
call format. It is for policies written as code; it knows no tool's arguments but the names used below.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

from core.policies.screen import ShownRow
from project_types import ChatReply, EpisodeConfig, Message, ToolCall

MAX_QUOTE = 1500
"""Characters of a log line that a report quotes."""


class Call(NamedTuple):
    """A tool to call and its arguments."""

    tool: str
    arguments: Mapping[str, Any]


class Desk(NamedTuple):
    """What a script has before it starts: its dice, the rules, and the incident as the agent is told it."""

    rng: random.Random
    config: EpisodeConfig
    task: str

    @property
    def calls_left(self) -> int:
        """Tool calls that still leave a turn for the answer."""
        return self.config.max_turns - 1


Answer = Mapping[str, Any]
"""Arguments of return_final_answer."""
Play = Generator[Call, str, Answer]
Script = Callable[[Desk], Play]


def search(**arguments: Any) -> Call:
    """A call of search_logs."""
    return Call("search_logs", arguments)


def read_trace(trace_id: str) -> Call:
    """A call of read_trace."""
    return Call("read_trace", {"trace_id": trace_id})


def blame(row: ShownRow) -> Answer:
    """A report against the row's service that quotes and cites the row."""
    return {
        "root_cause": f"{row.service}: {row.message}"[:MAX_QUOTE],
        "suspected_service": row.service,
        "key_log_ids": [row.id],
        **({"primary_trace_ids": [row.trace]} if row.trace else {}),
    }


UNKNOWN: Answer = {"root_cause": "unknown", "suspected_service": "unknown"}


class ScriptedChat:
    """A Chat that plays one script through one episode.

    A script that takes over an investigation under way is told what was shown so far, as the answers to its
    first calls.
    """

    def __init__(self, script: Script, rng: random.Random, config: EpisodeConfig) -> None:
        self._script, self._rng, self._config = script, rng, config
        self._play: Play | None = None
        self._replies = 0

    async def __call__(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        """The script's next call, or its answer."""
        self._replies += 1
        try:
            call = self._begun(messages) if self._play is None else self._play.send(_shown(messages[-1]))
        except StopIteration as end:
            call = Call("return_final_answer", end.value)
        arguments = json.dumps(call.arguments, ensure_ascii=False, separators=(",", ":"))
        if self._config.call_format == "text":
            return ChatReply(content=f'{{"tool":"{call.tool}","arguments":{arguments}}}')
        return ChatReply(
            tool_calls=(ToolCall(id=f"call_{self._replies}", name=call.tool, arguments=arguments),),
            finish_reason="tool_calls",
        )

    def _begun(self, messages: Sequence[Message]) -> Call:
        """Start the script, with whatever was shown before it came. Raises StopIteration at its answer."""
        _, *shown = [message for message in messages if message["role"] in ("user", "tool")] or [{}]
        task = next((_shown(message) for message in messages if message["role"] == "user"), "")
        self._play = self._script(Desk(self._rng, self._config, task))
        call = next(self._play)
        for message in shown:
            call = self._play.send(_shown(message))
        return call


def _shown(message: Message) -> str:
    return str(message.get("content") or "")


def as_policy(script: Script) -> Callable[[random.Random, EpisodeConfig], ScriptedChat]:
    """What the registry in `core.policies.scripted` holds for a script."""
    return lambda rng, config: ScriptedChat(script, rng, config)

"""Turns a generator into a policy: it yields calls, is sent the text each tool printed, and returns its
report.

    def play(desk: Desk) -> Play:
        text = yield search(min_level="ERROR")
        return blame(rows(text)[0])

A list of calls is one reply with several calls, answered by a list of texts; only native calls can do that.

The episode drives it one reply at a time through the same door as a model (`project_types.Chat`), in either
call format. It is for policies written as code; it knows no tool's arguments but the names used below.
"""

from __future__ import annotations

import json
import random
import re
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
    thought: str = ""
    """What is said before the call."""


class Desk(NamedTuple):
    """What a script has before it starts: its dice, the rules, and the incident as the agent is told it."""

    rng: random.Random
    config: EpisodeConfig
    task: str
    tools: frozenset[str] = frozenset()
    """Names of the tools that are offered; none when a script plays without an episode."""

    @property
    def calls_left(self) -> int:
        """Tool calls that still leave a turn for the answer."""
        return self.config.max_turns - 1


Answer = Mapping[str, Any]
"""Arguments of return_final_answer."""
Asked = Call | list[Call]
"""What a script asks in one reply: a call, or several at once where calls are native."""
Play = Generator[Asked, Any, Answer]
"""A script under way: it is sent the text that a call printed, or a list of texts for several calls. A script
that thinks before its answer yields it as its last call."""
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
        self._asked: Asked = []
        self._replies = 0

    async def __call__(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        """The script's next call or calls, or its answer."""
        self._replies += 1
        try:
            if self._play is None:
                self._begin(messages, tools)
            else:
                self._tell(messages)
        except StopIteration as end:
            return self._reply([Call("return_final_answer", end.value)])
        return self._reply(self._asked if isinstance(self._asked, list) else [self._asked])

    def _begin(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> None:
        """Start the script, with whatever was shown before it came. Raises StopIteration at its answer."""
        _, *shown = [message for message in messages if message["role"] in ("user", "tool")] or [{}]
        task = next((_shown(message) for message in messages if message["role"] == "user"), "")
        self._play = self._script(Desk(self._rng, self._config, task, _offered(messages, tools)))
        self._asked = next(self._play)
        while shown:
            told = shown[: self._expected()]
            shown = shown[self._expected() :]
            self._tell(told)

    def _expected(self) -> int:
        return len(self._asked) if isinstance(self._asked, list) else 1

    def _tell(self, messages: Sequence[Message]) -> None:
        """Send the script what its calls printed. Raises StopIteration at its answer."""
        assert self._play is not None
        texts = [_shown(message) for message in messages[-self._expected() :]]
        self._asked = self._play.send(texts if isinstance(self._asked, list) else texts[-1])

    def _reply(self, calls: Sequence[Call]) -> ChatReply:
        written = [json.dumps(call.arguments, ensure_ascii=False, separators=(",", ":")) for call in calls]
        if self._config.call_format == "text":
            call = f'{{"tool":"{calls[0].tool}","arguments":{written[0]}}}'
            return ChatReply(content="\n".join(filter(None, (calls[0].thought, call))))
        ids = [f"call_{self._replies}" + (f"_{number}" if number else "") for number in range(len(calls))]
        made = zip(ids, calls, written, strict=True)
        return ChatReply(
            content=calls[0].thought or None,
            tool_calls=tuple(ToolCall(id=name, name=call.tool, arguments=text) for name, call, text in made),
            finish_reason="tool_calls",
        )


def _offered(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Names of the tools, which the system prompt lists where calls are text."""
    told = "\n".join(_shown(message) for message in messages[:1])
    listed = re.findall(r'^\{"name":"(\w+)"', told, re.MULTILINE)
    return frozenset([*listed, *(str(tool.get("function", {}).get("name")) for tool in tools)])


def _shown(message: Message) -> str:
    return str(message.get("content") or "")


def as_policy(script: Script) -> Callable[[random.Random, EpisodeConfig], ScriptedChat]:
    """What the registry in `core.policies.scripted` holds for a script."""
    return lambda rng, config: ScriptedChat(script, rng, config)

"""What if one thing had been different: a stored episode is played again up to a turn, changed there, and
played on by a policy.

Up to the turn the stored replies are replayed against the real tools, so that everything the episode counts
is counted again; at the turn one tool result or one reply is replaced; after it the policy is alone. The same
is done as often without the change. What is compared differs in one thing only, so the difference is its
effect, with a 95 % interval for two proportions (Newcombe 1998, hybrid score method). It needs the scenario
and a policy; it changes no stored file.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from core.intervals import share_of
from failure_analysis.episodes.turns import Turn, turns_of
from failure_analysis.records import StoreError
from log_search_tools import printed_rows
from project_types import (
    Chat,
    ChatReply,
    Episode,
    EpisodeConfig,
    Frozen,
    Judge,
    JudgeError,
    Message,
    ProviderError,
    Scenario,
    Tool,
    ToolCall,
    ToolResult,
)
from rollout import FINAL_ANSWER, investigate


class Change(NamedTuple):
    """What is different at one turn; neither: nothing, the control."""

    turn: int
    result: str | None = None
    """What the tool says instead."""
    call: ToolCall | None = None
    """What the policy calls instead."""


class Arm(NamedTuple):
    """How one side came out."""

    right: int
    grounded: int
    played: int
    failed: int
    """Plays that gave no verdict, because the provider or the judge failed; not counted."""


class Difference(NamedTuple):
    """Of two shares, the second minus the first."""

    value: float
    low: float
    high: float


class Effect(Frozen):
    """What a change did."""

    scenario_id: str
    turn: int
    changed: str
    """What was replaced, in words."""
    unchanged: Arm
    with_change: Arm
    success: Difference
    """Right answers, with a 95 % interval."""
    grounded: Difference
    notes: tuple[str, ...]


class Situation(NamedTuple):
    """What an episode is played again in."""

    episode: Episode
    scenario: Scenario
    tools: Callable[[], Sequence[Tool]]
    chat: Callable[[int], Chat]
    """The policy that plays on, given the number of the sample."""
    judge: Judge
    config: EpisodeConfig


def replacing_call(text: str) -> ToolCall:
    """The call that `{"name": ..., "arguments": {...}}` stands for. Raises StoreError."""
    try:
        found = json.loads(text)
        name, arguments = found["name"], found.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise TypeError("name must be text and arguments an object")
    except (ValueError, KeyError, TypeError, AttributeError) as trouble:
        example = '{"name": "search_logs", "arguments": {"min_level": "WARN"}}'
        raise StoreError(f"--replace-call: not a call ({trouble}); write {example}") from trouble
    return ToolCall(id="replaced", name=name, arguments=json.dumps(arguments))


async def intervene(
    situation: Situation,
    change: Change,
    k: int,
    concurrency: int,
    progress: Callable[[], None] = lambda: None,
) -> Effect:
    """Play both sides k times. Raises StoreError when the episode has no such turn, or no play came to a
    verdict.
    """
    turns = turns_of(situation.episode)
    _check(turns, change)
    limit, differing = asyncio.Semaphore(concurrency), set[int]()

    async def play(change: Change, sample: int) -> Episode | None:
        async with limit:
            found = await _play(situation, turns, change, sample, differing)
        progress()
        return found

    control = Change(change.turn)
    played = await asyncio.gather(*(play(side, sample) for sample in range(k) for side in (control, change)))
    before, after = _arm(played[0::2]), _arm(played[1::2])
    if not before.played or not after.played:
        raise StoreError(
            "no play came to a verdict: the provider or the judge failed every time; check the policy and --judge"
        )
    what = "the tool result" if change.result is not None else "the call"
    notes = [f"the tools now answer turn {turn} otherwise than they did then" for turn in sorted(differing)]
    return Effect(
        scenario_id=situation.scenario.id,
        turn=change.turn,
        changed=f"{what} of turn {change.turn}",
        unchanged=before,
        with_change=after,
        success=difference(before.right, before.played, after.right, after.played),
        grounded=difference(before.grounded, before.played, after.grounded, after.played),
        notes=tuple(notes),
    )


def _check(turns: Sequence[Turn], change: Change) -> None:
    if change.turn > len(turns):
        raise StoreError(f"--turn {change.turn}: the episode has {len(turns)} turns")
    turn = turns[change.turn - 1]
    answered = [call for call in turn.calls if call.name != FINAL_ANSWER]
    if change.result is not None and not answered:
        raise StoreError(
            f"--replace-result: turn {change.turn} called no tool; choose another --turn, or use --replace-call"
        )


# --------------------------------------------------------------------------------------------------- one play


async def _play(
    situation: Situation, turns: Sequence[Turn], change: Change, sample: int, differing: set[int]
) -> Episode | None:
    """One episode with the change; None when there is no verdict."""
    chat = _Replay(situation.episode, change, situation.chat(sample), situation.config.call_format)
    tools = [_Watched(tool, chat, turns, change, differing) for tool in situation.tools()]
    try:
        return await investigate(
            chat,
            situation.scenario,
            tools,
            judge=situation.judge,
            config=situation.config,
            policy="intervention",
            sample=sample,
        )
    except (ProviderError, JudgeError):
        return None


class _Replay:
    """A policy that says what it said then up to the changed turn, and leaves the rest to another."""

    def __init__(
        self, episode: Episode, change: Change, then: Chat, call_format: Literal["native", "text"]
    ) -> None:
        said = [message for message in episode.messages if message.get("role") == "assistant"]
        self._said, self._change, self._then, self._format = said, change, then, call_format
        self.turn = 0
        """The reply under way; the first is 1."""

    async def __call__(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        self.turn += 1
        if self.turn > self._change.turn:
            return await self._then(messages, tools)
        if self.turn == self._change.turn and self._change.call is not None:
            return self._spoken(self._change.call)
        return _reply(self._said[self.turn - 1])

    def _spoken(self, call: ToolCall) -> ChatReply:
        if self._format == "native":
            return ChatReply(tool_calls=(call,))
        return ChatReply(content=json.dumps({"tool": call.name, "arguments": json.loads(call.arguments)}))


class _Watched:
    """A tool whose result at one turn can be replaced; notes where it now answers otherwise than it did."""

    def __init__(
        self, tool: Tool, chat: _Replay, turns: Sequence[Turn], change: Change, differing: set[int]
    ) -> None:
        self.name, self.description, self.arguments = tool.name, tool.description, tool.arguments
        self._tool, self._chat, self._turns, self._change, self._differing = (
            tool,
            chat,
            turns,
            change,
            differing,
        )
        self._replaced = False

    async def run(self, arguments: Any) -> ToolResult:
        """The real result, or the replacement: once, at its turn."""
        turn, change = self._chat.turn, self._change
        if turn == change.turn and change.result is not None and not self._replaced:
            self._replaced = True
            return self._as_shown(change.result)
        result = await self._tool.run(arguments)
        if turn < change.turn or (turn == change.turn and change.call is None):
            stored = [call.result for call in self._turns[turn - 1].calls]
            if not any(one.startswith(result.text) for one in stored):  # a last turn's reminder may follow it
                self._differing.add(turn)
        return result

    def resolve(self, kind: Literal["log", "trace"], shown: str) -> str | None:
        """As the tool does."""
        return self._tool.resolve(kind, shown)

    def _as_shown(self, text: str) -> ToolResult:
        """A text with the ids that its rows print."""
        rows = printed_rows(text)
        logs = (self._tool.resolve("log", row.id) for row in rows)
        traces = (self._tool.resolve("trace", row.trace_id) for row in rows if row.trace_id)
        return ToolResult(
            text=text, log_ids=frozenset(filter(None, logs)), trace_ids=frozenset(filter(None, traces))
        )


def _reply(message: Message) -> ChatReply:
    """A stored assistant message as the reply that it was. Raises StoreError when it is none."""
    try:
        calls = [
            ToolCall(
                id=str(call.get("id", "")),
                name=call["function"]["name"],
                arguments=call["function"]["arguments"],
            )
            for call in message.get("tool_calls") or ()
        ]
        return ChatReply(content=message.get("content"), tool_calls=tuple(calls))
    except (KeyError, TypeError, AttributeError, ValidationError) as trouble:
        raise StoreError(f"the stored episode holds a reply that cannot be read ({trouble!r})") from trouble


def _arm(played: Sequence[Episode | None]) -> Arm:
    judged = [episode.outcome for episode in played if episode is not None]
    right, grounded = sum(outcome.correct for outcome in judged), sum(outcome.grounded for outcome in judged)
    return Arm(right, grounded, len(judged), len(played) - len(judged))


# ------------------------------------------------------------------------------------------------- statistics


def difference(hits: int, of: int, hits_then: int, of_then: int) -> Difference:
    """hits_then/of_then − hits/of with a 95 % interval (Newcombe 1998, method 10)."""
    before, low, high, _ = share_of(hits, of)
    after, low_then, high_then, _ = share_of(hits_then, of_then)
    value = after - before
    down = math.sqrt((after - low_then) ** 2 + (high - before) ** 2)
    up = math.sqrt((high_then - after) ** 2 + (before - low) ** 2)
    return Difference(value, max(-1.0, value - down), min(1.0, value + up))

"""One episode: a policy investigates an incident, the facts are collected, and the facts become a reward.

`investigate` knows no trainer: it talks to any `Chat`, offers it the tools and `return_final_answer`, and
reduces what happened to an `Outcome`. `reward` is a pure function of that Outcome; `rollout` is the thin
adapter that gives ART a Trajectory. Mistakes of the model become facts; a provider or a judge that fails
raises, and is never a penalty.

Companions, imported through here: `rewards`, `core.conversation`, `core.policies`, `core.episode_store`. Not
here: what the tools do (`log_search_tools`), what a verdict means (`make_judge_model`), when to train
(`train_serverless`).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from core.conversation import FINAL_ANSWER, LAST_TURN, MOST_CALLS, opening, tool_schemas
from core.episode_store.episodes import read_episodes, write_episode
from core.model_calls import Patience
from core.policies.litellm import litellm_chat
from core.policies.openai import DEFAULT_RULES, openai_chat
from core.report_reading import Cited, cited, is_unknown
from core.text_calls import call_begun, text_call
from core.tracing import TRACE, trace_facts, traced
from core.trajectory import trajectory
from core.truth_facts import scenario_facts, truth_facts
from log_search_tools import log_tools
from project_types import (
    LINES,
    Chat,
    ChatReply,
    ConfigurationError,
    ContextOverflow,
    Ending,
    Episode,
    EpisodeConfig,
    Evidence,
    Incident,
    Judge,
    JudgeError,
    Message,
    Outcome,
    ProviderError,
    Report,
    Scalar,
    Scenario,
    Score,
    Tool,
    ToolCall,
    ToolInputError,
    Verdict,
)
from rewards import ABSTAINED, BANDS, ENDED, Band, Reward, reward

if TYPE_CHECKING:
    import art

__all__ = [
    "ABSTAINED",
    "BANDS",
    "DEFAULT_RULES",
    "ENDED",
    "FINAL_ANSWER",
    "LAST_TURN",
    "TRACE",
    "Band",
    "Patience",
    "Reward",
    "investigate",
    "is_unknown",
    "litellm_chat",
    "openai_chat",
    "opening",
    "read_episodes",
    "reward",
    "rollout",
    "rollout_with_episode",
    "scenario_facts",
    "text_call",
    "tool_schemas",
    "trajectory",
    "write_episode",
]


async def investigate(
    chat: Chat,
    incident: Incident,
    tools: Sequence[Tool],
    *,
    judge: Judge | None = None,
    score: Score | None = None,
    config: EpisodeConfig = DEFAULT_RULES,
    policy: str = "",
    split: str = "",
    sample: int = 0,
) -> Episode:
    """Let a policy investigate one incident. A judge decides its reward, which needs a scenario; without a
    judge the episode has none. A `score` (a reward model) needs no truth: what it says of the report goes
    into the metadata, and never into the reward.

    Raises:
        ConfigurationError: there is a judge and nothing to judge by: the incident has no truth.
        ProviderError, JudgeError: the policy could not reply, or there is no verdict; `.episode` holds what
        there was.
    """
    scenario = incident if isinstance(incident, Scenario) else None
    if judge is not None and scenario is None:
        raise ConfigurationError(
            f"{incident.id}: has no ground truth to judge by; investigate it without a judge"
        )
    play = _Play(incident, {tool.name: tool for tool in tools}, config, opening(incident, tools, config))
    named: dict[str, Any] = {"scenario_id": incident.id, "policy": policy, "split": split, "sample": sample}

    async def episode() -> Episode:
        started, ending, verdict = time.monotonic(), Ending.PROVIDER_ERROR, None
        scored: dict[str, Scalar] = {}
        try:
            ending = await play.run(chat)
            if ending is Ending.ANSWERED and judge and scenario and play.report:
                shown = {"judge": judge.name, "report": play.report.model_dump()}
                verdict = await traced("verdict", shown, partial(judge.verdict, scenario, play.report))
            if ending is Ending.ANSWERED and score and play.report:
                value = await score.score(play.messages, play.report)
                scored = {"score": value, "scored_by": score.name}
        except (ProviderError, JudgeError) as trouble:
            trouble.episode = Episode(**named, **play.facts(ending, None, time.monotonic() - started))
            raise
        facts = play.facts(ending, verdict, time.monotonic() - started)
        if judge is not None:
            worth = reward(facts["outcome"])
            facts |= {"reward": worth.total, "reward_components": worth.components}
        facts["metadata"] |= trace_facts() | scored
        return Episode(**named, **facts)

    return await traced("investigate", named, episode)


@dataclass
class _Play:
    """An episode under way: the conversation, what the tools have shown, and the counts that become an
    Outcome.
    """

    incident: Incident
    tools: Mapping[str, Tool]
    config: EpisodeConfig
    messages: list[Message]
    report: Report | None = None
    logs: dict[str, None] = field(default_factory=dict)
    traces: dict[str, None] = field(default_factory=dict)
    other: set[Evidence] = field(default_factory=set)
    """Spans, metrics and silent services that the tools have shown."""
    counts: Counter[str] = field(default_factory=Counter)
    made: set[tuple[str, str]] = field(default_factory=set)
    cost_usd: float = 0.0

    async def run(self, chat: Chat) -> Ending:
        """Take turns until something ends the episode."""
        offered = tool_schemas(list(self.tools.values())) if self.config.call_format == "native" else []
        while self.counts["turns"] < self.config.max_turns:
            try:
                reply = await chat(tuple(self.messages), offered)
            except ContextOverflow:
                return Ending.OUT_OF_CONTEXT
            if (ending := await self._turn(reply)) is not None:
                return ending
            if self.counts["turns"] == self.config.max_turns - 1 and self.config.prompt == "full":
                self.messages[-1] = {**self.messages[-1], "content": self.messages[-1]["content"] + LAST_TURN}
        return Ending.OUT_OF_TURNS

    async def _turn(self, reply: ChatReply) -> Ending | None:
        """Take one reply: note it, then run its calls; an Ending when the episode ends with it."""
        calls = self._calls(reply)
        self._note(reply, calls)
        if reply.refusal or reply.finish_reason == "content_filter":
            self.counts["turns"] += 1
            return Ending.REFUSED
        cut = reply.finish_reason == "length"
        if not calls:
            return self._without_call((reply.content or "").strip(), cut)
        allowed = min(MOST_CALLS, self.config.max_turns - self.counts["turns"])
        for call in calls[:allowed]:
            self.counts["turns"] += 1
            if cut and call is calls[-1] and not _is_json(call.arguments):
                return Ending.OUT_OF_CONTEXT
            if (ending := await self._answer(call)) is not None:
                return ending
        return self._too_many(calls[allowed:])

    def _without_call(self, said: str, cut: bool) -> Ending | None:
        """A reply that calls nothing uses a turn. One that was cut before any call
        is no better than others.
        """
        self.counts["turns"] += 1
        if cut and call_begun(said):
            return Ending.OUT_OF_CONTEXT
        native = self.config.call_format == "native"
        shape = "one tool" if native else 'one tool as {"tool": ..., "arguments": {...}}'
        text = f"the reply holds no call; call {shape} of: {self._names()}"
        return self._mistake(Ending.MALFORMED_CALL if said else Ending.EMPTY_REPLY, text, None)

    def _too_many(self, calls: Sequence[ToolCall]) -> Ending | None:
        """Answer calls that are not run, since a provider expects an answer to each; one mistake in all."""
        for number, call in enumerate(calls):
            text = f"not run: a reply may hold at most {MOST_CALLS} calls, and each is a turn"
            if number == 0 and self.counts["turns"] < self.config.max_turns:
                if (ending := self._mistake(Ending.MALFORMED_CALL, text, call)) is not None:
                    return ending
            else:
                self._show(f"error: {text}", call)
        return None

    def _calls(self, reply: ChatReply) -> tuple[ToolCall, ...]:
        if self.config.call_format == "native":
            return reply.tool_calls
        found = text_call(reply.content or "")
        return () if found is None else (found,)

    def _note(self, reply: ChatReply, calls: Sequence[ToolCall]) -> None:
        """Add a reply to the conversation and to the counts."""
        message: Message = {"role": "assistant", "content": reply.content or reply.refusal or ""}
        if calls and self.config.call_format == "native":
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in calls
            ]
        self.messages.append(message)
        self.counts.update(prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
        self.cost_usd += reply.cost_usd

    def _names(self) -> str:
        return ", ".join([*self.tools, FINAL_ANSWER])

    async def _answer(self, call: ToolCall) -> Ending | None:
        """Take one call and show its result; an Ending when the episode ends with it."""
        tool = self.tools.get(call.name)
        asked = tool.arguments if tool else None
        model = Report if call.name == FINAL_ANSWER else asked
        if model is None:
            text = f"no tool is called {json.dumps(call.name[:60])}; call one of: {self._names()}"
            return self._mistake(Ending.UNKNOWN_TOOL, text, call)
        try:
            arguments = model.model_validate_json(call.arguments or "{}")
        except ValidationError as mistake:
            return self._bad_arguments(mistake, call)
        if isinstance(arguments, Report):
            self.report = arguments
            return Ending.UNKNOWN if is_unknown(arguments, self.incident) else Ending.ANSWERED
        assert tool is not None
        return await self._run(tool, arguments, call)

    def _bad_arguments(self, mistake: ValidationError, call: ToolCall) -> Ending | None:
        broken = mistake.errors(include_url=False, include_input=False, include_context=False)
        kind = Ending.INVALID_REPORT if call.name == FINAL_ANSWER else Ending.BAD_ARGUMENTS
        kind = Ending.MALFORMED_CALL if broken[0]["type"] == "json_invalid" else kind
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}"[:160] for one in broken[:3]
        )
        return self._mistake(kind, problems, call)

    async def _run(self, tool: Tool, arguments: BaseModel, call: ToolCall) -> Ending | None:
        try:
            result = await traced(tool.name, arguments.model_dump(), partial(tool.run, arguments))
        except ToolInputError as mistake:
            return self._mistake(Ending.BAD_ARGUMENTS, str(mistake), call)
        signature = (call.name, arguments.model_dump_json())
        self.counts.update(tool_calls=1, repeated_calls=int(signature in self.made))
        self.made.add(signature)
        self.logs.update(dict.fromkeys(sorted(result.log_ids)))
        self.traces.update(dict.fromkeys(sorted(result.trace_ids)))
        self.other |= result.other
        self._show(result.text, call)
        return None

    def _mistake(self, kind: Ending, text: str, call: ToolCall | None) -> Ending | None:
        """Answer a mistake of the model with an error; its Ending once the allowed repairs are used up."""
        self.counts.update(malformed_calls=1)
        self._show(f"error: {text}", call)
        return kind if self.counts["malformed_calls"] > self.config.repairs else None

    def _show(self, text: str, call: ToolCall | None) -> None:
        if call is not None and self.config.call_format == "native":
            self.messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
        else:
            self.messages.append({"role": "user", "content": text})

    def facts(self, ending: Ending, verdict: Verdict | None, seconds: float) -> dict[str, Any]:
        """The fields of an Episode that this play decides."""
        ids = cited(self.report, self.tools.values()) if self.report else Cited()
        return {
            "messages": tuple(self.messages),
            "report": self.report,
            "verdict": verdict,
            "outcome": self._outcome(ending, verdict, ids, seconds),
            "shown_log_ids": tuple(self.logs),
            "shown_trace_ids": tuple(self.traces),
            "cited_log_ids": tuple(ids.logs),
            "cited_trace_ids": tuple(ids.traces),
            "cost_usd": self.cost_usd,
            "metadata": scenario_facts(self.incident) if isinstance(self.incident, Scenario) else {},
        }

    def _has_shown(self, evidence: Evidence) -> bool:
        """Whether a tool has shown it; an event is shown among the log lines."""
        return evidence in self.other or (evidence.kind in LINES and evidence.id in self.logs)

    def _outcome(self, ending: Ending, verdict: Verdict | None, ids: Cited, seconds: float) -> Outcome:
        report = self.report
        seen_logs, seen_traces = ids.logs.keys() & self.logs.keys(), ids.traces.keys() & self.traces.keys()
        facts: dict[str, Any] = dict(self.counts)
        if isinstance(self.incident, Scenario):
            facts |= truth_facts(self.incident, ending, verdict, report, seen_logs, seen_traces)
            facts["gold_evidence_opened"] = sum(map(self._has_shown, self.incident.ground_truth.evidence))
        return Outcome(
            ending=ending,
            cited=len(ids.logs) + len(ids.traces),
            cited_seen=len(seen_logs | seen_traces),
            cited_fabricated=len(ids.fabricated),
            report_words=_words(report) if report else 0,
            seconds=round(seconds, 3),
            **facts,
        )


def _is_json(text: str) -> bool:
    try:
        json.loads(text or "{}")
    except (ValueError, RecursionError):
        return False
    return True


def _words(report: Report) -> int:
    said = (report.root_cause, report.suspected_service, *report.timeline, *report.next_actions)
    return sum(len(text.split()) for text in said)


async def rollout(model: art.Model, scenario: Scenario, **episode: Any) -> art.Trajectory:
    """One episode as an ART trajectory; the arguments are those of `rollout_with_episode`."""
    return (await rollout_with_episode(model, scenario, **episode))[0]


async def rollout_with_episode(
    model: art.Model,
    scenario: Scenario,
    *,
    database: Path,
    judge: Judge,
    config: EpisodeConfig = DEFAULT_RULES,
    step: int | None = None,
    split: str = "",
    sample: int = 0,
) -> tuple[art.Trajectory, Episode]:
    """Let `model` (at `step`, or its latest checkpoint) investigate: the trajectory to train on and the
    episode to store.
    """
    tools = log_tools(database, scenario.id, config)
    name = model.get_inference_name(step)
    chat, choices = openai_chat(model.openai_client(), name, config), list[Any]()

    async def remembered(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        reply = await chat(messages, tools)
        choices.append(reply.raw)
        return reply

    named: dict[str, Any] = {"policy": name, "split": split, "sample": sample}
    episode = await investigate(remembered, scenario, tools, judge=judge, config=config, **named)
    offered = tool_schemas(tools) if config.call_format == "native" else None
    return trajectory(episode, choices, offered), episode

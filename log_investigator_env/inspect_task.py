"""The scenarios as an Inspect task: our tools as tools, our judge and reward as the scorer.

    inspect eval log_investigator_env/inspect_task.py -T scenarios=test --model openai-api/local/MODEL

The solver drives `rollout.investigate` with the model Inspect has opened, so that its rules and endings hold.
Any other solver may take its place. The scorer replays what was said through `investigate` and judges it, so
that `inspect score` can judge a stored log again. No sample holds a truth.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import Tool, ToolDef, ToolParams

from core.function_schemas import function_schema
from core.trajectory import metrics
from log_investigator_env.investigations import Investigations, opened, told
from log_investigator_env.stepping import Stepping
from log_investigator_env.tool_functions import ENDED, shown
from project_types import ChatReply, Episode, Message, Report, ToolCall
from project_types import Tool as OurTool
from rollout import FINAL_ANSWER

PROJECT = Path(__file__).resolve().parents[1]
REPLIES = "replies"
"""Where a sample's store holds what the policy said, exactly."""
ENDS = {"max_tokens": "length", "content_filter": "content_filter"}
"""Inspect's words for how a reply ended, in the words of the OpenAI protocol."""


@task
def log_investigator(
    scenarios: str = "test", database: str = "logs.db", rules: str = "general", judge: str = "offline"
) -> Task:
    """Make the task of a split or a folder of scenarios. Relative paths count
    from where this project lies.
    """
    named = (scenarios, database, rules, judge)
    with told(PrerequisiteError):
        investigations = _opened(*named)
        samples = [_sample(investigations, one) for one in investigations.paths]
    return Task(dataset=MemoryDataset(samples), solver=investigator(investigations), scorer=judged(*named))


def _opened(*named: str) -> Investigations:
    with chdir(PROJECT):  # Inspect has changed into the folder of this file
        return opened(*named)


def _sample(investigations: Investigations, scenario_id: str) -> Sample:
    return Sample(
        id=scenario_id, input=[_message(each) for each in investigations.opening(scenario_id)], target=""
    )


@solver
def investigator(investigations: Investigations) -> Solver:
    """Play an episode by our rules, with the model that Inspect has opened."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        scenario_id, rules = str(state.sample_id), investigations.config
        state.tools = inspect_tools(investigations, scenario_id)
        config = GenerateConfig(
            temperature=rules.temperature, top_p=rules.top_p, max_tokens=rules.max_completion_tokens
        )
        stepping = Stepping(partial(investigations.explore, scenario_id))
        step = await stepping.begin()
        said: list[ChatReply] = []
        while step.episode is None:
            state.output = await get_model().generate(state.messages, tools=state.tools, config=config)
            if state.output.stop_reason == "model_length":
                step = await stepping.end()
                break
            state.messages.append(state.output.message)
            said.append(_reply(state.output.message, state.output))
            step = await stepping.reply(said[-1])
            state.messages += [_message(each) for each in step.messages]
        state.store.set(REPLIES, [reply.model_dump(mode="json") for reply in said])
        return state

    return solve


@scorer(metrics=[{"*": [mean(), stderr()]}])
def judged(
    scenarios: str = "test", database: str = "logs.db", rules: str = "general", judge: str = "offline"
) -> Scorer:
    """Judge the report and score the outcome. A judge that fails raises: the sample is an error, not a zero.

    It takes the names that the task takes, so that `inspect score` can make it again.
    """
    with told(PrerequisiteError):
        investigations = _opened(scenarios, database, rules, judge)

    async def score(state: TaskState, target: Target) -> Score:
        episode = await investigations.replay(
            str(state.sample_id), _said(state), policy=str(state.model), sample=state.epoch - 1
        )
        return _score(episode)

    return score


def _score(episode: Episode) -> Score:
    facts, verdict = metrics(episode), episode.verdict
    names = ("correct", "grounded", "turns", "malformed_calls")
    return Score(
        value={"reward": episode.reward or 0.0, **{name: facts[name] for name in names}},
        answer=episode.report.root_cause if episode.report else None,
        explanation=verdict.reason if verdict else f"ended: {episode.outcome.ending}",
        metadata={
            "outcome": episode.outcome.model_dump(mode="json"),
            "reward_components": episode.reward_components,
        },
    )


def inspect_tools(investigations: Investigations, scenario_id: str) -> list[Tool]:
    """Return the tools of one incident, and the final answer, as Inspect's."""
    tools = [_tool(tool) for tool in investigations.tools(scenario_id)]

    async def answered(**report: Any) -> str:
        return ENDED

    schema = function_schema(FINAL_ANSWER, "End the investigation with your report.", Report)
    return [*tools, _defined(answered, schema)]


def _tool(tool: OurTool) -> Tool:
    async def called(**arguments: Any) -> str:
        return await shown(tool, arguments)

    return _defined(called, function_schema(tool.name, tool.description, tool.arguments))


def _defined(called: Any, schema: dict[str, Any]) -> Tool:
    function = schema["function"]
    parameters = ToolParams.model_validate(function["parameters"])
    return ToolDef(called, function["name"], function["description"], parameters).as_tool()


def _message(message: Message) -> ChatMessage:
    """A message that `investigate` shows, as Inspect's."""
    role, content = message["role"], message["content"]
    if role == "tool":
        return ChatMessageTool(content=content, tool_call_id=message["tool_call_id"])
    return ChatMessageSystem(content=content) if role == "system" else ChatMessageUser(content=content)


def _said(state: TaskState) -> Sequence[ChatReply]:
    """What the policy said: as our solver kept it, or from the messages of another."""
    kept = state.store.get(REPLIES)
    if kept is not None:
        return [ChatReply.model_validate(reply) for reply in kept]
    return [_reply(message) for message in state.messages if isinstance(message, ChatMessageAssistant)]


def _reply(message: ChatMessageAssistant, output: ModelOutput | None = None) -> ChatReply:
    usage = output.usage if output else None
    calls = tuple(
        # what Inspect could not parse stays unparsed, so that it counts as the mistake it is
        ToolCall(
            id=call.id,
            name=call.function,
            arguments="not JSON" if call.parse_error else json.dumps(call.arguments),
        )
        for call in message.tool_calls or ()
    )
    return ChatReply(
        content=message.text,
        tool_calls=calls,
        finish_reason=ENDS.get(output.stop_reason, "stop") if output else "stop",
        prompt_tokens=usage.input_tokens if usage else 0,
        completion_tokens=usage.output_tokens if usage else 0,
    )

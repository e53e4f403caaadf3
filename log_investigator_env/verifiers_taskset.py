"""The scenarios as a verifiers v1 taskset, which prime-rl trains on and `vf-eval` evaluates.

    vf-eval log-investigator-env --env.taskset.scenarios test --client.base-url URL -m MODEL

`InvestigationHarness` plays `rollout.investigate` against the model that verifiers serves, so that rules,
tools, endings and reward are ours. Another harness may play as well: with `--env.taskset.task.tools true` the
tools are served over MCP, and what was said is replayed through `investigate` to score it.

A task's data holds no truth: it names the folder, and the truth is read when the episode is judged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import verifiers.v1 as vf
from openai import AsyncOpenAI
from pydantic import BaseModel, ValidationError
from verifiers.v1.runtimes import ProgramResult

from core.trajectory import metrics
from log_investigator_env.investigations import Investigations, opened, told
from log_investigator_env.tool_functions import ENDED, shown, signature
from project_types import ChatReply, Episode, Report, ToolCall
from rollout import FINAL_ANSWER, openai_chat

EPISODE = "episode"
"""Where a trace's `info` holds the episode."""


class InvestigationData(vf.TaskData):
    """One incident as the policy is told of it, and where its truth lies."""

    scenarios: str
    database: str
    rules: str
    judge: str


class InvestigationTaskConfig(vf.TaskConfig):
    """What a task can be told."""

    tools: bool = False
    """Serve the tools over MCP, for another harness than ours."""


class InvestigationConfig(vf.TasksetConfig):
    """What can be chosen on the command line, as `--env.taskset.NAME`."""

    scenarios: str = "train"
    """A split, or a folder of scenario-*.json."""
    database: str = "logs.db"
    """The searchable logs; built when missing."""
    rules: str = "general"
    """general, full (every tool), or embedded for small models."""
    judge: str = "offline"
    task: InvestigationTaskConfig = InvestigationTaskConfig()


def _of(data: Any) -> Investigations:
    return opened(data.scenarios, data.database, data.rules, data.judge)


class Tools(vf.Toolset[vf.ToolsetConfig]):
    """The tools of one incident over MCP."""

    TOOL_PREFIX = None

    async def setup_task(self, task: Any) -> None:
        """Open the logs of this task's incident."""
        self.tools = _of(task).tools(task.id)

    def register(self, mcp: Any) -> None:
        """Offer each tool, and the final answer, under its own name and schema."""
        for tool in self.tools:
            called = _with_parameters(partial(shown, tool), tool.arguments)
            mcp.add_tool(called, name=tool.name, description=tool.description)
        answer = _with_parameters(_ended, Report)
        mcp.add_tool(answer, name=FINAL_ANSWER, description="End the investigation with your report.")


def _with_parameters(work: Callable[..., Awaitable[str]], arguments: type[BaseModel]) -> Any:
    """A function with the parameters of these arguments, which MCP makes a schema of."""

    async def called(**given: Any) -> str:
        return await work(given)

    called.__signature__ = signature(arguments)  # type: ignore[attr-defined]
    return called


async def _ended(report: dict[str, Any]) -> str:
    return ENDED


class InvestigationTask(vf.Task[InvestigationData, vf.State, InvestigationTaskConfig]):
    """One incident to investigate."""

    @classmethod
    def toolsets(cls, config: InvestigationTaskConfig) -> list[vf.Toolset]:
        """Return the tools where they are asked for; our own harness calls them itself."""
        return [Tools(vf.ToolsetConfig())] if config.tools else []

    async def finalize(self, trace: Any, runtime: Any) -> None:
        """Score what another harness has led by replaying it. Raises JudgeError,
        and then nothing is scored.
        """
        if EPISODE not in trace.info:
            policy = trace.agent.model or ""
            note(trace, await _of(self.data).replay(str(self.data.id), replies(trace), policy=policy))

    @vf.stop
    async def answered(self, trace: vf.Trace) -> bool:
        """A report was given that can be read; one that cannot may be put right in the next turn."""
        return any(_reports(call) for reply in replies(trace) for call in reply.tool_calls)

    @vf.reward
    async def investigation(self, trace: vf.Trace) -> float:
        """The reward of the outcome; its components are metrics."""
        return float(trace.info[EPISODE]["reward"])

    @vf.metric
    async def facts(self, trace: vf.Trace) -> dict[str, float]:
        """Every fact of the outcome and every component of the reward."""
        return metrics(Episode.model_validate(trace.info[EPISODE]))


def replies(trace: Any) -> list[ChatReply]:
    """What the policy said, in order."""
    spoken = trace.branches[-1].messages if trace.branches else []
    return [_reply(message) for message in spoken if message.role == "assistant"]


def _reply(message: Any) -> ChatReply:
    calls = tuple(
        ToolCall(id=call.id, name=call.name, arguments=call.arguments) for call in message.tool_calls or ()
    )
    return ChatReply(content=message.content, tool_calls=calls)


def _reports(call: ToolCall) -> bool:
    try:
        return call.name == FINAL_ANSWER and bool(Report.model_validate_json(call.arguments))
    except ValidationError:
        return False


def note(trace: Any, episode: Episode) -> None:
    """Keep the episode with the trace, which the reward and the metrics read. The
    messages are there already.
    """
    trace.info[EPISODE] = {**episode.model_dump(mode="json"), "messages": []}


class InvestigationTaskset(vf.Taskset[InvestigationTask, InvestigationConfig]):
    """The scenarios of a folder, in order."""

    def load(self) -> Iterator[InvestigationTask]:
        """Give one task per scenario."""
        config = self.config
        named = {name: getattr(config, name) for name in ("scenarios", "database", "rules", "judge")}
        with told():
            place = opened(**named)
            for scenario_id in place.paths:
                system, user = (message["content"] for message in place.opening(scenario_id))
                data = InvestigationData(id=scenario_id, prompt=user, system_prompt=system, **named)
                yield InvestigationTask(data, config.task)


class InvestigationHarness(vf.Harness[vf.HarnessConfig]):
    """Plays an episode in this process; every call of the model goes through verifiers."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_MCP = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: Any,
        trace: Any,
        runtime: Any,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: Any,
        **_: Any,
    ) -> ProgramResult:
        """Investigate. A provider or a judge that fails raises, and verifiers counts an errored rollout."""
        place = _of(data)
        async with AsyncOpenAI(base_url=endpoint, api_key=secret) as client:
            chat = openai_chat(client, ctx.model, place.config)
            episode = await place.play(str(data.id), chat, policy=ctx.model)
        note(trace, episode)
        if trace.stop_condition in (None, "answered"):
            trace.stop(str(episode.outcome.ending))
        return ProgramResult(exit_code=0, stdout="", stderr="")

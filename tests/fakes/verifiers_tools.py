"""A program for tests, run where verifiers is installed: another harness than ours, as far as it concerns us.

The tools of a task are served over MCP and called, and a conversation that such a harness has led is scored.

    python -m tests.fakes.verifiers_tools FOLDER DATABASE CASE
"""

from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

import verifiers.v1 as vf
from mcp.client import Client
from mcp.server.mcpserver import MCPServer

from log_investigator_env import InvestigationTaskset
from log_investigator_env.verifiers_taskset import (
    InvestigationConfig,
    InvestigationTask,
    InvestigationTaskConfig,
    Tools,
)
from tests.fakes.openai_server import completion
from tests.log_investigator_env.cases import by_case


async def main(folder: str, database: str, case: str) -> None:
    """Print the tools, what they said, and the score."""
    config = InvestigationConfig(scenarios=folder, database=database, rules="embedded")
    [task] = [each for each in InvestigationTaskset(config) if each.data.id == case]
    server, toolset = MCPServer("tools"), Tools(vf.ToolsetConfig())
    await toolset.setup_task(task.data)
    toolset.register(server)
    async with Client(server) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        said, texts = await conversation(client, case)
    trace: Any = SimpleNamespace(
        info={}, branches=[SimpleNamespace(messages=said)], agent=SimpleNamespace(model="m")
    )
    await task.finalize(trace, None)
    told = {"tools": names, "texts": texts, "reward": await task.investigation(trace)}
    served = [type(each).__name__ for each in InvestigationTask.toolsets(InvestigationTaskConfig(tools=True))]
    print(json.dumps({**told, "facts": await task.facts(trace), "served": served, "info": trace.info}))


async def conversation(client: Any, case: str) -> tuple[list[Any], list[str]]:
    """Lead a conversation as a chat program does: until a reply calls nothing or has answered."""
    said, texts = [], list[str]()
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"case {case}"}]
    while not texts or "has ended" not in texts[-1]:
        body = {"messages": messages}
        message = completion(by_case(body), body)["choices"][0]["message"]
        messages.append({"role": "assistant"})
        calls = [{"id": call["id"], **call["function"]} for call in message.get("tool_calls") or []]
        said.append(vf.AssistantMessage(content=message["content"], tool_calls=calls or None))
        if not calls:
            break
        for call in calls:
            result = await client.call_tool(call["name"], json.loads(call["arguments"]))
            texts.append(result.content[0].text)
    return said, texts


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""A program for tests, run where openenv is installed: plays the cases against a server
with OpenEnv's own client.

python -m tests.fakes.openenv_player http://127.0.0.1:PORT CASE...
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from openenv import GenericEnvClient

from tests.fakes.openai_server import completion
from tests.log_investigator_env.cases import by_case


def actions(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the scripted policy says next, an action for each call."""
    message = completion(by_case({"messages": messages}), {"messages": messages})["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls") or []]
    said = [{"tool": call["name"], "arguments": _object(call["arguments"])} for call in calls]
    messages.append({"role": "assistant"})
    return said or [{"text": message["content"]}]


def _object(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


async def play(url: str, case: str) -> dict[str, Any]:
    """Play one episode; returns its reward, its outcome and the states on the way."""
    async with GenericEnvClient(base_url=url) as client:
        result = await client.reset(scenario_id=case)
        messages, states = list(result.observation["messages"]), [await client.state()]
        while not result.done:
            for action in actions(messages):
                result = await client.step(action)
        states.append(await client.state())
        shown = result.observation
        return {
            "case": case,
            "reward": result.reward,
            "outcome": shown["outcome"],
            "components": shown["components"],
            "states": states,
        }


async def main(url: str, cases: list[str]) -> None:
    """Play the cases at the same time, each in a session of its own."""
    print(json.dumps(await asyncio.gather(*(play(url, case) for case in cases))))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))

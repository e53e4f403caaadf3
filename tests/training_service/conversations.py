"""Trajectories sampled from an engine, as a rollout would: a few turns with a
tool result after each reply.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.training_service.random_model import TOOLS
from training_service.engine import Engine
from training_service.wire import ChatRequest

Json = dict[str, Any]
ASK: Json = {"role": "user", "content": "checkout is failing since about 14:05"}


def request(*messages: Json, **options: Any) -> ChatRequest:
    """A chat request of a client, checked as the server checks it."""
    return ChatRequest.model_validate(
        {"model": "m", "messages": list(messages), "max_completion_tokens": 12, **options}
    )


async def conversation(engine: Engine, checkpoint: Path, seed: int, turns: int = 3, **options: Any) -> Json:
    """One trajectory; its reward is how often the letter e was written."""
    messages, entries = [ASK], [ASK]
    letters = 0
    for turn in range(turns):
        reply = await engine.complete(
            checkpoint, request(*messages, tools=TOOLS, seed=100 * seed + turn, **options)
        )
        choice = reply["choices"][0]
        shown = {"role": "tool", "content": "14:05:33 ERROR orders log 3fa2", "tool_call_id": "a"}
        messages = [*messages, choice["message"], shown]
        entries = [*entries, choice, shown]
        letters += sum("e" in item["token"] for item in choice["logprobs"]["content"])
    return {
        "messages_and_choices": entries,
        "tools": TOOLS,
        "reward": float(letters),
        "additional_histories": [],
    }


async def sampled_group(
    engine: Engine, checkpoint: Path, size: int = 8, first_seed: int = 0, **options: Any
) -> Json:
    """A group of trajectories of the same question, sampled together."""
    rollouts = [conversation(engine, checkpoint, first_seed + seed, **options) for seed in range(size)]
    return {"trajectories": list(await asyncio.gather(*rollouts))}


def choices(group: Json) -> list[Json]:
    """Every choice of a group."""
    return [
        entry
        for trajectory in group["trajectories"]
        for entry in trajectory["messages_and_choices"]
        if "token_ids" in entry
    ]


def teaching(group: Json) -> list[Json]:
    """The choices of trajectories whose reward differs from the group's mean: only those are trained on."""
    rewards = [trajectory["reward"] for trajectory in group["trajectories"]]
    mean = sum(rewards) / len(rewards)
    return choices(
        {"trajectories": [trajectory for trajectory in group["trajectories"] if trajectory["reward"] != mean]}
    )

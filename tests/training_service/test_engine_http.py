"""Through the whole service, over HTTP: sampled with an ordinary client, trained, sampled again from the new
checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.serving.child_service import ChildService
from tests.training_service.conversations import ASK, choices, teaching
from tests.training_service.random_model import TOOLS, write_random_model

pytestmark = pytest.mark.slow

Json = dict[str, Any]
SHOWN = {"role": "tool", "content": "14:05:33 ERROR orders log 3fa2", "tool_call_id": "a"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    folder = write_random_model(tmp_path / "random")
    options = ["--base-models", f"random={folder}", "--device", "cpu", "--precision", "float32"]
    service = ChildService(tmp_path / "data", tmp_path / "log", options=options)
    await service.start()
    async with httpx.AsyncClient(
        base_url=service.url, headers={"Authorization": "Bearer local"}, timeout=60
    ) as client:
        yield client
    await service.stop()


async def post(client: httpx.AsyncClient, path: str, body: Json) -> Json:
    reply = await client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    found: Json = reply.json()
    return found


async def rollout(client: httpx.AsyncClient, model: str, seed: int) -> Json:
    """Three turns; messages travel as text, choices come back whole."""
    messages, entries = [ASK], [ASK]
    for turn in range(3):
        body = {
            "model": model,
            "messages": messages,
            "tools": TOOLS,
            "seed": 10 * seed + turn,
            "max_completion_tokens": 12,
        }
        choice = (await post(client, "/v1/chat/completions", body))["choices"][0]
        messages, entries = [*messages, choice["message"], SHOWN], [*entries, choice, SHOWN]
    return {
        "messages_and_choices": entries,
        "tools": TOOLS,
        "reward": float(seed % 3),
        "additional_histories": [],
    }


async def finished(client: httpx.AsyncClient, job: str) -> list[Json]:
    """All events of a job, once it has ended."""
    async with asyncio.timeout(120):
        while True:
            events: list[Json] = (await client.get(f"/v1/preview/training-jobs/{job}/events")).json()["data"]
            if events and events[-1]["type"] in {"training_ended", "training_failed"}:
                return events
            await asyncio.sleep(0.05)


async def test_new_and_old_logprobs_agree_through_the_round_trip(client: httpx.AsyncClient) -> None:
    body = {"entity": "e", "project": "p", "name": "m", "base_model": "random", "return_existing": True}
    model = (await post(client, "/v1/preview/models", body))["id"]
    name = "wandb-artifact:///e/p/m"
    trajectories = await asyncio.gather(*(rollout(client, name, seed) for seed in range(8)))
    group = {"trajectories": list(trajectories)}
    for trajectory in trajectories:
        first, second, _ = choices({"trajectories": [trajectory]})
        known = first["prompt_token_ids"] + first["token_ids"]
        assert second["prompt_token_ids"][: len(known)] == known
    config = {"learning_rate": 0.01, "ppo": None}
    order = {"model_id": model, "trajectory_groups": [group], "experimental_config": config}
    events = await finished(client, (await post(client, "/v1/preview/training-jobs", order))["id"])
    assert [event["type"] for event in events] == ["training_started", "gradient_step", "training_ended"]
    metrics = events[1]["data"]
    assert metrics["logprob_drift"] <= 1e-3
    assert metrics["num_trainable_tokens"] == sum(len(choice["token_ids"]) for choice in teaching(group))
    checkpoints = (await client.get(f"/v1/preview/models/{model}/checkpoints?order=desc&limit=1")).json()[
        "data"
    ]
    assert checkpoints[0]["step"] == 1
    assert checkpoints[0]["metrics"]["logprob_drift"] <= 1e-3
    asked = {"messages": [ASK], "seed": 1, "max_completion_tokens": 12}
    before, after, latest = [
        (await post(client, "/v1/chat/completions", {"model": model_name, **asked}))["choices"][0][
            "token_ids"
        ]
        for model_name in (f"{name}:step0", f"{name}:step1", name)
    ]
    assert before != after == latest


async def test_a_prompt_beyond_the_context_is_openais_error_over_http(client: httpx.AsyncClient) -> None:
    body = {"model": "random", "messages": [{"role": "user", "content": "disk " * 600}]}
    reply = await client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"

"""Everything real: ART's client, HTTP, the engine and a random model. Sampled, trained, killed, and trained
on.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.art_client import ArtClient, ClientRaised
from tests.fakes.art_clients import art_pythons
from tests.training_service.random_model import TOOLS, write_random_model
from tests.training_service.service_process import ServiceProcess

Json = dict[str, Any]
pytestmark = pytest.mark.slow


async def rollout(art: ArtClient, seed: int) -> Json:
    """Two turns through the client that ART makes, kept as ART keeps them: messages and whole choices."""
    turns: list[Json] = [{"role": "user", "content": "checkout is failing since about 14:05"}]
    messages = list(turns)
    for turn in range(2):
        options = {"tools": TOOLS, "seed": 10 * seed + turn, "max_completion_tokens": 12}
        reply = await art.do("chat", model="policy", messages=messages, **options)
        choice = reply["choices"][0]
        shown = {"role": "tool", "content": "14:05:33 ERROR orders log 3fa2", "tool_call_id": "a"}
        turns += [choice, shown]
        messages += [{"role": "assistant", "content": choice["message"]["content"]}, shown]
    return {"reward": float(seed % 3), "turns": turns}


async def step(art: ArtClient, seed: int) -> Json:
    trajectories = await asyncio.gather(*(rollout(art, seed + number) for number in range(6)))
    result: Json = await art.do(
        "train", model="policy", groups=[{"trajectories": trajectories}], options={"learning_rate": 1e-3}
    )
    return result


async def greedy(art: ArtClient, at: int | None = None) -> list[int]:
    messages = [{"role": "user", "content": "what broke?"}]
    reply = await art.do(
        "chat", model="policy", messages=messages, step=at, temperature=0, max_completion_tokens=12
    )
    tokens: list[int] = reply["choices"][0]["token_ids"]
    return tokens


@pytest.mark.parametrize("python", art_pythons())
async def test_art_trains_a_model_across_a_kill(tmp_path: Path, python: str) -> None:
    base = write_random_model(tmp_path / "random")
    options = ("--base-models", f"random={base}", "--device", "cpu", "--precision", "float32")
    with ServiceProcess(tmp_path / "data", *options, module="training_service") as service:
        async with ArtClient(service.url, tmp_path / "art", python) as art:
            await art.do("register", model="policy", base_model="random")
            for seed in (0, 6):
                result = await step(art, seed)
                assert result["metrics"]["logprob_drift"] <= 1e-3, (
                    "training sees exactly the tokens that were sampled"
                )
            assert result["step"] == 2
            before = await greedy(art), await greedy(art, 1)
            port = service.url.rpartition(":")[2]
            service.kill()
            service.start("--port", port)
            assert (await greedy(art), await greedy(art, 1)) == before
            assert (await step(art, 12))["step"] == 3
            with pytest.raises(ClientRaised, match="context_length_exceeded"):
                await art.do("chat", model="policy", messages=[{"role": "user", "content": "disk " * 600}])

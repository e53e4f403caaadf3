"""The real `art.serverless.ServerlessBackend`, driven from a test through a process of its own.

It is a process of its own because importing art patches transformers, which other tests use. The child reads
one JSON command a line and answers with one JSON line; the parent's half is `ArtClient`. A command names one
of the functions of `Commands`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from core.art_versions import model_names

START_S, ANSWER_S = 300.0, 300.0
"""Importing art alone takes minutes on a busy machine."""
LINE_BYTES = 64 << 20


class ClientRaised(Exception):
    """What the client raised, as 'Type: message'."""


class ArtClient:
    """Parent's half: `await client.do("train", model="m", ...)`. Commands run side by side in the child."""

    def __init__(self, url: str, folder: Path, python: str = sys.executable) -> None:
        self._command = [python, "-m", "tests.fakes.art_client", f"{url}/v1", str(folder)]
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def __aenter__(self) -> ArtClient:
        environment = {name: value for name, value in os.environ.items() if name != "WANDB_API_KEY"}
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        self._reader = asyncio.create_task(self._read())
        async with asyncio.timeout(START_S):
            await self.do("hello")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, trouble: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        await self._process.wait()
        await self._reader

    async def do(self, name: str, **arguments: Any) -> Any:
        """Run a command in the child. Raises ClientRaised for what it raised there."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([number, name, arguments]).encode() + b"\n")
        async with asyncio.timeout(ANSWER_S):
            return await self._waiting[number]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if not line.startswith(b"answer "):
                continue
            number, result, trouble = json.loads(line.removeprefix(b"answer "))
            if trouble is None:
                self._waiting[number].set_result(result)
            else:
                self._waiting[number].set_exception(ClientRaised(trouble))


class Commands:
    """Child's half: each coroutine is a command, its result is JSON. A trajectory is a message and a reward,
    or whole.
    """

    def __init__(self, url: str, folder: Path) -> None:
        import art

        os.environ.pop("WANDB_API_KEY", None)  # importing art reads .env files
        self._art, self._url, self._folder = art, url, folder
        self._models: dict[str, Any] = {}
        self._connect("local")

    def _connect(self, key: str) -> None:
        self._backend = self._art.ServerlessBackend(api_key=key, base_url=self._url)

    async def hello(self) -> str:
        """Say which ART this is."""
        return version("openpipe-art")

    async def connect(self, key: str) -> None:
        """Talk with another key from here on."""
        await self._backend.close()
        self._connect(key)

    async def register(
        self, model: str, base_model: str = "tiny-investigator", project: str = "tests"
    ) -> dict[str, Any]:
        made = self._art.TrainableModel(
            **model_names(model), project=project, base_model=base_model, base_path=str(self._folder)
        )
        await made.register(self._backend)
        self._models[model] = made
        return {"id": made.id, "entity": made.entity, "run_id": made.run_id}

    async def get_step(self, model: str) -> int:
        return int(await self._models[model].get_step())

    async def inference_name(self, model: str, step: int | None = None) -> str:
        return str(self._models[model].get_inference_name(step))

    async def chat(
        self, model: str, messages: list[dict[str, Any]], step: int | None = None, **options: Any
    ) -> dict[str, Any]:
        """One completion through the client ART makes; the whole reply, unknown fields included."""
        name = self._models[model].get_inference_name(step)
        client = self._models[model].openai_client()
        reply = await client.chat.completions.create(model=name, messages=messages, **options)
        return dict(reply.model_dump(mode="json"))

    async def train(
        self, model: str, groups: list[dict[str, Any]], options: dict[str, Any]
    ) -> dict[str, Any]:
        """Groups are `{"metadata": {...}, "trajectories": [{"reward": 1, "turns": [message or choice, ...]},
        ...]}`.
        """
        made = [self._group(group) for group in groups]
        result = await self._backend.train(self._models[model], made, **options)
        return {"step": result.step, "metrics": result.metrics, "artifact_name": result.artifact_name}

    async def delete_checkpoints(self, model: str, keep: list[int]) -> None:
        await self._backend._delete_checkpoint_files(self._models[model], keep)

    async def steps(self, model: str) -> list[int]:
        pages = self._backend._client.models.checkpoints.list(model_id=self._models[model].id)
        return [checkpoint.step async for checkpoint in pages]

    async def delete(self, model: str) -> None:
        await self._backend.delete(self._models[model])

    def _group(self, group: dict[str, Any]) -> Any:
        from openai.types.chat.chat_completion import Choice

        trajectories = []
        for given in group["trajectories"]:
            turns = [
                Choice.model_validate(turn) if "finish_reason" in turn else turn for turn in given["turns"]
            ]
            trajectories.append(self._art.Trajectory(messages_and_choices=turns, reward=given["reward"]))
        return self._art.TrajectoryGroup(trajectories, metadata=group.get("metadata", {}))


async def _answer(commands: Commands, number: int, name: str, arguments: dict[str, Any], out: Any) -> None:
    task = asyncio.ensure_future(getattr(commands, name)(**arguments))
    await asyncio.wait({task})
    trouble = task.exception()
    said = None if trouble is None else f"{type(trouble).__name__}: {trouble}"
    print("answer", json.dumps([number, None if trouble else task.result(), said]), file=out, flush=True)


async def _serve(url: str, folder: str) -> None:
    out, sys.stdout = sys.stdout, sys.stderr  # art prints, too
    commands = Commands(url, Path(folder))
    running: set[asyncio.Task[None]] = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        number, name, arguments = json.loads(line)
        task = asyncio.create_task(_answer(commands, number, name, arguments, out))
        running.add(task)
        task.add_done_callback(running.discard)


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))

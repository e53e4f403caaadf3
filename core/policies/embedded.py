"""Reaches a model of the training service: asks a running one, or starts one for as long as it is needed.

The service is another process and another room; this module knows its command line, the line it prints when
it listens, and the calls an ordinary client makes. It trains nothing and creates no model.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from core.serving.listening import LISTENING
from project_types import ConfigurationError

STARTS_WITHIN_S = 300.0
STOPS_WITHIN_S = 40.0


class Access(NamedTuple):
    """How to reach a model that is not code."""

    base_url: str | None
    """A server that already runs: http://HOST:PORT/v1."""
    api_key: str
    data: Path
    """Where the training service keeps its models, when it has to be started."""
    project: str
    base_model: str
    """What that service is started with: a shipped name, or NAME=FOLDER."""


class Served(NamedTuple):
    """One checkpoint of one model, and where it answers."""

    base_url: str
    model: str
    """NAME@stepN, or the name of a base model."""


@asynccontextmanager
async def served(asked: str, access: Access) -> AsyncIterator[Served]:
    """The model that NAME or NAME@stepN means, pinned to one checkpoint, for as long as the block lasts.

    Raises:
        ConfigurationError: the service cannot be reached or started, or has no such model or step.
    """
    name, _, step = asked.partition("@step")
    if not access.base_url and not access.data.is_dir():
        _base_model(
            name, step, [], access
        )  # nothing was ever trained there: say so before a service makes the folder
    async with _service(access) as base_url:
        yield Served(base_url, await _pinned(base_url, name, step, access))


async def _pinned(base_url: str, name: str, step: str, access: Access) -> str:
    """The name of the checkpoint, at the step that is the model's latest now. A base model has no step."""
    import httpx

    headers = {"Authorization": f"Bearer {access.api_key}"}
    try:
        async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=60, trust_env=False) as http:
            reply = await http.get("preview/models")
            reply.raise_for_status()
            known = [model for model in reply.json()["data"] if model["project"] == access.project]
            found = next((model for model in known if model["name"] == name), None)
            if found is None:
                return _base_model(name, step, sorted(model["name"] for model in known), access)
            if step:
                return f"{name}@step{int(step)}"
            latest = await http.get(f"preview/models/{found['id']}")
            latest.raise_for_status()
            return f"{name}@step{int(latest.json()['latest_step'])}"
    except httpx.InvalidURL as trouble:
        raise ConfigurationError(
            f"--base-url {base_url}: {trouble}; write http://127.0.0.1:PORT/v1"
        ) from trouble
    except httpx.HTTPStatusError as trouble:
        status = trouble.response.status_code
        raise ConfigurationError(
            f"{base_url}: HTTP {status}: {trouble.response.text[:200]}; check --api-key"
        ) from trouble
    except httpx.HTTPError as trouble:
        raise ConfigurationError(
            f"{base_url}: no training service answers ({trouble!r}); check --base-url"
        ) from trouble
    except (KeyError, TypeError, ValueError) as trouble:
        raise ConfigurationError(
            f"{base_url}: does not speak the training service's protocol ({trouble!r})"
        ) from trouble


def _base_model(name: str, step: str, known: list[str], access: Access) -> str:
    if name == access.base_model.partition("=")[0] and not step:
        return name
    there = f"it has {', '.join(known[:10])}" if known else "it has no model yet"
    raise ConfigurationError(
        f"embedded:{name}: the service has no such model in project {access.project!r} ({there}); "
        f"make train NAME={name} trains one, embedded:{access.base_model.partition('=')[0]} is the base model"
    )


@asynccontextmanager
async def _service(access: Access) -> AsyncIterator[str]:
    """The base URL of a running service, or of one started here that ends with the block."""
    if access.base_url:
        yield access.base_url
        return
    with tempfile.TemporaryDirectory(prefix="evaluation-") as folder:
        log = Path(folder) / "service.log"
        process = _start(access, log)
        try:
            yield await _listening(process, log) + "/v1"
        finally:
            await asyncio.to_thread(_stop, process)


def _start(access: Access, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "training_service", "serve", "--data", str(access.data), "--port", "0"]
    command += ["--base-models", access.base_model, "--parent-pid", str(os.getpid())]
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_API_KEY"}
    environment |= {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "TRAINING_SERVICE_TOKEN": access.api_key}
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )


async def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    """Its address, once it says so. Raises ConfigurationError with its last words when it ends or takes too
    long.
    """
    try:
        async with asyncio.timeout(STARTS_WITHIN_S):
            while True:
                said = await asyncio.to_thread(log.read_text, encoding="utf-8", errors="replace")
                if found := LISTENING.search(said):
                    return found[1]
                if process.poll() is not None:
                    raise ConfigurationError(
                        f"the training service ended while starting:\n{said[-1500:].strip()}"
                    )
                await asyncio.sleep(0.05)
    except TimeoutError as trouble:
        raise ConfigurationError(
            f"the training service was not ready within {STARTS_WITHIN_S:.0f} s"
        ) from trouble


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

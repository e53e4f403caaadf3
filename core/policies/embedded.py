"""`embedded:NAME[@stepN]`: a model of the training service, pinned to one checkpoint while it plays.

A running service is asked, or one is started for as long as it is needed. This module knows the calls that an
ordinary client makes. It trains nothing and creates no model.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from core.policies.contract import Access, Policy
from core.policies.openai import connected, openai_chat
from core.serving.child_service import ChildService
from project_types import Chat, ConfigurationError, EpisodeConfig

if TYPE_CHECKING:
    import httpx

FREE_WITHIN_S = 20.0
"""How long to wait for a service that still holds the folder: one that was just told to stop is saving."""


class Served(NamedTuple):
    """One checkpoint of one model, and where it answers."""

    base_url: str
    model: str
    """NAME@stepN, or the name of a base model."""


@asynccontextmanager
async def opened(name: str, config: EpisodeConfig, seed: int, access: Access) -> AsyncIterator[Policy]:
    """The model, for as long as the block lasts; its dice depend on seed, scenario and sample.

    Raises:
        ConfigurationError: the service cannot be reached, or has no such model or step.
        ServiceError: the service does not start.
    """
    async with served(name, access) as (base_url, model), connected(base_url, access, config) as client:

        def chat(scenario_id: str, sample: int) -> Chat:
            digest = sha256(f"{seed}:{scenario_id}:{sample}".encode()).digest()
            return openai_chat(client, model, config, seed=int.from_bytes(digest[:4]) >> 1)

        yield Policy(f"embedded:{model}", chat)


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
            return await _checkpoint(http, name, step, access)
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


async def _checkpoint(http: httpx.AsyncClient, name: str, step: str, access: Access) -> str:
    """Ask the service which checkpoint is meant. Raises httpx.HTTPError, and KeyError
    and its kin for odd replies.
    """
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
    with tempfile.TemporaryDirectory(prefix="embedded-") as folder:
        service = ChildService(
            access.data,
            Path(folder) / "service.log",
            options=("--base-models", access.base_model),
            token=access.api_key,
            free_s=FREE_WITHIN_S,
        )
        try:
            await service.start()
            yield f"{service.url}/v1"
        finally:
            await service.stop()

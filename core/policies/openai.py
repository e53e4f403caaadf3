"""`openai:MODEL`: a policy behind any OpenAI-compatible server, or several, reached with --base-url.

Trained models are asked through `openai_chat` too. The server is not the training service: no checkpoint is
pinned and no seed is sent (`core.policies.embedded` does both).
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from core.model_calls import PATIENCE, Patience
from core.policies.addresses import Pool, addresses
from core.policies.contract import Access, Policy
from core.policies.providers import ProviderChat
from project_types import Chat, ConfigurationError, EpisodeConfig

if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_RULES = EpisodeConfig()
SESSION = "X-Session-ID"
"""Header that keeps an episode's calls together: routers in front of several engines send them to the one
that has the conversation in its cache (SkyRL's router, vLLM's consistent hashing).
"""

MOST_CONNECTIONS = 1000
"""To one server at once; httpx would stop at 100 and keep 20 of them."""


def openai_chat(
    client: AsyncOpenAI,
    model_name: str,
    config: EpisodeConfig = DEFAULT_RULES,
    patience: Patience = PATIENCE,
    **options: Any,
) -> Chat:
    """A policy behind an OpenAI-compatible server, for one episode; `ChatReply.raw` is the openai Choice.

    `options` (seed, ...) are sent along. All calls carry one `X-Session-ID`, fresh for each chat.
    """
    session = uuid.uuid4().hex
    create = untransformed(_hasty(client, config))
    return ProviderChat(create, model_name, config, patience, _with_session(options, session))


def pooled_chat(pool: Pool, model_name: str, config: EpisodeConfig) -> Chat:
    """Like `openai_chat`, behind several servers."""
    session = uuid.uuid4().hex
    return ProviderChat(pool.create(session), model_name, config, PATIENCE, _with_session({}, session))


def untransformed(client: AsyncOpenAI) -> Callable[..., Awaitable[Any]]:
    """Return the client's `create`, which sends messages and tools as they are.

    The client would hold each message against every type a message may have, for keys that are written
    otherwise in Python. There are none, and it is half of a call's processor time.
    """
    completions = client.chat.completions

    async def create(**request: Any) -> Any:
        as_they_are = {name: request.pop(name) for name in ("messages", "tools") if name in request}
        return await completions.create(messages=[], extra_body=as_they_are, **request)

    return create


def _hasty(client: AsyncOpenAI, config: EpisodeConfig) -> AsyncOpenAI:
    """Return the client without its own retries, which would multiply ours. A copy
    is made where it has some.
    """
    if client.max_retries == 0 and client.timeout == config.provider_timeout_s:
        return client
    return client.with_options(max_retries=0, timeout=config.provider_timeout_s)


def _with_session(options: dict[str, Any], session: str) -> dict[str, Any]:
    return {"extra_headers": {SESSION: session}, **options}


@asynccontextmanager
async def connected(base_url: str, access: Access, config: EpisodeConfig) -> AsyncIterator[AsyncOpenAI]:
    """A client of this server. No proxy of the environment stands before it."""
    import httpx
    from openai import AsyncOpenAI

    many = httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS)
    timeout = config.provider_timeout_s
    async with httpx.AsyncClient(trust_env=False, timeout=timeout, limits=many) as transport:
        reach: dict[str, Any] = {"base_url": base_url, "api_key": access.api_key, "timeout": timeout}
        yield AsyncOpenAI(**reach, max_retries=0, http_client=transport)


@asynccontextmanager
async def opened(name: str, config: EpisodeConfig, seed: int, access: Access) -> AsyncIterator[Policy]:
    """The model, for as long as the block lasts."""
    if not access.base_url:
        raise ConfigurationError(
            f"--policy openai:{name} needs --base-url URL, the server that has the model"
        )
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connected(url, access, config))
            for url in addresses(access.base_url)
        ]
        if len(clients) == 1:
            yield Policy(f"openai:{name}", lambda scenario_id, sample: openai_chat(clients[0], name, config))
        else:
            pool = Pool([_hasty(client, config) for client in clients])
            yield Policy(f"openai:{name}", lambda scenario_id, sample: pooled_chat(pool, name, config))

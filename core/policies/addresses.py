"""Several servers of one model: an episode stays at one, and moves on when that one fails.

Which server an episode gets follows from its session, so that its calls meet the cache that has its
conversation, and so that each server gets its share (rendezvous hashing: Thaler and Ravishankar, 1998). A
server that cannot be reached, or answers with 5xx, rests. Then it is asked for its models, and takes part
again once it answers.

Not here: how often a call is tried again (`core.model_calls`). A failed call raises as it would without a
pool, and the next attempt goes to another server.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from project_types import ConfigurationError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0
HEALTH_TIMEOUT_S = 5.0


def addresses(base_url: str) -> list[str]:
    """Split what --base-url says at its commas. Raises ConfigurationError when that leaves none."""
    found = [part.strip() for part in base_url.split(",") if part.strip()]
    if not found:
        raise ConfigurationError(
            f"--base-url {base_url!r}: write http://HOST:PORT/v1, or several with commas"
        )
    return found


class Server:
    """One server of the pool, and whether it rests."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self.client = client
        self.name = str(client.base_url)
        self._failures = 0
        self._rests_until = 0.0

    @property
    def rests(self) -> bool:
        """Whether it failed a moment ago."""
        return time.monotonic() < self._rests_until

    def fail(self) -> None:
        """Let it rest: a second, and twice as long each time it fails again."""
        rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2**self._failures)
        self._failures += 1
        self._rests_until = time.monotonic() + rest_s

    async def healthy(self) -> bool:
        """Whether it may be asked: it never failed, or it answers again."""
        import openai

        if not self._failures:
            return True
        try:
            await self.client.models.list(timeout=HEALTH_TIMEOUT_S)
        except openai.APIStatusError as trouble:
            if trouble.status_code >= 500:
                self.fail()
                return False  # a server that refuses this path answers all the same
        except openai.APIError:
            self.fail()
            return False
        self._failures = 0
        return True


class Pool:
    """Servers that are asked as one."""

    def __init__(self, clients: Sequence[AsyncOpenAI]) -> None:
        self._servers = [Server(client) for client in clients]

    def create(self, session: str) -> Callable[..., Awaitable[Any]]:
        """Return the `create` of an episode: its calls go to the session's server while that answers."""
        preferred = sorted(self._servers, key=lambda server: _weight(session, server.name), reverse=True)

        async def create(**request: Any) -> Any:
            import openai

            server = await _first_healthy(preferred)
            try:
                return await server.client.chat.completions.create(**request)
            except (openai.APIConnectionError, asyncio.CancelledError):  # the caller's time limit cancels
                server.fail()
                raise
            except openai.APIStatusError as trouble:
                if trouble.status_code >= 500:
                    server.fail()
                raise

        return create


async def _first_healthy(preferred: Sequence[Server]) -> Server:
    """Return the first that may be asked; the most preferred when none may, so that its failure is told."""
    for server in preferred:
        if not server.rests and await server.healthy():
            return server
    return preferred[0]


def _weight(session: str, server: str) -> bytes:
    return hashlib.sha256(f"{session} {server}".encode()).digest()

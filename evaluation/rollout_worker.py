"""What a worker on some machine does: check that it may play, open the policy, play units in its process.

A worker reads the database of its own machine. It refuses to play when that is another file than the
driver's, or when its code is another revision: its episodes would not compare with the others. What a worker
raises on purpose is handed back as a value, because an exception that crosses a cluster arrives as something
else.

Nothing here knows Ray (`ray_executor`).
"""

from __future__ import annotations

import asyncio
import platform
from contextlib import AsyncExitStack
from pathlib import Path

from core.files import sha256_of
from core.log_stores.pinned import PinnedDatabase
from core.policies.contract import Access, Policy
from core.policies.registry import PolicyName, opened, parse
from core.revision import code_digest
from evaluation.rollout_executor import InProcess, Rolled, Unit
from make_judge_model import load_judge
from project_types import (
    Chat,
    ConfigurationError,
    DatabaseError,
    EpisodeConfig,
    Frozen,
    InvestigatorError,
)

KEPT_POLICIES = 4
"""Opened policies that are kept: a training run moves on to the next checkpoint and leaves the last one."""


class Site(Frozen):
    """What every worker of a run is told once."""

    code: str
    """Digest of the driver's code (`core.revision.code_digest`)."""
    database: Path
    """Where each machine has logs.db."""
    database_sha256: str
    judge: str
    seed: int
    access: Access
    kind: str = ""
    """Kind of the policies, where units name them without it."""
    choices: bool = False
    """Whether a trainer needs the replies as the provider gave them."""


class RolloutWorker:
    """Plays units for a driver."""

    def __init__(self, site: Site) -> None:
        self._site, self._lock = site, asyncio.Lock()
        self._player: InProcess | None = None
        self._policies: dict[tuple[str, EpisodeConfig], tuple[Policy, AsyncExitStack]] = {}

    async def play(self, unit: Unit) -> Rolled | InvestigatorError:
        """Play a unit, or say why not."""
        try:
            async with self._lock:
                self._player = player = self._player or self._begun()
                await self._open(unit)
            rolled = await player.play(unit)
        except InvestigatorError as trouble:
            return trouble
        return rolled if self._site.choices else Rolled(rolled.episode)

    def _begun(self) -> InProcess:
        """Check what must be the same everywhere. Raises ConfigurationError, DatabaseError."""
        site, here = self._site, platform.node()
        if (code := code_digest()) != site.code:
            raise ConfigurationError(
                f"worker on {here}: its code is another revision ({code}, the driver has {site.code}); "
                "check out the same revision there, and start ray on that machine again"
            )
        database = PinnedDatabase(site.database)
        if sha256_of(site.database) != site.database_sha256:
            raise DatabaseError(
                f"worker on {here}: {site.database} is another file than the driver's; copy the driver's there"
            )
        return InProcess(self._chat, load_judge(site.judge), database)

    def _chat(self, unit: Unit) -> Chat:
        policy, _ = self._policies[unit.policy, unit.config]
        return policy.chat(unit.scenario.id, unit.sample)

    async def _open(self, unit: Unit) -> None:
        """Open the unit's policy, unless it is open; close the oldest beyond KEPT_POLICIES."""
        site = self._site
        if (unit.policy, unit.config) in self._policies:
            return
        name = PolicyName(site.kind, unit.policy) if site.kind else parse(unit.policy)
        stack = AsyncExitStack()
        policy = await stack.enter_async_context(opened(name, unit.config, site.seed, site.access))
        self._policies[unit.policy, unit.config] = policy, stack
        if len(self._policies) > KEPT_POLICIES:
            _, oldest = self._policies.pop(next(iter(self._policies)))
            await oldest.aclose()

"""Rollouts on a Ray cluster: workers on any of its machines play units, Ray plays
again what a killed one held.

    RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/.ray/auth_token ray start --head        (docs/scaling.md)

A worker is an actor. Ray starts a killed one again, elsewhere when its machine is gone, and sends it what it
was playing. So a unit may be played twice. The caller stores it once.

Ray listens on every interface, even when it is told 127.0.0.1, and runs the code it is sent. So a cluster
that is started here has a token of its own, and one of several machines is not joined without a token.

Not here: what a worker does (`rollout_worker`), and how many units are under way.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from core.files import sha256_of
from core.revision import code_digest
from evaluation.rollout_executor import Rolled, Unit
from evaluation.rollout_worker import RolloutWorker, Site
from project_types import ConfigurationError, InvestigatorError, ProviderError

DEATHS = 20
"""Workers that may die while they play one unit, before the unit counts as failed."""
AT_ONCE = 1000
"""Units that one worker takes at once at most; the driver sends fewer."""
SLOW_START = "timed out during startup"
"""What Ray says when a node needs longer than it allows; no setting of Ray's changes that."""
ANSWERS_WITHIN_S = 20.0


class OnRay:
    """Plays on the workers of a cluster. A unit goes to the worker with the fewest under way."""

    def __init__(self, workers: list[Any]) -> None:
        self.workers = workers
        self._under_way = dict.fromkeys(range(len(workers)), 0)

    async def play(self, unit: Unit) -> Rolled:
        """Play a unit. See `RolloutExecutor.play`."""
        place = min(self._under_way, key=self._under_way.__getitem__)
        self._under_way[place] += 1
        try:
            return await self._answer(self.workers[place].play.remote(unit), unit)
        finally:
            self._under_way[place] -= 1

    async def _answer(self, sent: Any, unit: Unit) -> Rolled:
        import ray

        try:
            answer: Rolled | InvestigatorError = await sent
        except asyncio.CancelledError:
            ray.cancel(sent)
            raise
        except ray.exceptions.RayTaskError:  # raised in the worker: a bug of ours
            raise
        except ray.exceptions.RayError as trouble:
            raise ProviderError(
                f"{unit.scenario.id}#{unit.sample}: the cluster gave it up ({str(trouble)[:200]}; a unit survives "
                f"{DEATHS} deaths of workers); look at `ray status` and at the memory of its machines"
            ) from trouble
        if isinstance(answer, InvestigatorError):
            raise answer
        return answer


@asynccontextmanager
async def on_ray(site: Site, workers: int, address: str | None) -> AsyncIterator[OnRay]:
    """Start so many workers on a cluster, or on one of this machine when there is no address.

    Raises:
        ConfigurationError: ray is not installed, no cluster answers, or it has no token and several machines.
    """
    with _joined(address):
        import ray

        # no CPU is reserved: a worker mostly waits for a model
        make: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=DEATHS)(RolloutWorker)
        make = make.options(scheduling_strategy="SPREAD", max_concurrency=AT_ONCE)
        yield OnRay([make.remote(site) for _ in range(workers)])


def site_of(**fields: Any) -> Site:
    """Return what workers are told: these fields, the digest of this code and that of the database."""
    return Site(code=code_digest(), database_sha256=sha256_of(fields["database"]), **fields)


@contextmanager
def _joined(address: str | None) -> Iterator[None]:
    """Join a cluster, or start one; leave it, or end it, with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports home unless it is told not to
    if address is None and os.environ.setdefault("RAY_AUTH_MODE", "token") == "token":
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray reads it when it is imported
    try:
        import ray
    except ImportError as missing:
        raise ConfigurationError("--executor ray needs ray; run: pip install -e '.[ray]'") from missing
    ours = signal.getsignal(signal.SIGTERM)
    try:
        if address is not None:
            _check_answers(address)
        _init(ray, address)
    except Exception as trouble:  # Ray raises bare Exceptions, too
        raise ConfigurationError(
            f"--address {address}: no cluster can be joined ({str(trouble)[:300]}); "
            "see `ray status`, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from trouble
    signal.signal(signal.SIGTERM, ours)  # Ray puts its own there, which ends the process at once
    try:
        machines = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        refuse_open_cluster(machines, os.environ.get("RAY_AUTH_MODE"))
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise OSError or ValueError when nothing listens there: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=ANSWERS_WITHIN_S).close()


def _init(ray: Any, address: str | None) -> None:
    """Join or start. A start that takes longer than Ray's own 30 s, on a busy machine, is tried again."""
    for last in (False, False, True):
        try:
            if address is None:
                ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            else:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            return
        except Exception as trouble:
            if last or SLOW_START not in str(trouble):
                raise
            ray.shutdown()


def refuse_open_cluster(machines: set[str], authentication: str | None) -> None:
    """Raise ConfigurationError for several machines without a token: anybody who
    reaches one runs code there.
    """
    if len(machines) > 1 and authentication != "token":
        raise ConfigurationError(
            f"the cluster has {len(machines)} machines and no token, and Ray listens on every interface; "
            "set RAY_AUTH_MODE=token on all of them (docs/scaling.md)"
        )

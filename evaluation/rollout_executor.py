"""Rollouts in this process: a bounded number at once, all of them stoppable at any moment.

Not here: what a rollout is, where its episode is stored and what its failure means. The caller knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from project_types import InvestigatorError

T = TypeVar("T")


class Stopped(InvestigatorError):
    """The rollout was not started, or was abandoned."""


class RolloutExecutor:
    """Runs rollouts, at most `at_once` at a time, until it is stopped."""

    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._running: set[asyncio.Task[Any]] = set()
        self._stopped = False

    async def run(self, rollout: Callable[[], Awaitable[T]]) -> T:
        """Wait for a free place, run the rollout there, and return what it returns.

        Raises:
            Stopped: `stop` was called before it had ended.
            Exception: what the rollout raises, as it is.
        """
        async with self._places:
            if self._stopped:
                raise Stopped("not started")
            task = asyncio.ensure_future(rollout())
            self._running.add(task)
            await asyncio.wait({task})
            self._running.discard(task)
        if task.cancelled():
            raise Stopped("abandoned")
        return task.result()

    def stop(self) -> None:
        """Abandon what runs and start nothing more."""
        self._stopped = True
        for task in self._running:
            task.cancel()

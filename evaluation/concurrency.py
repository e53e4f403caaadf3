"""A bounded number of coroutines at once: taken from one iterator, or asked for one by one.

Not here: what a rollout is, where its episode is stored and what its failure means. The caller knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from project_types import InvestigatorError

T = TypeVar("T")


async def drain(units: Iterator[T], work: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """Call `work` on every unit, `at_once` at a time; units are drawn when their turn comes.

    The first exception stops everything and is raised as it is.
    """

    async def worker() -> None:
        for unit in units:
            await work(unit)
            await asyncio.sleep(0)  # work that never waits would shut out Ctrl-C and the others

    if at_once == 1:
        return await worker()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


class Stopped(InvestigatorError):
    """The work was not started, or was abandoned."""


class Places:
    """Runs work, at most `at_once` at a time, until it is stopped."""

    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._running: set[asyncio.Task[Any]] = set()
        self._stopped = False

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for a free place, do the work there, and return what it returns.

        Raises:
            Stopped: `stop` was called before it had ended.
            Exception: what the work raises, as it is.
        """
        async with self._places:
            if self._stopped:
                raise Stopped("not started")
            task = asyncio.ensure_future(work())
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

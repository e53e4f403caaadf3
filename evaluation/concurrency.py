"""A bounded number of coroutines that take their work from one iterator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

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

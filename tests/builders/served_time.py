"""How long something took on an event loop that gets its share of the machine.

A bound on the clock of the wall fails where other programs hold the processor. Here short sleeps of
the same loop are counted: on a busy machine each takes longer, so fewer fit. On an idle one the
count is the time on the wall.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK_S = 0.01


class ServedTime:
    """A clock that is under way."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def tick(self) -> None:
        """Count for ever."""
        while True:
            await asyncio.sleep(TICK_S)
            self.seconds += TICK_S


@asynccontextmanager
async def served_time() -> AsyncIterator[ServedTime]:
    """Give a clock that runs as long as the context is open."""
    clock = ServedTime()
    ticking = asyncio.create_task(clock.tick())
    try:
        yield clock
    finally:
        ticking.cancel()

"""Ctrl-C and SIGTERM: the first stops a run at the next safe point, the second at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from training_runs.terminal import say

STOPPING = (
    "stopping: rollouts under way are dropped, a training job under way is finished; "
    "once more to stop at once"
)


class Interruption:
    """Whether a run is to stop, and who has to be told."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that came first."""
        self._stops: list[Callable[[], None]] = []

    def listen(self) -> None:
        """Receive SIGINT and SIGTERM of this process, in the running event loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.come, number)

    def come(self, number: int) -> None:
        """Take a signal. Raises KeyboardInterrupt for the second one."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        say(STOPPING)
        self.stop()

    def stop(self) -> None:
        """Stop what is under way, without a signal."""
        for stop in list(self._stops):
            stop()

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Within the block a signal calls `stop`; one that came already calls it at once."""
        self._stops.append(stop)
        try:
            if self.signal is not None:
                stop()
            yield
        finally:
            self._stops.remove(stop)

"""Ctrl-C and SIGTERM: the first stops a run at the next safe point, the second at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

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
        self._stop: Callable[[], None] | None = None

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
        if self._stop is not None:
            self._stop()

    def stops(self, stop: Callable[[], None]) -> None:
        """From now on a signal calls `stop`; one that came already calls it at once."""
        self._stop = stop
        if self.signal is not None:
            stop()

"""Wrong tokens are counted, so that nobody guesses for long.

Counted per address a request comes from, over the last minute. Behind a proxy everybody shares its address;
then somebody who guesses keeps others from logging in for a minute, and those who are in stay in.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock

MOST_TRIES = 10
WINDOW_S = 60.0
_REMEMBERED = 1000
"""Addresses that are remembered; the oldest is forgotten first."""


class Tries:
    """Failed tries by address. Safe to use from several threads."""

    def __init__(
        self, most: int = MOST_TRIES, window_s: float = WINDOW_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._window_s, self._clock = most, window_s, clock
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = Lock()

    def failed(self, address: str) -> None:
        """Remember a wrong token."""
        with self._lock:
            moments = self._failed.setdefault(address, deque(maxlen=self._most))
            moments.append(self._clock())
            self._failed.move_to_end(address)
            if len(self._failed) > _REMEMBERED:
                self._failed.popitem(last=False)

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 when it may now."""
        with self._lock:
            moments = self._failed.get(address)
            if moments is None or len(moments) < self._most:
                return 0.0
            return max(0.0, moments[0] + self._window_s - self._clock())

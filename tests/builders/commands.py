"""What tests of commands share: calling one in this process, and waiting for something outside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from core.rooms import rooms


def evaluation(*arguments: object) -> int:
    """`python -m evaluation` with these arguments, in this process."""
    return rooms()["evaluation"].main([str(argument) for argument in arguments])


def eventually(happened: Callable[[], bool], timeout_s: float = 600.0) -> None:
    """Wait until something outside this process has happened; a machine may be busy. Raises TimeoutError."""
    tick, ends = threading.Event(), time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > ends:
            raise TimeoutError("it never happened")
        tick.wait(0.01)

"""How many threads a piece of work uses, chosen by what earlier pieces took.

A parallel operation ends with its slowest thread. Where another process has one of the cores, two threads are
often slower than one, since the first waits for the second at every operation. Nothing says so beforehand,
so the pieces themselves are timed: each number of threads is tried once, the fastest goes on, and the others
are tried again now and then, or at once when all cores have become much slower than they were. The first piece
of all is not counted: kernels are made for it.

Not here: how a thread waits, which is set before torch is imported (`training_service/__init__`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

TRY_EVERY = 32
"""Pieces between two trials of another number of threads."""
MUCH_SLOWER = 0.7
"""Share of its own speed below which the use of all cores is doubted."""


class Threads:
    """Picks a number of threads for each piece of one kind of work. Not to be shared between threads."""

    def __init__(self, most: int) -> None:
        """Choose among all `most` threads, one less, half of them, and one."""
        self._most = most
        self._speeds: dict[int, float] = {}
        self._due = sorted({most, max(1, most - 1), max(1, most // 2), 1})
        self._since_trial = 0
        self._first = True

    @contextmanager
    def piece(self, size: float) -> Iterator[None]:
        """Run the body with the number of threads that is best now. `size` is in any unit of work."""
        number = self.choose()
        torch.set_num_threads(number)
        began = time.perf_counter()
        yield
        self.learn(number, size / max(time.perf_counter() - began, 1e-9))

    def choose(self) -> int:
        """Return the number of threads for the next piece."""
        if not self._due and self._since_trial >= TRY_EVERY:
            self._due, self._since_trial = sorted(set(self._speeds) - {self.fastest()}), 0
        if self._due:
            return self._due[-1]
        self._since_trial += 1
        return self.fastest()

    def learn(self, number: int, speed: float) -> None:
        """Remember how fast a piece was, in units of work a second."""
        if self._first:
            self._first = False
            return
        if number in self._due:
            self._due.remove(number)
        before = self._speeds.get(number, speed)
        # all cores are fastest until another process takes one: that is worth a trial at once
        doubted = number == self._most and speed < MUCH_SLOWER * before
        self._speeds[number] = speed if doubted else (before + speed) / 2
        if doubted:
            self._due, self._since_trial = sorted(set(self._speeds) - {number}), 0

    def fastest(self) -> int:
        """Return the number of threads that was fastest so far."""
        return max(self._speeds, key=lambda number: self._speeds[number])

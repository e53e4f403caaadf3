"""Many rollouts at once: bounded, stoppable at any moment, stored as they finish, and each failure counted by its reason.

ART's gather tolerates failures, but does not stop the others when there are too many, and does not say why they failed; what it
awaits here are the rollouts of a `Crew`. Only a failing provider or judge is tolerated: any other exception is a bug of ours,
ends the batch and is for the caller to raise. What a rollout is, and how many there are, the caller knows.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import IO, TYPE_CHECKING

from project_types import Episode, InvestigatorError, JudgeError, ProviderError
from rollout import write_episode

if TYPE_CHECKING:
    import art

TOLERATED = (ProviderError, JudgeError)
"""What may make a rollout fail without being our bug."""


class Interrupted(InvestigatorError):
    """Somebody asked the run to stop."""


class Crew:
    """The rollouts of one batch. `bug` is the first exception that is nobody's but ours."""

    def __init__(self, title: str, rollouts: int, most_failures: int, limit: int, file: IO[str]) -> None:
        from tqdm import tqdm

        self.episodes: list[Episode] = []
        self.failures: Counter[str] = Counter()
        self.bug: BaseException | None = None
        self.stopped = False
        self._most_failures, self._file = most_failures, file
        self._limit = asyncio.Semaphore(limit)
        self._running: set[asyncio.Task[tuple[art.Trajectory, Episode]]] = set()
        self._began = time.monotonic()
        unseen = not sys.stderr.isatty()
        self._bar = tqdm(total=rollouts, desc=title, unit="episode", leave=False, dynamic_ncols=True, disable=unseen)

    async def run(self, start: Callable[[], Awaitable[tuple[art.Trajectory, Episode]]]) -> art.Trajectory:
        """One rollout. Raises what it raised, or Interrupted."""
        async with self._limit:
            if self.stopped:
                raise Interrupted("not started")
            task = asyncio.ensure_future(start())
            self._running.add(task)
            await asyncio.wait({task})
            self._running.discard(task)
        if task.cancelled():
            raise Interrupted("abandoned")
        if (trouble := task.exception()) is not None:
            self._note(trouble)
            raise trouble
        trajectory, episode = task.result()
        self.episodes.append(episode)
        write_episode(self._file, episode)
        self._show()
        return trajectory

    def stop(self) -> None:
        """Abandon what runs and start nothing more."""
        self.stopped = True
        for task in self._running:
            task.cancel()

    def close(self) -> None:
        """Take the progress bar away."""
        self._bar.close()

    def _note(self, trouble: BaseException) -> None:
        if not isinstance(trouble, TOLERATED):
            self.bug = self.bug or trouble
            self.stop()
            return
        first_line = str(trouble).partition("\n")[0]
        self.failures[f"{type(trouble).__name__}: {re.sub(r'[0-9]+', '#', first_line)[:160]}"] += 1
        if self.failures.total() > self._most_failures:
            self.stop()

    def _show(self) -> None:
        tokens = sum(e.outcome.prompt_tokens + e.outcome.completion_tokens for e in self.episodes)
        right = sum(e.outcome.correct for e in self.episodes) / len(self.episodes)
        reward = sum(e.reward or 0.0 for e in self.episodes) / len(self.episodes)
        speed = tokens / (time.monotonic() - self._began)
        self._bar.set_postfix_str(f"reward {reward:+.2f}, right {right:.0%}, {speed:,.0f} tokens/s", refresh=False)
        self._bar.update()

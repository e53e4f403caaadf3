"""Many rollouts at once: bounded, stoppable at any moment, stored as they finish, and each failure counted by
its reason.

ART's gather tolerates failures, but does not stop the others when there are too many, and does not say why
they failed; what it awaits here are the rollouts of a `Crew`. Only a failing provider or judge is tolerated:
any other exception is a bug of ours, ends the batch and surfaces. What a rollout is, the caller knows.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from core.episode_store.episodes import write_episode
from project_types import Episode, InvestigatorError, JudgeError, ProviderError, Scenario

if TYPE_CHECKING:
    import art
    from tqdm import tqdm

TOLERATED = (ProviderError, JudgeError)
"""What may make a rollout fail without being our bug."""
SHOWN_REASONS = 5


class Interrupted(InvestigatorError):
    """Somebody asked the run to stop."""


class TooManyFailures(InvestigatorError):
    """More rollouts of a batch failed than may; the text says why they did."""


class Wanted(NamedTuple):
    """Samples of one scenario that are to be rolled out; they become one group."""

    scenario: Scenario
    samples: Sequence[int]


class Played(NamedTuple):
    """What a batch of rollouts gave."""

    groups: Sequence[art.TrajectoryGroup]
    episodes: Sequence[Episode]
    failures: Counter[str]
    """How often rollouts failed for each reason."""
    seconds: float


class Crew:
    """The rollouts of one batch: `one(scenario, sample=k)` for all that is wanted, at most `limit` at a time."""

    def __init__(
        self,
        title: str,
        wanted: Sequence[Wanted],
        one: Callable[..., Awaitable[tuple[art.Trajectory, Episode]]],
        file: IO[str],
        *,
        failed_share: float,
        limit: int,
        failed: Callable[[BaseException], None] = lambda trouble: None,
    ) -> None:
        """`failed` is told of every rollout that failed without being our bug."""
        self.episodes: list[Episode] = []
        self.failures: Counter[str] = Counter()
        self._title, self._wanted, self._one, self._file = title, wanted, one, file
        self._total = sum(len(each.samples) for each in wanted)
        self._most_failures = int(failed_share * self._total)
        self._limit, self._failed = asyncio.Semaphore(limit), failed
        self._running: set[asyncio.Task[tuple[art.Trajectory, Episode]]] = set()
        self._stopped = self._interrupted = False
        self._bug: BaseException | None = None

    async def play(self) -> Played:
        """Roll out through ART's gather; episodes are appended to the file as they finish.

        Raises:
            Interrupted: `interrupt` was called.
            TooManyFailures: more than the tolerated share failed; the rest was not waited for.
        """
        import art
        from tqdm import tqdm

        began, unseen = time.monotonic(), not sys.stderr.isatty()
        bar: tqdm[Any] = tqdm(
            total=self._total,
            desc=self._title,
            unit="episode",
            leave=False,
            dynamic_ncols=True,
            disable=unseen,
        )
        with bar:
            show = partial(self._show, bar, began)
            groups = await art.gather_trajectory_groups(
                [
                    art.TrajectoryGroup(
                        [self._run(partial(self._one, scenario, sample=sample), show) for sample in samples],
                        metadata={"scenario_id": scenario.id},
                    )
                    for scenario, samples in self._wanted
                ],
                pbar_desc=self._title,
                max_exceptions=self._total,  # `_note` stops all of them once too many have failed
            )
        if self._bug is not None:
            raise self._bug
        if self._interrupted:
            raise Interrupted(self._title)
        if self.failures.total() > self._most_failures:
            why = "\n".join(
                f"  {count} x {reason}" for reason, count in self.failures.most_common(SHOWN_REASONS)
            )
            text = f"{self._title}: more than {self._most_failures} of {self._total} rollouts failed (see --max-failed-share):"
            raise TooManyFailures(f"{text}\n{why}")
        return Played(groups, self.episodes, self.failures, time.monotonic() - began)

    def interrupt(self) -> None:
        """Abandon what runs and start nothing more; `play` raises Interrupted."""
        self._interrupted = True
        self._stop()

    def _stop(self) -> None:
        self._stopped = True
        for task in self._running:
            task.cancel()

    async def _run(
        self, start: Callable[[], Awaitable[tuple[art.Trajectory, Episode]]], show: Callable[[], None]
    ) -> art.Trajectory:
        async with self._limit:
            if self._stopped:
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
        show()
        return trajectory

    def _note(self, trouble: BaseException) -> None:
        if not isinstance(trouble, TOLERATED):
            self._bug = self._bug or trouble
            self._stop()
            return
        self._failed(trouble)
        first_line = str(trouble).partition("\n")[0]
        self.failures[f"{type(trouble).__name__}: {re.sub(r'[0-9]+', '#', first_line)[:160]}"] += 1
        if self.failures.total() > self._most_failures:
            self._stop()

    def _show(self, bar: tqdm[Any], began: float) -> None:
        tokens = sum(e.outcome.prompt_tokens + e.outcome.completion_tokens for e in self.episodes)
        right = sum(e.outcome.correct for e in self.episodes) / len(self.episodes)
        reward = sum(e.reward or 0.0 for e in self.episodes) / len(self.episodes)
        speed = tokens / (time.monotonic() - began)
        bar.set_postfix_str(f"reward {reward:+.2f}, right {right:.0%}, {speed:,.0f} tokens/s", refresh=False)
        bar.update()

"""One batch of rollouts: groups for ART, every episode stored as it ends, failures counted.

ART's gather tolerates failures, but it does not stop the others when there are too many, and it does not say
why they failed. So what it awaits here are rollouts of a `RolloutBatch`, which does both.
Not here: how many may fail (`failed_rollouts`), where episodes are written (`episodes`).
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from evaluation.concurrency import Places, Stopped
from project_types import Episode, InvestigatorError, Scenario
from training_runs.failed_rollouts import TOLERATED, FailedRollouts

if TYPE_CHECKING:
    import art
    from tqdm import tqdm


class Interrupted(InvestigatorError):
    """Somebody asked the run to stop."""


class Wanted(NamedTuple):
    """Samples of one scenario that are to be rolled out. They become one group."""

    scenario: Scenario
    samples: Sequence[int]


class Played(NamedTuple):
    """What a batch of rollouts gave."""

    groups: Sequence[art.TrajectoryGroup]
    episodes: Sequence[Episode]
    failures: Counter[str]
    """How often rollouts failed for each reason."""
    seconds: float


Rollout = Callable[..., Awaitable["tuple[art.Trajectory, Episode]"]]
"""Plays `(scenario, sample=k)`."""


def _ignore(_: BaseException) -> None:
    """Tell nobody of a failed rollout."""


class RolloutBatch:
    """The rollouts of one batch: `rollout(scenario, sample=k)` for all that is wanted."""

    def __init__(
        self,
        title: str,
        wanted: Sequence[Wanted],
        rollout: Rollout,
        store: Callable[[Episode], None],
        *,
        failed_share: float,
        at_once: int,
        failed: Callable[[BaseException], None] = _ignore,
    ) -> None:
        """`store` gets every episode as it ends, `failed` every failure that is tolerated."""
        self.episodes: list[Episode] = []
        self._title, self._wanted, self._rollout, self._store = title, wanted, rollout, store
        self._total = sum(len(each.samples) for each in wanted)
        self._failures, self._failed = FailedRollouts(self._total, failed_share), failed
        self._places = Places(at_once)
        self._interrupted = False
        self._bug: BaseException | None = None

    async def play(self) -> Played:
        """Roll out what is wanted through ART's gather.

        Raises:
            Interrupted: `interrupt` was called.
            TooManyFailures: more than the tolerated share failed. The rest was not waited for.
        """
        began = time.monotonic()
        groups = await self._gathered(began)
        if self._bug is not None:
            raise self._bug
        if self._interrupted:
            raise Interrupted(self._title)
        self._failures.check(self._title)
        return Played(groups, self.episodes, self._failures.by_reason, time.monotonic() - began)

    def interrupt(self) -> None:
        """Abandon what runs and start nothing more. `play` then raises Interrupted."""
        self._interrupted = True
        self._places.stop()

    async def _gathered(self, began: float) -> list[art.TrajectoryGroup]:
        import art

        with _bar(self._title, self._total) as bar:
            groups = [self._group(each, partial(self._show, bar, began)) for each in self._wanted]
            # no limit for ART: `_note` stops everything once too many have failed
            gathered: list[art.TrajectoryGroup] = await art.gather_trajectory_groups(
                groups, pbar_desc=self._title, max_exceptions=self._total
            )
            return gathered

    def _group(self, wanted: Wanted, show: Callable[[], None]) -> Awaitable[art.TrajectoryGroup]:
        import art

        rollouts = [self._one(wanted.scenario, sample, show) for sample in wanted.samples]
        group: Awaitable[art.TrajectoryGroup] = art.TrajectoryGroup(
            rollouts, metadata={"scenario_id": wanted.scenario.id}
        )
        return group

    async def _one(self, scenario: Scenario, sample: int, show: Callable[[], None]) -> art.Trajectory:
        try:
            trajectory, episode = await self._places.run(partial(self._rollout, scenario, sample=sample))
            self._store(episode)
        except Exception as trouble:
            self._note(trouble)
            raise  # gather counts it in its group
        self.episodes.append(episode)
        show()
        return trajectory

    def _note(self, trouble: Exception) -> None:
        if isinstance(trouble, TOLERATED):
            self._failed(trouble)
            self._failures.count(trouble)
            if self._failures.too_many:
                self._places.stop()
        elif not isinstance(trouble, Stopped):
            self._bug = self._bug or trouble
            self._places.stop()

    def _show(self, bar: tqdm[Any], began: float) -> None:
        outcomes = [episode.outcome for episode in self.episodes]
        tokens = sum(outcome.prompt_tokens + outcome.completion_tokens for outcome in outcomes)
        right = sum(outcome.correct for outcome in outcomes) / len(outcomes)
        reward = sum(episode.reward or 0.0 for episode in self.episodes) / len(outcomes)
        speed = tokens / (time.monotonic() - began)
        bar.set_postfix_str(f"reward {reward:+.2f}, right {right:.0%}, {speed:,.0f} tokens/s", refresh=False)
        bar.update()


def _bar(title: str, total: int) -> tqdm[Any]:
    from tqdm import tqdm

    look: dict[str, Any] = {"unit": "episode", "leave": False, "dynamic_ncols": True}
    return tqdm(total=total, desc=title, disable=not sys.stderr.isatty(), **look)

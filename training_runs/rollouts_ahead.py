"""Rollouts of the next steps, played while a step trains: at most N steps behind the
weights they will change.

With `--max-staleness 0` a step plays its own rollouts and then trains: one part of the hardware waits for the
other. With N, the rollouts of the next N steps are begun, with the weights of now, before the training job
is. The loss allows for it: its ratio is taken to the log-probabilities that were stored when a token was
sampled.

A batch that was begun ahead and failed is played again when its turn comes. One that the run ends without is
thrown away. A run that was killed plays it again.

Not here: how a batch is played (`rollouts`), and when steps are made (`training_step`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from project_types import Scenario
from training_runs.failed_rollouts import TooManyFailures
from training_runs.rollout_batch import Played


class StepRollouts(Protocol):
    """Plays what steps train on. `Rollouts` does."""

    async def of_step(self, scenarios: Sequence[Scenario], step: int, checkpoint: int) -> Played:
        """Roll out these scenarios for a step with the weights of a checkpoint."""
        ...

    def abandon(self) -> None:
        """Stop every batch under way."""
        ...

    def forget_step(self, step: int) -> None:
        """Throw away what was stored of a batch that became no step."""
        ...


Play = Callable[[], Awaitable[Played]]
Survive = Callable[[Play], Awaitable[Played]]
"""Plays, and plays once more when the service that was started here has died meanwhile."""


class Batch(NamedTuple):
    """What a step trains on."""

    scenarios: Sequence[Scenario]
    played: Played
    staleness: int
    """Checkpoints between the weights that played it and those it changes."""


class _Begun(NamedTuple):
    step: int
    scenarios: Sequence[Scenario]
    checkpoint: int
    playing: asyncio.Task[Played]


class RolloutsAhead:
    """The batches of a run, in order. A context manager: its end drops what is under way."""

    def __init__(
        self,
        batches: Iterator[Sequence[Scenario]],
        rollouts: StepRollouts,
        survive: Survive,
        *,
        most: int,
        last: int,
    ) -> None:
        """`batches` are the scenarios of each step to come. At most `most` are begun
        ahead, none after `last`.
        """
        self._batches, self._rollouts, self._survive = batches, rollouts, survive
        self._most, self._last = most, last
        self._begun = deque[_Begun]()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drop()

    async def take(self, step: int, checkpoint: int) -> Batch:
        """Return the batch of the next step: the one begun ahead, or one that `checkpoint` plays now.

        Raises:
            Interrupted, TooManyFailures: as `RolloutBatch.play`.
        """
        scenarios = self._begun[0].scenarios if self._begun else next(self._batches)
        if self._begun:
            begun = self._begun.popleft()
            try:
                return Batch(scenarios, await begun.playing, checkpoint - begun.checkpoint)
            except TooManyFailures:  # perhaps of a service that is back by now
                pass
        play = partial(self._rollouts.of_step, scenarios, step, checkpoint)
        return Batch(scenarios, await self._survive(play), 0)

    def begin(self, step: int, checkpoint: int) -> None:
        """Begin the batches after `step`, as many as may be ahead, with the weights of `checkpoint`."""
        while len(self._begun) < min(self._most, self._last - step):
            scenarios, number = next(self._batches), step + len(self._begun) + 1
            playing = asyncio.create_task(self._rollouts.of_step(scenarios, number, checkpoint))
            self._begun.append(_Begun(number, scenarios, checkpoint, playing))

    async def settle(self) -> None:
        """Wait until what was begun has ended, well or not. What went wrong is told when its turn comes."""
        await asyncio.gather(*(begun.playing for begun in self._begun), return_exceptions=True)

    async def drop(self) -> None:
        """Stop what is under way, and throw away what no step has taken."""
        if self._begun:
            self._rollouts.abandon()
        await self.settle()
        while self._begun:
            self._rollouts.forget_step(self._begun.popleft().step)

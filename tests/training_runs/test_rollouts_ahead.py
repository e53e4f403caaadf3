"""Rollouts are played ahead of training by so many steps and no more, in order, and
none is trained on twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import pytest

from project_types import Scenario
from tests.builders.scenarios import INCIDENT
from training_runs.failed_rollouts import TooManyFailures
from training_runs.rollout_batch import Interrupted, Played
from training_runs.rollouts_ahead import RolloutsAhead

STEPS = 4


class Policy:
    """Rollouts that end when they are allowed to, and write down what happens."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.slow: dict[int, asyncio.Event] = {}
        """What the rollouts of a step wait for."""
        self.troubles: dict[int, Exception] = {}
        """What the next attempt at a step ends with."""

    async def of_step(self, scenarios: Sequence[Scenario], step: int, checkpoint: int) -> Played:
        self.events.append(f"play {step}@{checkpoint}")
        if step in self.slow:
            await self.slow[step].wait()
        if trouble := self.troubles.pop(step, None):
            raise trouble
        self.events.append(f"played {step}")
        return Played([], [], Counter(), 0.0)

    def abandon(self) -> None:
        for step, wait in self.slow.items():
            self.troubles[step] = Interrupted("dropped")
            wait.set()

    def forget_step(self, step: int) -> None:
        self.events.append(f"forget {step}")


async def survive(play: Callable[[], Awaitable[Played]]) -> Played:
    return await play()


def ahead_of(policy: Policy, most: int, after: int = 0) -> RolloutsAhead:
    batches = ([INCIDENT] for _ in range(after, STEPS))
    return RolloutsAhead(batches, policy, survive, most=most, last=STEPS)


async def train(ahead: RolloutsAhead, events: list[str], first: int = 1, last: int = STEPS) -> list[int]:
    """A trainer whose job gives the rollouts their turn; returns how stale each batch was."""
    stale = []
    for step in range(first, last + 1):
        batch = await ahead.take(step, step - 1)
        ahead.begin(step, step - 1)
        events.append(f"train {step}")
        await ahead.settle()  # the slowest trainer there is
        events.append(f"trained {step}")
        stale.append(batch.staleness)
    return stale


async def test_without_staleness_rollouts_and_training_take_turns() -> None:
    policy = Policy()
    async with ahead_of(policy, most=0) as ahead:
        assert await train(ahead, policy.events) == [0, 0, 0, 0]
    turns = [f"play {n}@{n - 1}, played {n}, train {n}, trained {n}" for n in range(1, STEPS + 1)]
    assert policy.events == ", ".join(turns).split(", ")


async def test_one_step_ahead_the_next_rollouts_are_played_while_a_step_trains() -> None:
    policy = Policy()
    async with ahead_of(policy, most=1) as ahead:
        assert await train(ahead, policy.events) == [0, 1, 1, 1]
    first = ["play 1@0", "played 1", "train 1", "play 2@0", "played 2", "trained 1"]
    second = ["train 2", "play 3@1", "played 3", "trained 2"]
    rest = ["train 3", "play 4@2", "played 4", "trained 3", "train 4", "trained 4"]
    assert policy.events == first + second + rest, "and nothing is played after the last step"


async def test_weights_are_never_older_than_allowed() -> None:
    policy = Policy()
    async with ahead_of(policy, most=2) as ahead:
        assert await train(ahead, policy.events) == [0, 1, 2, 2]
    assert [event for event in policy.events if "@" in event] == [
        "play 1@0",
        "play 2@0",
        "play 3@0",
        "play 4@1",
    ]


async def test_a_step_waits_for_rollouts_that_are_not_done() -> None:
    policy = Policy()
    policy.slow[2] = asyncio.Event()
    async with ahead_of(policy, most=1) as ahead:
        await ahead.take(1, 0)
        ahead.begin(1, 0)
        taken = asyncio.create_task(ahead.take(2, 1))
        await asyncio.sleep(0)
        assert not taken.done()
        policy.slow[2].set()
        assert (await taken).staleness == 1


async def test_rollouts_ahead_that_failed_are_played_again_with_the_latest_weights() -> None:
    policy = Policy()
    policy.troubles[2] = TooManyFailures("the service died")
    async with ahead_of(policy, most=1) as ahead:
        assert await train(ahead, policy.events, last=2) == [0, 0]
    assert [event for event in policy.events if event.startswith("play 2")] == ["play 2@0", "play 2@1"]


async def test_a_bug_and_an_interruption_surface_when_their_turn_comes() -> None:
    for trouble in (ZeroDivisionError(), Interrupted("step 2")):
        policy = Policy()
        policy.troubles[2] = trouble
        async with ahead_of(policy, most=1) as ahead:
            await train(ahead, policy.events, last=1)
            with pytest.raises(type(trouble)):
                await ahead.take(2, 1)


async def test_what_the_run_ends_without_is_stopped_and_thrown_away() -> None:
    policy = Policy()
    policy.slow[3] = asyncio.Event()
    async with ahead_of(policy, most=2) as ahead:
        await ahead.take(1, 0)
        ahead.begin(1, 0)
        await asyncio.sleep(0)
    assert policy.events[-2:] == ["forget 2", "forget 3"]
    assert "played 2" in policy.events
    assert "played 3" not in policy.events


async def test_a_resumed_run_begins_with_the_latest_weights() -> None:
    policy = Policy()
    async with ahead_of(policy, most=1, after=2) as ahead:
        assert await train(ahead, policy.events, first=3) == [0, 1]
    assert [event for event in policy.events if "@" in event] == ["play 3@2", "play 4@2"]

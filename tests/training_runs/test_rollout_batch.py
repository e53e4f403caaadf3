"""A batch of rollouts: what is tolerated, what ends it, and what it leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from project_types import Ending, Episode, JudgeError, Outcome, ProviderError, Scenario
from rollout import read_episodes
from tests.builders.scenarios import INCIDENT
from tests.fakes.art_alone import art
from training_runs.episodes import writing
from training_runs.failed_rollouts import TooManyFailures
from training_runs.rollout_batch import Interrupted, Played, RolloutBatch, Wanted

Rollout = Callable[..., Awaitable[tuple[art.Trajectory, Episode]]]


async def good(scenario: Scenario, *, sample: int) -> tuple[art.Trajectory, Episode]:
    outcome = Outcome(ending=Ending.UNKNOWN)
    episode = Episode(
        scenario_id=scenario.id, sample=sample, messages=(), outcome=outcome, reward=float(sample)
    )
    return art.Trajectory(messages_and_choices=[], reward=float(sample)), episode


def failing(trouble: Callable[[int], BaseException | None]) -> Rollout:
    """Rollouts that raise what `trouble` gives for their sample, and are good where it gives None."""

    async def one(scenario: Scenario, *, sample: int) -> tuple[art.Trajectory, Episode]:
        if (problem := trouble(sample)) is not None:
            raise problem
        return await good(scenario, sample=sample)

    return one


async def play(path: Path, one: Rollout, *, samples: int = 8, failed_share: float = 0.25) -> Played:
    wanted = [Wanted(INCIDENT, range(samples))]
    with writing(path) as store:
        batch = RolloutBatch("batch", wanted, one, store, failed_share=failed_share, at_once=100)
        return await batch.play()


async def test_a_batch_gives_groups_and_stores_every_episode(tmp_path: Path) -> None:
    played = await play(tmp_path / "e.jsonl", good)
    assert sorted(trajectory.reward for trajectory in played.groups[0].trajectories) == [
        float(n) for n in range(8)
    ]
    assert played.groups[0].metadata["scenario_id"] == INCIDENT.id
    assert {episode.sample for episode in read_episodes(tmp_path / "e.jsonl")} == set(range(8))


async def test_a_tolerated_share_of_failures_leaves_the_group_and_is_counted_by_reason(
    tmp_path: Path,
) -> None:
    texts = {0: ProviderError("HTTP 500 after 3 attempts"), 1: ProviderError("HTTP 503 after 5 attempts")}
    played = await play(tmp_path / "e.jsonl", failing(texts.get))
    assert len(played.groups[0].trajectories) == 6
    assert played.failures == {"ProviderError: HTTP # after # attempts": 2}


async def test_every_failed_rollout_is_told_with_its_trouble(tmp_path: Path) -> None:
    trouble, told = JudgeError("no verdict"), list[BaseException]()
    one = failing(lambda sample: trouble if sample == 2 else None)
    batch = RolloutBatch(
        "batch",
        [Wanted(INCIDENT, range(8))],
        one,
        list[Episode]().append,
        failed_share=0.25,
        at_once=8,
        failed=told.append,
    )
    await batch.play()
    assert told == [trouble]


async def test_a_group_whose_rollouts_all_failed_is_empty_and_harmless(tmp_path: Path) -> None:
    played = await play(
        tmp_path / "e.jsonl", failing(lambda _: JudgeError("no verdict")), samples=4, failed_share=1.0
    )
    assert [len(group.trajectories) for group in played.groups] == [0]


async def test_too_many_failures_end_the_batch_without_waiting_for_the_rest(tmp_path: Path) -> None:
    async def one(scenario: Scenario, *, sample: int) -> tuple[art.Trajectory, Episode]:
        if sample > 2:
            await asyncio.Event().wait()  # never
        raise JudgeError("the judge sleeps")

    async with asyncio.timeout(10):
        with pytest.raises(TooManyFailures, match=r"more than 2 of 8.*\n  3 x JudgeError: the judge sleeps"):
            await play(tmp_path / "e.jsonl", one)


async def test_a_bug_of_ours_surfaces_and_is_not_tolerated(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        await play(
            tmp_path / "e.jsonl",
            failing(lambda sample: ZeroDivisionError() if sample == 3 else None),
            failed_share=0.9,
        )


async def test_an_episode_that_cannot_be_stored_ends_the_batch() -> None:
    def full(_: Episode) -> None:
        raise OSError("No space left on device")

    wanted = [Wanted(INCIDENT, range(8))]
    batch = RolloutBatch("batch", wanted, good, full, failed_share=0.9, at_once=8)
    with pytest.raises(OSError, match="No space left"):
        await batch.play()


async def test_an_interrupted_batch_drops_what_runs_and_keeps_what_is_stored(tmp_path: Path) -> None:
    path, begun = tmp_path / "e.jsonl", list[int]()

    async def one(scenario: Scenario, *, sample: int) -> tuple[art.Trajectory, Episode]:
        begun.append(sample)
        if len(begun) > 1:
            await asyncio.Event().wait()  # never
        return await good(scenario, sample=sample)

    with writing(path) as store:
        stored = asyncio.Event()

        def keep(episode: Episode) -> None:
            store(episode)
            stored.set()

        wanted = [Wanted(INCIDENT, range(4))]
        batch = RolloutBatch("batch", wanted, one, keep, failed_share=0.0, at_once=2)
        playing = asyncio.ensure_future(batch.play())
        await stored.wait()
        batch.interrupt()
        with pytest.raises(Interrupted):
            await playing
    assert [episode.sample for episode in read_episodes(path)] == begun[:1]

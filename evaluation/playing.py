"""Plays a policy on scenarios: one read of each scenario, one line out per episode.

An executor plays, with as many episodes under way as allowed; scripts may also have several processes. What
the provider, the judge or a scenario file gets wrong becomes a Failure of that sample; a mistake in the
settings or the database stops everything; a bug surfaces. It stores nothing and counts nothing: the caller
takes each result as it comes.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from core.episode_store.episodes import DIGEST, Key
from core.episode_store.failures import Failure
from core.episode_store.scenarios import digest, id_by_name
from core.log_stores.pinned import PinnedDatabase
from core.policies import scripted
from core.policies.contract import Policy
from core.policies.registry import parse
from evaluation.concurrency import drain
from evaluation.rollout_executor import InProcess, RolloutExecutor, Unit
from failure_analysis.at_once import explained
from make_judge_model import load_judge
from project_types import (
    Chat,
    Ending,
    EpisodeConfig,
    Frozen,
    Judge,
    JudgeError,
    ProviderError,
    Scenario,
    ScenarioError,
    read_scenario,
)

EPISODES_AT_ONCE = 64
"""What a worker process takes at a time; its results are stored when all of them have ended."""


class Plan(Frozen):
    """What every episode of a run has in common."""

    policy: str
    split: str
    seed: int
    judge: str
    config: EpisodeConfig
    database: Path


class Job(NamedTuple):
    """The samples of one scenario file that are wanted."""

    path: Path
    samples: tuple[int, ...]


class Result(NamedTuple):
    """One sample: a line to store, or why there is none."""

    scenario_id: str
    sample: int
    correct: bool
    line: str | None
    failure: Failure | None
    ending: Ending | None = None
    """How the episode ended; None when it failed."""
    digest: str = ""
    """Of the scenario file it was played on."""


class _Wanted(NamedTuple):
    scenario: Scenario
    digest: str
    sample: int


Emit = Callable[[Result], None]
Done = Mapping[Key, str]
"""Episodes that exist already, and the digest of the scenario file each was played on ('' where none is
known).
"""


def in_process(plan: Plan, policy: Policy, judge: Judge) -> InProcess:
    """Return the executor that plays an opened policy here."""

    def chat(unit: Unit) -> Chat:
        return policy.chat(unit.scenario.id, unit.sample)

    return InProcess(chat, judge, PinnedDatabase(plan.database))


class Player:
    """Plays jobs where its executor plays."""

    def __init__(self, plan: Plan, policy: str, executor: RolloutExecutor, done: Done) -> None:
        """`policy` is the resolved name, which goes into every episode."""
        self._plan, self._policy, self._executor, self._done = plan, policy, executor, done

    async def play(self, jobs: Sequence[Job], emit: Emit, *, concurrency: int) -> None:
        """Play all of them, `concurrency` episodes at a time.

        `emit` gets each as it ends, and may raise to stop everything.
        """

        async def play_one(wanted: _Wanted) -> None:
            emit(await self._sample(wanted))

        await drain(self._units(jobs, emit), play_one, concurrency)

    def _units(self, jobs: Sequence[Job], emit: Emit) -> Iterator[_Wanted]:
        """Give what to play, each scenario read when its turn comes."""
        for job in jobs:
            try:
                scenario = read_scenario(job.path)
            except ScenarioError as trouble:
                for sample in job.samples:
                    emit(_failed(id_by_name(job.path), sample, trouble))
                continue
            mark = digest(job.path)
            for sample in job.samples:
                if self._done.get((scenario.id, sample)) not in (mark, ""):
                    yield _Wanted(scenario, mark, sample)

    async def _sample(self, wanted: _Wanted) -> Result:
        plan, (scenario, mark, sample) = self._plan, wanted
        unit = Unit(
            scenario=scenario, sample=sample, policy=self._policy, config=plan.config, split=plan.split
        )
        try:
            episode = (await self._executor.play(unit)).episode
        except (ProviderError, JudgeError) as trouble:
            return _failed(scenario.id, sample, trouble)
        line = episode.model_copy(update={"metadata": {**episode.metadata, DIGEST: mark}}).model_dump_json()
        correct, ending = episode.outcome.correct, episode.outcome.ending
        return Result(scenario.id, sample, correct, line, None, ending, mark)


def _failed(scenario_id: str, sample: int, trouble: Exception) -> Result:
    failure = Failure.of(trouble, scenario_id, sample)
    failure = failure.model_copy(update={"failure_analysis": explained(failure)})
    return Result(scenario_id, sample, False, None, failure)


# ------------------------------------------------------------------------------------------ several processes


class _Worker:
    """What a worker process keeps between jobs."""

    player: Player


def _begin(plan: Plan, done: Done) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent decides what it means
    policy = scripted.policy(parse(plan.policy).name, plan.config, plan.seed)
    _Worker.player = Player(plan, policy.name, in_process(plan, policy, load_judge(plan.judge)), done)


def _work(jobs: Sequence[Job]) -> list[Result]:
    results: list[Result] = []
    asyncio.run(_Worker.player.play(jobs, results.append, concurrency=1))
    return results


def _batches(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Give the jobs in order, in lists of about EPISODES_AT_ONCE samples; a large job is divided."""
    batch: list[Job] = []
    for job in jobs:
        for at in range(0, len(job.samples), EPISODES_AT_ONCE):
            batch.append(Job(job.path, job.samples[at : at + EPISODES_AT_ONCE]))
            if sum(len(part.samples) for part in batch) >= EPISODES_AT_ONCE:
                yield batch
                batch = []
    if batch:
        yield batch


def play_in_processes(plan: Plan, jobs: Sequence[Job], done: Done, emit: Emit, workers: int) -> None:
    """Do `Player.play` for a script in several processes. Results come in the order of the jobs."""
    batches = list(_batches(jobs))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (plan, done)) as pool:
        try:
            for results in pool.map(_work, batches):
                for result in results:
                    emit(result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

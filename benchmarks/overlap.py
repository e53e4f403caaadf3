"""Steps a minute when rollouts are played ahead of training, with a policy that needs 200 ms a reply.

    python -m benchmarks.overlap

The policy is `policy_server`, in a process of its own, and the trainer is a clock: a step trains as long as
its eight episodes of three turns took in a warm-up. So both stand for hardware of their own, and only the
order of events is measured: `--max-staleness` 0, 1 and 2. Scenarios, tools, judge and reward are the real
ones. On hardware that rollouts and training share there is nothing to win, and nothing of that is seen here.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/overlap.py` works too

from benchmarks.scaling import POLICY, RULES, in_process, served, shipped
from core.policies.contract import Access
from evaluation.rollout_executor import RolloutExecutor, Unit
from project_types import Scenario
from training_runs.rollout_batch import Played
from training_runs.rollouts_ahead import Play, RolloutsAhead

BAR = 1.5
"""Lowest ratio of steps a minute, one step ahead, to those in turn. Two is the most there can be."""
STALENESS = (0, 1, 2)
EPISODES = 8


class Took(NamedTuple):
    """What a measurement gave."""

    most: int
    stale: Sequence[int]
    """Of each step's rollouts."""
    seconds: float


class Rollouts:
    """Plays the batches of steps, and stores nothing."""

    def __init__(self, executor: RolloutExecutor) -> None:
        self._executor = executor

    async def of_step(self, scenarios: Sequence[Scenario], step: int, checkpoint: int) -> Played:
        """Play one episode of each scenario, all at once."""
        began = time.perf_counter()
        units = [Unit(scenario=one, sample=step, policy=POLICY, config=RULES) for one in scenarios]
        rolled = await asyncio.gather(*map(self._executor.play, units))
        return Played([], [one.episode for one in rolled], Counter(), time.perf_counter() - began)

    def abandon(self) -> None:
        """Do nothing: all steps are made."""

    def forget_step(self, step: int) -> None:
        """Do nothing: nothing is stored."""


async def once(play: Play) -> Played:
    """Play; no service of ours can die here."""
    return await play()


async def measure(
    rollouts: Rollouts, scenarios: Sequence[Scenario], most: int, steps: int, trains_s: float
) -> Took:
    """Make so many steps, at most `most` of them ahead."""
    began, stale = time.perf_counter(), []
    async with RolloutsAhead(repeat(scenarios), rollouts, once, most=most, last=steps) as ahead:
        for step in range(1, steps + 1):
            batch = await ahead.take(step, step - 1)
            ahead.begin(step, step - 1)
            await asyncio.sleep(trains_s)
            stale.append(batch.staleness)
    return Took(most, stale, time.perf_counter() - began)


async def compare(wait_s: float, steps: int) -> list[Took]:
    """Measure every staleness, after a warm-up."""
    with tempfile.TemporaryDirectory() as place, served(wait_s) as url:
        scenarios, database = shipped(Path(place), EPISODES)
        access = Access(url, "none", Path(place), "", "")
        async with in_process(database, access) as executor:
            rollouts = Rollouts(executor)
            await rollouts.of_step(scenarios, 0, 0)
            trains_s = (await rollouts.of_step(scenarios, 0, 0)).seconds
            print(f"rollouts of a step take {trains_s:.2f} s, and so does its training")
            return [await measure(rollouts, scenarios, most, steps, trains_s) for most in STALENESS]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overlap",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--wait-s", type=float, default=0.2, metavar="S", help="of a reply (default 0.2)")
    parser.add_argument("--steps", type=int, default=20, help="default %(default)s")
    parser.add_argument("--quick", action="store_true", help="4 steps, 20 ms a reply")
    arguments = parser.parse_args(argv)
    wait_s, steps = (0.02, 4) if arguments.quick else (arguments.wait_s, arguments.steps)
    took = asyncio.run(compare(wait_s, steps))
    for one in took:
        print(
            f"max staleness {one.most}  {steps} steps  {one.seconds:6.2f} s  {60 * steps / one.seconds:5.1f} steps/min"
            f"  weights {max(one.stale)} steps old at most"
        )
    ratio = took[0].seconds / took[1].seconds
    print(f"ratio={ratio:.2f} bar={BAR}")
    return int(ratio < BAR)


if __name__ == "__main__":
    sys.exit(main())

"""Episodes a second for 1, 2, 4 and 8 workers against a policy that needs 200 ms a reply.

    python -m benchmarks.scaling --executor ray

A worker plays one episode at a time here, so that eight of them can be eight times as fast and no more. What
is missing to eight is our own work and the cluster's. The policy is `policy_server` in a process of its own;
scenarios, tools, judge and reward are the real ones. Not here: more episodes at once in one worker, which
costs less than more workers (`--concurrency`).
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/scaling.py` works too

from build_logs import build
from chaos.shipped import split_folder
from core.episode_store.scenarios import scenario_paths
from core.log_stores.pinned import PinnedDatabase
from core.policies.contract import Access
from core.policies.openai import opened
from evaluation.concurrency import drain
from evaluation.ray_executor import OnRay, on_ray, site_of
from evaluation.rollout_executor import InProcess, RolloutExecutor, Unit
from make_judge_model import load_judge
from project_types import EpisodeConfig, Scenario, read_scenario

BAR = 7.0
"""Lowest ratio of eight workers to one."""
POLICY = "openai:fixed"
RULES = EpisodeConfig()
TURNS = 3


class Took(NamedTuple):
    """What a measurement gave."""

    workers: int
    episodes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Episodes a second."""
        return self.episodes / self.seconds


@contextmanager
def served(wait_s: float, turns: int = TURNS) -> Iterator[str]:
    """Give the base URL of a policy server in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.policy_server",
        "--wait-s",
        str(wait_s),
        "--turns",
        str(turns),
    ]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def shipped(folder: Path, count: int) -> tuple[list[Scenario], Path]:
    """Return the first scenarios of the test split, and a database of them."""
    split = folder / "split"
    split.mkdir()
    paths = scenario_paths(split_folder("test"), count)
    for path in paths:
        (split / path.name).write_bytes(path.read_bytes())
    build(split, folder / "logs.db")
    return [read_scenario(path) for path in paths], folder / "logs.db"


@asynccontextmanager
async def in_process(database: Path, access: Access) -> AsyncIterator[InProcess]:
    """Give an executor that plays here."""
    async with opened("fixed", RULES, 0, access) as policy:
        yield InProcess(
            lambda unit: policy.chat(unit.scenario.id, unit.sample),
            load_judge("offline"),
            PinnedDatabase(database),
        )


async def measure(executor: RolloutExecutor, scenarios: Sequence[Scenario], workers: int, each: int) -> Took:
    """Play so many episodes for each worker, one at a time in each."""
    count = workers * each
    samples = enumerate(islice(cycle(scenarios), count))
    units = (Unit(scenario=one, sample=n, policy=POLICY, config=RULES) for n, one in samples)

    async def play(unit: Unit) -> None:
        await executor.play(unit)

    began = time.perf_counter()
    await drain(units, play, workers)
    return Took(workers, count, time.perf_counter() - began)


async def compare(kind: str, wait_s: float, counts: Sequence[int], each: int) -> list[Took]:
    """Measure every number of workers, after a warm-up of each worker."""
    most = max(counts)
    with tempfile.TemporaryDirectory() as place, served(wait_s) as url:
        scenarios, database = shipped(Path(place), 8)
        access = Access(url, "none", Path(place), "", "")
        if kind == "process":
            async with in_process(database, access) as here:
                await measure(here, scenarios, most, 1)
                return [await measure(here, scenarios, workers, each) for workers in counts]
        site = site_of(database=database, judge="offline", seed=0, access=access)
        async with on_ray(site, most, None) as cluster:
            await measure(cluster, scenarios, most, 2)
            parts = {workers: OnRay(cluster.workers[:workers]) for workers in counts}
            return [await measure(part, scenarios, workers, each) for workers, part in parts.items()]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--executor", choices=["process", "ray"], default="process", help="default %(default)s"
    )
    parser.add_argument("--wait-s", type=float, default=0.2, metavar="S", help="of a reply (default 0.2)")
    parser.add_argument("--episodes", type=int, default=20, help="for each worker (default 20)")
    parser.add_argument("--quick", action="store_true", help="2 episodes for each worker, 20 ms a reply")
    arguments = parser.parse_args(argv)
    wait_s, each = (0.02, 2) if arguments.quick else (arguments.wait_s, arguments.episodes)
    took = asyncio.run(compare(arguments.executor, wait_s, (1, 2, 4, 8), each))
    for one in took:
        print(
            f"{one.workers} workers  {one.episodes:4} episodes  {one.seconds:6.2f} s  {one.rate:6.2f} episodes/s"
            f"  {one.rate / took[0].rate:5.2f} x"
        )
    ratio = took[-1].rate / took[0].rate
    print(f"ratio={ratio:.2f} bar={BAR}")
    return int(ratio < BAR)


if __name__ == "__main__":
    sys.exit(main())

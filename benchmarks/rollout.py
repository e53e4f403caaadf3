"""What an episode costs a turn beyond the bare openai client, with a policy that answers at once.

    python -m benchmarks.rollout

Both sides send the same conversations to the same server, one request at a time. One side is the openai
client alone. The other plays the episodes: it offers and runs the real tools, judges and scores. Each is
timed in turn, and its best round counts. Processor time is compared, because it is what a busy machine
disturbs least, and because many episodes at once share a processor, not the clock. Not here: the policy's own
time (`engine`), many workers (`scaling`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/rollout.py` works too

from benchmarks.scaling import POLICY, RULES, in_process, served, shipped
from core.policies.contract import Access
from core.policies.openai import connected
from evaluation.rollout_executor import InProcess, Rolled, Unit

BAR = 1.25
"""Highest ratio of an episode's processor time to that of its requests alone."""


class Cost(NamedTuple):
    """Milliseconds a turn."""

    cpu_ms: float
    wall_ms: float


async def timed(work: Callable[[], Awaitable[Any]], turns: int) -> Cost:
    """Do the work and return what a turn of it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return Cost(1e3 * (time.process_time() - cpu) / turns, 1e3 * (time.perf_counter() - wall) / turns)


def requests(rolled: Sequence[Rolled]) -> list[dict[str, Any]]:
    """Return what the episodes asked, as a client's arguments."""
    fixed = {"model": "fixed", "temperature": RULES.temperature, "top_p": RULES.top_p}
    fixed["max_completion_tokens"] = RULES.max_completion_tokens
    asked = []
    for one in rolled:
        messages = one.episode.messages
        replies = [place for place, said in enumerate(messages) if said["role"] == "assistant"]
        asked += [{**fixed, "messages": list(messages[:place]), "tools": one.offered} for place in replies]
    return asked


async def compare(episodes: int, turns: int, rounds: int) -> tuple[Cost, Cost]:
    """Return the best of the bare client's rounds and the best of ours."""
    with tempfile.TemporaryDirectory() as place, served(0.0, turns) as url:
        scenarios, database = shipped(Path(place), 4)
        access = Access(url, "none", Path(place), "", "")
        several = [scenarios[number % len(scenarios)] for number in range(episodes)]
        units = [Unit(scenario=one, sample=n, policy=POLICY, config=RULES) for n, one in enumerate(several)]
        async with in_process(database, access) as here, connected(url, access, RULES) as client:
            asked = requests([await here.play(unit) for unit in units])

            async def bare() -> None:
                for one in asked:
                    await client.chat.completions.create(**one)

            async def ours() -> None:
                await play_all(here, units)

            costs = [(await timed(bare, len(asked)), await timed(ours, len(asked))) for _ in range(rounds)]
    best_bare, best_ours = map(min, zip(*costs, strict=True))
    return best_bare, best_ours


async def play_all(executor: InProcess, units: Sequence[Unit]) -> None:
    """Play one after the other."""
    for unit in units:
        await executor.play(unit)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rollout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--episodes", type=int, default=20, help="in a round (default %(default)s)")
    parser.add_argument("--turns", type=int, default=6, help="replies of an episode (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each side, in turn (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="2 episodes of 2 turns, once")
    arguments = parser.parse_args(argv)
    size = (2, 2, 1) if arguments.quick else (arguments.episodes, arguments.turns, arguments.rounds)
    bare, ours = asyncio.run(compare(*size))
    for name, cost in (("openai client", bare), ("episode", ours)):
        print(f"{name:<14} {cost.cpu_ms:6.2f} CPU ms a turn  {cost.wall_ms:6.2f} ms a turn")
    ratio = ours.cpu_ms / bare.cpu_ms
    print(f"ratio={ratio:.2f} bar={BAR}")
    return int(ratio > BAR)


if __name__ == "__main__":
    sys.exit(main())

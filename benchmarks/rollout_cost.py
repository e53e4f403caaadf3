"""What 1,000 rollouts cost: tokens, bytes, processor seconds of ours, and what a prefix cache saves.

    python -m benchmarks.rollout_cost

`script:investigator` plays scenarios of the test split by both sets of rules. A provider would read the
conversation so far before each reply. Tokens are estimated from the text (`core.log_stores.token_budget`),
because a script has no tokenizer. A prefix cache keeps what it has read: then a token is read once in an
episode, and the opening of a scenario once for all its samples. Not here: a model's own time, and prices,
which change (`--usd` takes them).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/rollout_cost.py` works too

from benchmarks.scaling import shipped
from core.conversation import tool_schemas
from core.log_stores.pinned import PinnedDatabase
from core.log_stores.token_budget import estimate_tokens
from core.policies.scripted import policy
from evaluation.rollout_executor import InProcess, Rolled, Unit
from log_search_tools import log_tools
from make_judge_model import load_judge
from project_types import EMBEDDED, EpisodeConfig, Message

RULES = {"general": EpisodeConfig(), "embedded": EMBEDDED}
SAMPLES = 4


class Cost(NamedTuple):
    """What one set of rules costs a rollout, on average."""

    turns: float
    read: float
    """Tokens of all prompts."""
    read_once: float
    """Tokens that a cache for each episode has not seen."""
    read_shared: float
    """Tokens that a cache for all samples of a scenario has not seen."""
    written: float
    bytes: float
    cpu_ms: float


def tokens(message: Message) -> int:
    """Return about how many tokens a message takes."""
    calls = message.get("tool_calls")
    return estimate_tokens(str(message["content"] or "") + (json.dumps(calls) if calls else ""))


def cost_of(rolled: Sequence[Rolled], offered: int, cpu_s: float) -> Cost:
    """Add up what the episodes cost; `offered` is what the tools' schemas take."""
    turns = read = once = opening = written = 0
    for one in rolled:
        sizes = [(said["role"], tokens(said)) for said in one.episode.messages]
        opening += offered + sum(size for _, size in sizes[:2])
        so_far, unread = offered, offered
        for role, size in sizes:
            if role == "assistant":
                turns, read, once, written = turns + 1, read + so_far, once + unread, written + size
                unread = 0
            else:
                unread += size
            so_far += size
    count = len(rolled)
    shared = once - opening * (SAMPLES - 1) / SAMPLES
    stored = sum(len(one.episode.model_dump_json()) + 1 for one in rolled)
    sums = (turns, read, once, shared, written, stored, 1000 * cpu_s)
    return Cost(*(value / count for value in sums))


async def measure(rules: EpisodeConfig, scenarios: int) -> Cost:
    """Play SAMPLES of each scenario."""
    with tempfile.TemporaryDirectory() as place:
        read, database = shipped(Path(place), scenarios)
        plays = policy("investigator", rules, 0)
        here = InProcess(
            lambda unit: plays.chat(unit.scenario.id, unit.sample),
            load_judge("offline"),
            PinnedDatabase(database),
        )
        units = [
            Unit(scenario=one, sample=n, policy=plays.name, config=rules)
            for one in read
            for n in range(SAMPLES)
        ]
        began = time.process_time()
        rolled = [await here.play(unit) for unit in units]
        seconds = time.process_time() - began
        offered = estimate_tokens(json.dumps(tool_schemas(log_tools(database, read[0].id, rules))))
        return cost_of(rolled, offered, seconds)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table for 1,000 rollouts."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rollout_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--scenarios", type=int, default=20, help=f"{SAMPLES} samples each (default %(default)s)"
    )
    parser.add_argument("--usd", type=float, nargs=2, metavar=("READ", "WRITTEN"), help="a million tokens")
    arguments = parser.parse_args(argv)
    for name, rules in RULES.items():
        cost = asyncio.run(measure(rules, arguments.scenarios))
        print(
            f"{name:<9} 1,000 rollouts: {cost.turns * 1e3:,.0f} turns, {cost.read / 1e3:.2f} M tokens read, "
            f"{cost.written / 1e3:.3f} M written, {cost.bytes / 1e3:.1f} MB stored, {cost.cpu_ms:.0f} CPU s of ours"
        )
        print(
            f"{'':<9} with a prefix cache: {cost.read_once / 1e3:.2f} M read, "
            f"{cost.read_shared / 1e3:.2f} M when the samples of a scenario share theirs"
        )
        if arguments.usd:
            read, written = arguments.usd
            print(f"{'':<9} {(cost.read * read + cost.written * written) / 1e3:.2f} USD")
    return 0


if __name__ == "__main__":
    sys.exit(main())

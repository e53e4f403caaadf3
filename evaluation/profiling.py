"""The command behind `python -m evaluation profile RUN --n 8`: what a policy would learn from which scenario.

GRPO learns from differences within a group: the rollouts of one scenario. A group in which all rewards are
equal teaches nothing and costs as much as any other. From the stored samples of a scenario follows how often
a group of n would differ. So an evaluation with some samples tells, before a training run is paid for, which
scenarios to keep, which are too easy and to be hardened, and which nobody solves.

Not here: how good a policy is (`summary`), and groups of a run under way (`training_runs.monitors`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from core.command_line import printable
from core.episode_store.loading import load_run
from core.pass_at_k import pass_at_k
from core.tables import aligned
from project_types import ConfigurationError, Episode

SHOWN = 40
ADVICE = ("keep", "harden", "drop")


class Profile(NamedTuple):
    """What the samples of one scenario say about groups to come."""

    scenario_id: str
    samples: int
    solved: float
    """Share of the samples that are right."""
    mean: float
    spread: float
    """Standard deviation of the rewards."""
    useful: float
    """Probability that a group of n has two different rewards."""
    mixed: float
    """Probability that a group of n has a right and a wrong rollout."""

    @property
    def advice(self) -> str:
        """keep: it is solved now and then. harden: always. drop: never, so that only failures differ."""
        if self.solved == 1.0:
            return "harden"
        return "keep" if self.solved > 0 else "drop"


def command(arguments: argparse.Namespace) -> int:
    """Profile a run and tell."""
    loaded = load_run(arguments.run, split=arguments.split, sampling=arguments.sampling)
    for warning in loaded.warnings():
        print(printable(f"note: {warning}"), file=sys.stderr)
    found = profiles(loaded.episodes, arguments.n)
    if arguments.json:
        print(json.dumps([{**one._asdict(), "advice": one.advice} for one in found], indent=1))
    else:
        print(_told(found, arguments.n))
    return 0


def profiles(episodes: Iterable[Episode], n: int) -> list[Profile]:
    """Return the profile of each scenario, the most useful first.

    Raises:
        ConfigurationError: no scenario has two scored samples.
    """
    by_scenario: dict[str, list[Episode]] = {}
    for episode in episodes:
        if episode.reward is not None:
            by_scenario.setdefault(episode.scenario_id, []).append(episode)
    several = {name: group for name, group in by_scenario.items() if len(group) > 1}
    if not several:
        raise ConfigurationError(
            "no scenario has two scored samples; play more (run --k 8), or of a training run read --sampling t1"
        )
    found = [_profile(name, group, n) for name, group in several.items()]
    return sorted(found, key=lambda one: (-one.mixed, -one.useful, one.scenario_id))


def _profile(name: str, group: Sequence[Episode], n: int) -> Profile:
    rewards = [float(episode.reward or 0.0) for episode in group]
    right = [episode.outcome.correct for episode in group]
    return Profile(
        scenario_id=name,
        samples=len(group),
        solved=sum(right) / len(right),
        mean=statistics.fmean(rewards),
        spread=statistics.pstdev(rewards),
        useful=differs(Counter(rewards).values(), n),
        mixed=differs(Counter(right).values(), n),
    )


def differs(counts: Iterable[int], n: int) -> float:
    """Return the probability that n samples are not all alike, given how often each value was seen.

    Up to as many as were seen it is unbiased: n are drawn without putting back, as `pass_at_k` does. For more
    it is what drawing with putting back gives, which says too little for rare values.
    """
    seen = list(counts)
    total = sum(seen)
    if n <= total:
        alike = sum(1 - pass_at_k(total, total - count, n) for count in seen)
    else:
        alike = sum((count / total) ** n for count in seen)
    return max(0.0, 1.0 - alike)


def _told(found: Sequence[Profile], n: int) -> str:
    advised = Counter(one.advice for one in found)
    useful, mixed = sum(one.useful for one in found), sum(one.mixed for one in found)
    kept = [one.useful for one in found if one.advice == "keep"]
    lines = [
        ("scenarios", len(found)),
        (f"groups of {n} that would differ in reward", f"{useful:.1f} of {len(found)}"),
        (f"groups of {n} with a right and a wrong rollout", f"{mixed:.1f} of {len(found)}"),
        ("would differ among those to keep", f"{sum(kept):.1f} of {len(kept)}"),
        *((name, advised[name]) for name in ADVICE),
    ]
    head = ("scenario", "samples", "solved", "reward", "spread", "differs", "right and wrong", "")
    rows = [head, *(_row(one) for one in found[:SHOWN])]
    more = [f"... and {len(found) - SHOWN} more; --json lists all"] if len(found) > SHOWN else []
    return "\n".join([aligned(lines), "", aligned(rows), *more])


def _row(one: Profile) -> tuple[str, ...]:
    shares = (
        f"{one.solved:.0%}",
        f"{one.mean:+.2f}",
        f"{one.spread:.2f}",
        f"{one.useful:.0%}",
        f"{one.mixed:.0%}",
    )
    return (one.scenario_id, str(one.samples), *shares, one.advice)

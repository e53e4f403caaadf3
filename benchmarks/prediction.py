"""How early and how falsely `watch` warns, on recorded runs of real optimisers.

    python benchmarks/prediction.py [--seeds N]

(a) 60 runs of a small network under SGD: a third with a learning rate at which its loss diverges, a third
well chosen, a third hardly learning. (b) 60 runs of a softmax bandit under REINFORCE: in half of them the
best arm breaks while it learns, so that its reward falls. (c) 40 disks that are filled by a process of
changing speed, and 40 that are written to and emptied. Each run is replayed row by row. Lead is the part of
the run that was left when the first warning came: from there to where the loss left all bounds, the reward
had lost half, or the disk was full. A warning in a run that goes well is a false alarm.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/prediction.py` works too

from failure_analysis.prediction.forecasts import filling, reward_collapsing, training_diverging

CAUGHT_BAR, FALSE_BAR = 0.9, 0.05
GIB = float(1 << 30)


class Recorded(NamedTuple):
    """A run, and where it failed."""

    kind: str
    values: list[float]
    norms: list[float]
    """Of the gradient, where there is one."""
    failed_at: int | None
    """Index of the value at which it had failed; None for a run that went well."""


def networks(seeds: Sequence[int]) -> Iterator[Recorded]:
    """One hidden layer on a noisy sine, full-batch SGD with momentum."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        rate = (rng.uniform(0.3, 0.9), rng.uniform(0.02, 0.15), rng.uniform(1e-4, 1e-3))[seed % 3]
        values, norms = _train(rng, rate)
        bad = next((at for at, loss in enumerate(values) if not loss < 20 * values[0]), None)
        yield Recorded("loss", values[: bad + 1] if bad is not None else values, norms, bad)


def _train(rng: np.random.Generator, rate: float) -> tuple[list[float], list[float]]:
    x = rng.uniform(-2, 2, (256, 1))
    y = np.sin(2 * x) + 0.1 * rng.normal(size=x.shape)
    weights = [rng.normal(size=(1, 32)), np.zeros((1, 32)), rng.normal(size=(32, 1)) / 6, np.zeros((1, 1))]
    speeds = [np.zeros_like(w) for w in weights]
    losses, norms = list[float](), list[float]()
    with np.errstate(all="ignore"):
        for step in range(120):
            batch = rng.choice(len(x), 64)
            now = rate * min(1.0, (step + 1) / 40)  # a warm-up, as real schedules have: trouble comes late
            hidden = np.tanh(x[batch] @ weights[0] + weights[1])
            error = hidden @ weights[2] + weights[3] - y[batch]
            losses.append(float(np.mean(error**2)))
            back = (2 / len(batch)) * error
            inner = (back @ weights[2].T) * (1 - hidden**2)
            gradients = [
                x[batch].T @ inner,
                inner.sum(0, keepdims=True),
                hidden.T @ back,
                back.sum(0, keepdims=True),
            ]
            norms.append(float(np.sqrt(sum((g**2).sum() for g in gradients))))
            for w, v, g in zip(weights, speeds, gradients, strict=True):
                v *= 0.9
                v -= now * g
                w += v
            if not np.isfinite(losses[-1]) or losses[-1] > 1e6:
                break
    return losses, norms


def bandits(seeds: Sequence[int]) -> Iterator[Recorded]:
    """REINFORCE with a baseline on eight arms; in every second run the best arm slowly stops paying."""
    for seed in seeds:
        rng = np.random.default_rng(1000 + seed)
        pay = rng.uniform(-0.5, 0.4, 8)
        best = int(pay.argmax())
        pay[best] = 0.8
        logits, rewards, breaks = np.zeros(8), list[float](), int(rng.integers(40, 70)) if seed % 2 else None
        for step in range(120):
            if breaks is not None and step >= breaks:
                pay[best] -= 0.05
            chances = np.exp(logits - logits.max())
            chances /= chances.sum()
            arms = rng.choice(8, 32, p=chances)
            got = np.clip(pay[arms] + 0.3 * rng.normal(size=32), -1, 1)
            rewards.append(float(got.mean()))
            for arm, reward in zip(arms, got, strict=True):
                logits += 0.05 * (reward - got.mean()) * ((np.arange(8) == arm) - chances)
        failed = _lost_half(rewards, breaks) if breaks is not None else None
        yield Recorded("reward", rewards[: failed + 1] if failed is not None else rewards, [], failed)


def _lost_half(rewards: list[float], breaks: int) -> int | None:
    top = max(np.convolve(rewards[: breaks + 1], np.ones(4) / 4, "valid"))
    means = np.convolve(rewards, np.ones(4) / 4, "valid")
    return next((at + 3 for at, mean in enumerate(means) if at > breaks and mean < top / 2), None)


def disks(seeds: Sequence[int]) -> Iterator[Recorded]:
    """Free bytes every ten seconds."""
    for seed in seeds:
        rng = np.random.default_rng(2000 + seed)
        free, values, fills = float(rng.uniform(20, 60)) * GIB, list[float](), seed % 2 == 0
        for step in range(400):
            written = rng.exponential(0.12) * GIB * (1 + 0.5 * np.sin(step / 15))
            emptied = rng.uniform(2, 6) * GIB if not fills and step % 30 == 29 else 0.0
            free = min(64 * GIB, max(0.0, free - written * (1.5 if fills else 1.0) + emptied))
            values.append(free)
            if free == 0.0:
                break
        yield Recorded("disk", values, [], len(values) - 1 if values[-1] == 0.0 else None)


def disk_warning(values: Sequence[float], _: Sequence[float]) -> str:
    """As `watch` asks: the last five minutes, ten minutes ahead."""
    recent = values[-30:]
    left = filling([10.0 * at for at in range(len(recent))], recent, 600.0)
    return f"{left:.0f} s" if left is not None else ""


WARNS: dict[str, Callable[[Sequence[float], Sequence[float]], str]] = {
    "loss": training_diverging,
    "reward": lambda values, _: reward_collapsing(values),
    "disk": disk_warning,
}


def first_warning(run: Recorded) -> int | None:
    """The index at which the first warning comes, replayed value by value."""
    end = run.failed_at if run.failed_at is not None else len(run.values)
    return next((at for at in range(end) if WARNS[run.kind](run.values[: at + 1], run.norms[: at + 1])), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Return 1 when a bar is missed."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument(
        "--seeds", type=int, default=1000, metavar="N", help="the first seed (default %(default)s)"
    )
    first = flags.parse_args(argv).seeds
    made = [(networks, 60), (bandits, 60), (disks, 80)]
    good = True
    for make, count in made:
        seeds = range(first, first + count)
        runs = list(make(seeds))
        bad, well = (
            [run for run in runs if run.failed_at is not None],
            [run for run in runs if run.failed_at is None],
        )
        warned = [(run, at) for run in bad if (at := first_warning(run)) is not None]
        leads = [(run.failed_at or 0) - at for run, at in warned]
        false = sum(first_warning(run) is not None for run in well)
        caught = len(warned) / max(1, len(bad))
        good = good and caught >= CAUGHT_BAR and false <= FALSE_BAR * len(well)
        print(f"{runs[0].kind:7} failing {len(bad):3}, warned of before {caught:.2f}, steps ahead: median "
              f"{np.median(leads) if leads else 0:.0f}, least {min(leads, default=0)}; "
              f"going well {len(well):3}, false alarms {false}")  # fmt: skip
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())

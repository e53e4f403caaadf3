"""The choice of the best checkpoint: the one with the highest mean reward on val.

Val is played at temperature 0. When it is also sampled at temperature 1 (`--val-samples`), the mean of both
counts. Of equals the later one wins. Test plays no part in the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TIE = 1e-9
"""Added per checkpoint to the number ART keeps checkpoints by, so that it prefers the later of equals too."""


def val_rewards(rows: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Return the mean reward on val of every checkpoint examined there, from rows of metrics.jsonl."""
    sampled = {row["step"]: row["reward"] for row in rows if row["split"] == "val_sampled"}
    greedy = {row["step"]: row["reward"] for row in rows if row["split"] == "val"}
    return {step: (reward + sampled.get(step, reward)) / 2 for step, reward in greedy.items()}


def best_checkpoint(rewards: Mapping[int, float], otherwise: int) -> int:
    """Return the step of the best checkpoint, `otherwise` when none was examined."""
    return max(rewards, key=lambda step: (rewards[step], step), default=otherwise)


def selection(rewards: Mapping[int, float], step: int) -> float:
    """Return the number by which ART is to choose, in the same order as `best_checkpoint`."""
    return rewards[step] + TIE * step

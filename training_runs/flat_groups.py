"""Flat groups: groups of rollouts whose rewards are all equal.

GRPO compares a group's rollouts with one another. In a flat group no rollout is better than another, so every
advantage is 0 and there is nothing to learn. Such groups are counted and left out of the training job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import art


def is_flat(group: art.TrajectoryGroup) -> bool:
    """Return whether all rewards of a group are equal. A group without any rollout is flat too."""
    return len({trajectory.reward for trajectory in group.trajectories}) < 2


def lessons(groups: Sequence[art.TrajectoryGroup]) -> list[art.TrajectoryGroup]:
    """Return the groups to train on: those that are not flat.

    When all are flat, return those that hold a rollout: the backend has to count the step all the same.
    """
    taught = [group for group in groups if not is_flat(group)]
    return taught or [group for group in groups if group.trajectories]

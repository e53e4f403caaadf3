"""Learning-rate decay: the learning rate falls in a straight line over the steps of a run.

It depends on the step alone and never on the time. So a run that was stopped goes on exactly where it was,
and a slow machine trains as a fast one does.
"""

from __future__ import annotations

from project_types import TrainingConfig


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the learning rate of a step; 1 is the first.

    rate = learning_rate * (1 - learning_rate_decay * (step - 1) / steps)
    """
    behind = (step - 1) / config.steps
    return config.learning_rate * (1 - config.learning_rate_decay * behind)

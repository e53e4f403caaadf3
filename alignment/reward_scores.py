"""A finished reward model that scores answers: for PPO, over HTTP, and as `investigate(score=...)`.

It is loaded from the registry once its hashes are right, and must be of kind reward. Not here: training it
(`train_commands`), whether it is any good (`reward_model`), and the client (`core.served_adapters`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from alignment.adapters import Registry
from alignment.measurements import judged
from project_types import ConfigurationError
from training_service.base_models import Base
from training_service.engine import TrainingError
from training_service.examples import answer
from training_service.heads import ScalarModel
from training_service.precision import Precision


class RewardModel:
    """One reward model of the registry. Safe to use from several threads."""

    def __init__(self, base: Base, registry: Registry, name: str, precision: Precision = "float32") -> None:
        """Load it; one that its gate refused is loaded with a warning.

        Raises ConfigurationError when it is damaged, of another base, or no reward model.
        """
        card = registry.card(name)
        folder = registry.checked(card.full_name, base.sha256)
        if card.kind != "reward":
            raise ConfigurationError(
                f"{card.full_name} is of kind {card.kind}; name one of kind reward, see python -m alignment adapters list"
            )
        measured = judged(registry).get(card.full_name)
        if measured is not None and measured.refusals:
            warnings.warn(
                f"{card.full_name} was refused by its gate ({measured.refusals[0]}): what it rewards may be a habit of form",
                stacklevel=2,
            )
        self.name, self._base, self._precision = card.full_name, base, precision
        self._model = ScalarModel(base.policy(folder), base.device)
        self._model.load_head(folder)

    def scores(self, messages: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> list[float]:
        """Return the reward of each answer to one prompt. Raises TrainingError when
        they are too long together.
        """
        read = [answer(self._base.chat, messages, text) for text in answers]
        tokens, most = sum(len(one.tokens) for one in read), self._base.context
        if tokens > most:
            raise TrainingError(
                f"prompt and answers have {tokens} tokens, {most} fit at once; send fewer answers"
            )
        with torch.no_grad():
            rewards: list[float] = self._model.rewards(read, self._precision).tolist()
        return rewards

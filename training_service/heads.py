"""A scalar on top of a language model: the reward of an answer, or the value of each of its tokens.

`ScalarModel` is a model (with its adapter) and one linear layer on the last hidden states. The layer starts
at zero, so that every answer begins with the same reward. `Rank` trains it as a Bradley-Terry reward model:
`-log sigmoid(reward of the better - reward of the worse)`, the loss of Stiennon et al. (arXiv 2009.01325).

Not here: what the answers are (`examples`) and the loop (`fitting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from training_service.examples import TokenPair
from training_service.precision import Precision, arithmetic
from training_service.prefix_tree import Places, TokenTree, TreePlan
from training_service.sequences import TokenSequence

HEAD = "head.safetensors"


class ScalarModel(nn.Module):
    """A language model with a scalar head."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.model, self.device = model, device
        width = int(model.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.head = nn.Linear(width, 1, bias=True).to(device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def scalars(self, tree: TokenTree, places: Places, precision: Precision) -> Tensor:
        """Return the head's output at some places of a packed row, `[N]`."""
        with arithmetic(precision, self.device):
            states = decoder(self.model)(
                input_ids=torch.from_numpy(tree.tokens).long().to(self.device)[None],
                position_ids=torch.from_numpy(tree.positions).to(self.device)[None],
                use_cache=False,
                plan=TreePlan(tree, self.device),
            ).last_hidden_state[0]
        picked = states.index_select(0, torch.from_numpy(places).to(self.device)).float()
        return self.head(picked)[:, 0]  # type: ignore[no-any-return]

    def rewards(self, answers: Sequence[TokenSequence], precision: Precision = "float32") -> Tensor:
        """Return the reward of each answer, read at its last token, `[N]`."""
        tree = TokenTree([np.array(answer.tokens, np.int32) for answer in answers])
        return self.scalars(tree, np.array([path[-1] for path in tree.paths]), precision)

    def save_head(self, folder: Path) -> None:
        """Write the head beside the adapter."""
        tensors = {name: tensor.detach().cpu() for name, tensor in self.head.state_dict().items()}
        save_file(tensors, folder / HEAD)

    def load_head(self, folder: Path) -> None:
        """Read the head. Raises OSError when there is none."""
        self.head.load_state_dict(load_file(folder / HEAD))


def decoder(model: nn.Module) -> Any:
    """Return the part of a causal model below its output layer, adapters included."""
    inner: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    return inner.get_decoder()


@dataclass(frozen=True)
class Rank:
    """A Bradley-Terry reward model on pairs."""

    precision: Precision = "float32"

    def size(self, item: TokenPair) -> int:
        """Return the tokens of both answers, and of the prompt once."""
        return len(item.chosen.tokens) + item.rejected.sampled_count

    def weight(self, item: TokenPair) -> float:
        """Return 1: every pair counts the same."""
        return 1.0

    def loss(self, model: nn.Module, items: Sequence[TokenPair]) -> tuple[Tensor, dict[str, float]]:
        """Return the summed loss of pairs, with sums of margins and of right orders."""
        assert isinstance(model, ScalarModel)
        rewards = model.rewards([answer for item in items for answer in item], self.precision)
        margin = rewards[::2] - rewards[1::2]
        seen = {"margin": float(margin.detach().sum()), "right": float((margin > 0).sum())}
        return -logsigmoid(margin).sum(), seen

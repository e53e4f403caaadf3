"""What is learnt from demonstrations and pairs: their loss on a packed batch.

- `Imitate`: the mean negative log-likelihood of the assistant's tokens (supervised fine-tuning).
- `Prefer`: direct preference optimisation (Rafailov et al., arXiv 2305.18290), the sigmoid loss
  `-log sigmoid(beta * (margin of the policy - margin of the reference))`. A longer answer has a larger sum of
  log-probabilities to move. `ld_alpha` below 1 counts what an answer has beyond the shorter one of its pair by
  that much (LD-DPO, arXiv 2409.06411). `per_token` takes means instead of sums.

Prompts that several answers share are computed once (`prefix_tree`). Not here: the loop (`fitting`),
and reward models (`heads`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from training_service.examples import TokenPair
from training_service.precision import Precision
from training_service.scoring import score
from training_service.sequences import TokenSequence
from training_service.side_by_side import in_lanes


@dataclass(frozen=True)
class Imitate:
    """Supervised fine-tuning on demonstrations."""

    device: torch.device
    precision: Precision = "float32"

    def size(self, item: TokenSequence) -> int:
        """Return the tokens of a demonstration."""
        return len(item.tokens)

    def weight(self, item: TokenSequence) -> float:
        """Return its learnt tokens."""
        return float(item.sampled_count)

    def loss(self, model: nn.Module, items: Sequence[TokenSequence]) -> tuple[Tensor, dict[str, float]]:
        """Return the summed negative log-likelihood of the assistant's tokens."""
        logprobs = score(model, items, self.device, self.precision).logprobs
        return -logprobs.sum(), {"likely": float((logprobs.detach() > -0.6931).sum())}


class Referred(NamedTuple):
    """A pair with the log-probabilities of its tokens under the reference."""

    pair: TokenPair
    chosen: tuple[float, ...]
    rejected: tuple[float, ...]


@dataclass(frozen=True)
class Prefer:
    """Direct preference optimisation."""

    device: torch.device
    precision: Precision = "float32"
    beta: float = 0.1
    ld_alpha: float = 1.0
    per_token: bool = False
    imitation: float = 0.0
    """Weight of the mean negative log-likelihood of the chosen answer, added to the loss."""

    def size(self, item: Referred) -> int:
        """Return the tokens of both answers, and of the prompt once."""
        answers = item.pair.chosen.sampled_count + item.pair.rejected.sampled_count
        return len(item.pair.chosen.tokens) - item.pair.chosen.sampled_count + answers

    def weight(self, item: Referred) -> float:
        """Return 1: every pair counts the same."""
        return 1.0

    def loss(self, model: nn.Module, items: Sequence[Referred]) -> tuple[Tensor, dict[str, float]]:
        """Return the summed loss of pairs, with sums of margins, of right orders and of rewards."""
        policy = answer_logprobs(model, [item.pair for item in items], self.device, self.precision)
        margins, chosen_rewards, likelihoods = [], [], []
        for item, (chosen, rejected) in zip(items, policy, strict=True):
            shorter = min(len(chosen), len(rejected))
            better = self.beta * (self._sum(chosen, shorter) - self._known(item.chosen, chosen, shorter))
            worse = self.beta * (self._sum(rejected, shorter) - self._known(item.rejected, rejected, shorter))
            margins.append(better - worse)
            chosen_rewards.append(better.detach())
            likelihoods.append(chosen.mean())
        margin = torch.stack(margins)
        loss = -logsigmoid(margin).sum() - self.imitation * torch.stack(likelihoods).sum()
        seen = {
            "margin": margin.detach().sum(),
            "right": (margin > 0).sum(),
            "chosen_reward": sum(chosen_rewards),
        }
        return loss, {name: float(value) for name, value in seen.items()}

    def _known(self, reference: Sequence[float], like: Tensor, shorter: int) -> Tensor:
        return self._sum(torch.tensor(reference, dtype=like.dtype, device=like.device), shorter)

    def _sum(self, logprobs: Tensor, shorter: int) -> Tensor:
        """Sum an answer's log-probabilities, those beyond the shorter answer by `ld_alpha`."""
        if self.per_token:
            return logprobs.mean()
        return logprobs[:shorter].sum() + self.ld_alpha * logprobs[shorter:].sum()


def answer_logprobs(
    model: nn.Module, pairs: Sequence[TokenPair], device: torch.device, precision: Precision
) -> list[tuple[Tensor, Tensor]]:
    """Return the log-probabilities of both answers of each pair, per token."""
    sequences = [sequence for pair in pairs for sequence in pair]
    logprobs = score(model, sequences, device, precision).logprobs
    pieces = torch.split(logprobs, [sequence.sampled_count for sequence in sequences])
    return list(zip(pieces[::2], pieces[1::2], strict=True))


def referred(
    model: nn.Module,
    pairs: Sequence[TokenPair],
    device: torch.device,
    precision: Precision,
    together: int = 4,
    noted: Callable[[int], object] = lambda _: None,
) -> list[Referred]:
    """Note what the reference says of each pair: the model as it is now, before its first step.

    `noted` is told how many pairs were done since the last call.
    """

    def read(part: Sequence[TokenPair]) -> list[Referred]:
        with torch.no_grad():
            said = answer_logprobs(model, part, device, precision)
        return [
            Referred(pair, tuple(chosen.tolist()), tuple(rejected.tolist()))
            for pair, (chosen, rejected) in zip(part, said, strict=True)
        ]

    found: list[Referred] = []
    parts = [pairs[start : start + together] for start in range(0, len(pairs), together)]
    for part in in_lanes(model.parameters(), parts, read):
        found += part
        noted(len(part))
    return found

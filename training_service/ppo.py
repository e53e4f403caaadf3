"""Proximal policy optimisation with a value head: the update, not the sampling.

Answers were sampled with known log-probabilities. Each has one reward, given at its last token. Every token
also pays for its distance from the reference, `-coefficient * (log p - log p_reference)`. Advantages come
from generalised advantage estimation (Schulman et al., arXiv 1506.02438). The loss is the clipped surrogate
with a clipped value loss (arXiv 1707.06347). The coefficient follows a controller that aims at a distance
(Ziegler et al., arXiv 1909.08593).

Not here: where answers and rewards come from (`alignment.ppo_command`), and GRPO (`training`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from training_service.heads import ScalarModel
from training_service.precision import Precision, arithmetic
from training_service.prefix_tree import TokenTree, TreePlan
from training_service.sequences import TokenSequence
from training_service.side_by_side import add_gradients


@dataclass(frozen=True)
class PpoOptions:
    """The knobs of the update."""

    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.5
    discount: float = 1.0
    decay: float = 0.95
    """Lambda of generalised advantage estimation."""
    epochs: int = 2
    """Passes over the answers of one iteration."""
    max_grad_norm: float = 1.0


class Rollout(NamedTuple):
    """One sampled answer, ready to learn from. Lists hold a number for each sampled token."""

    sequence: TokenSequence
    old_logprobs: list[float]
    old_values: list[float]
    advantages: list[float]
    returns: list[float]


class Estimates(NamedTuple):
    """Log-probability, value and entropy of every sampled token of some sequences, in order, `[N]`."""

    logprobs: Tensor
    values: Tensor
    entropies: Tensor


def estimates(
    model: ScalarModel, sequences: Sequence[TokenSequence], precision: Precision = "float32"
) -> Estimates:
    """Run policy and value head over packed sequences: one forward of the body for both."""
    tree = TokenTree([np.array(sequence.tokens, np.int32) for sequence in sequences])
    inner: Any = model.model.get_base_model() if hasattr(model.model, "get_base_model") else model.model  # type: ignore[operator]
    reads, writes = [], []
    for sequence, path in zip(sequences, tree.paths, strict=True):
        places = np.array(sequence.scored_places())
        reads.append(path[places - 1])
        writes.append(path[places])
    picked = torch.from_numpy(np.concatenate(reads)).to(model.device)
    with arithmetic(precision, model.device):
        states = (
            inner.get_decoder()(
                input_ids=torch.from_numpy(tree.tokens).long().to(model.device)[None],
                position_ids=torch.from_numpy(tree.positions).to(model.device)[None],
                use_cache=False,
                plan=TreePlan(tree, model.device),
            )
            .last_hidden_state[0]
            .index_select(0, picked)
        )
        logits = inner.get_output_embeddings()(states)
    every = logits.float().log_softmax(-1)
    written = torch.from_numpy(tree.tokens[np.concatenate(writes)]).long().to(model.device)
    with torch.no_grad():
        entropies = -(every.exp() * every).sum(-1)
    return Estimates(every.gather(-1, written[:, None])[:, 0], model.head(states.float())[:, 0], entropies)


def advantages(
    rewards: Sequence[float], values: Sequence[float], discount: float = 1.0, decay: float = 0.95
) -> tuple[list[float], list[float]]:
    """Return generalised advantages and returns of one answer; nothing follows its last token."""
    found, after, carried = [0.0] * len(rewards), 0.0, 0.0
    for place in reversed(range(len(rewards))):
        surprise = rewards[place] + discount * after - values[place]
        carried = surprise + discount * decay * carried
        found[place], after = carried, values[place]
    return found, [advantage + value for advantage, value in zip(found, values, strict=True)]


def token_rewards(
    reward: float, logprobs: Sequence[float], reference: Sequence[float], coefficient: float
) -> list[float]:
    """Return what each token earns: its distance from the reference as a cost, and the reward at the end."""
    costs = [-coefficient * (own - other) for own, other in zip(logprobs, reference, strict=True)]
    return [*costs[:-1], costs[-1] + reward]


class Controller:
    """The coefficient of the distance, raised while the policy is further away than it should be."""

    def __init__(self, coefficient: float = 0.05, target: float = 6.0, horizon: int = 2000) -> None:
        """`target` is the distance of an answer, in nats; `horizon` the answers over which it adapts."""
        self.coefficient, self._target, self._horizon = coefficient, target, horizon

    def update(self, distance: float, answers: int) -> float:
        """Return the coefficient after so many answers at this mean distance."""
        error = min(0.2, max(-0.2, distance / self._target - 1))
        self.coefficient *= 1 + error * answers / self._horizon
        return self.coefficient


def whitened(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """Return the rollouts with advantages of mean 0 and deviation 1 over all their tokens."""
    every = np.concatenate([rollout.advantages for rollout in rollouts])
    mean, deviation = float(every.mean()), float(every.std()) + 1e-8

    def white(advantages: Sequence[float]) -> list[float]:
        return [(one - mean) / deviation for one in advantages]

    return [rollout._replace(advantages=white(rollout.advantages)) for rollout in rollouts]


def loss(
    model: ScalarModel, rollouts: Sequence[Rollout], options: PpoOptions, precision: Precision = "float32"
) -> tuple[Tensor, dict[str, float]]:
    """Return the summed loss over the tokens of some rollouts, and sums worth watching."""
    new = estimates(model, [rollout.sequence for rollout in rollouts], precision)

    def column(name: str) -> Tensor:
        numbers = [number for rollout in rollouts for number in getattr(rollout, name)]
        return torch.tensor(numbers, dtype=torch.float32, device=model.device)

    old, earned, was, aim = map(column, ("old_logprobs", "advantages", "old_values", "returns"))
    ratio = (new.logprobs - old).exp()
    bounded = ratio.clamp(1 - options.clip, 1 + options.clip)
    surrogate = -torch.min(ratio * earned, bounded * earned).sum()
    near = was + (new.values - was).clamp(-options.value_clip, options.value_clip)
    value = 0.5 * torch.max((new.values - aim) ** 2, (near - aim) ** 2).sum()
    seen = {
        "clipped": float((ratio != bounded).sum()),
        "value_loss": float(value.detach()),
        "entropy": float(new.entropies.sum()),
    }
    return surrogate + options.value_weight * value, seen


def update(
    model: ScalarModel,
    optimizer: torch.optim.Optimizer,
    rollouts: Sequence[Rollout],
    options: PpoOptions,
    precision: Precision = "float32",
    together: int = 4,
) -> dict[str, float]:
    """Take the gradient steps of one iteration and return means over their tokens."""
    ready, sums = whitened(rollouts), dict[str, float]()
    tokens = sum(len(rollout.advantages) for rollout in ready)
    parts = [ready[start : start + together] for start in range(0, len(ready), together)]

    def part_of_mean(part: Sequence[Rollout]) -> tuple[Tensor, dict[str, float]]:
        total, seen = loss(model, part, options, precision)
        return total / tokens, seen | {"loss": float(total.detach())}

    for _ in range(options.epochs):
        optimizer.zero_grad(set_to_none=True)
        for seen in add_gradients(model.parameters(), parts, part_of_mean):
            for name, number in seen.items():
                sums[name] = sums.get(name, 0.0) + number
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        nn.utils.clip_grad_norm_(trained, options.max_grad_norm)
        optimizer.step()
    return {name: total / tokens / options.epochs for name, total in sums.items()}

"""The policy-gradient loss, with the semantics of `art.loss.loss_fn` in ART 0.5.18 and 0.5.23.

Works on sampled tokens only, laid end to end: every tensor here is `[N]`, and `sequence` says which sequence
a token belongs to. The default is CISPO, `-clip(ratio.detach(), 0, 5) * advantage * logprob` (clipped
importance weights, arXiv 2506.13585); `ppo` is the clipped surrogate (arXiv 1707.06347);
`importance_sampling_level` is the token, the sequence (GSPO, arXiv 2507.18071) or a mean of both. A sum over
a step's micro-batches divided by the step's token count gives the step's loss, so micro-batching changes
nothing.

Not here: advantages and weights (`sequences`), and where log-probabilities come from (`training`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Level = Literal["token", "sequence", "average", "geometric_average"]
LARGEST_LOG_RATIO = 20.0
"""Ratios beyond e^20 are rounding of a model that has moved far: ART 0.5.23 cuts them there."""


@dataclass(frozen=True)
class LossConfig:
    """The knobs of ART's `experimental_config` that shape the loss. An epsilon of None takes ART's default
    for the algorithm.
    """

    ppo: bool = False
    epsilon: float | None = None
    epsilon_high: float | None = None
    importance_sampling_level: Level = "token"
    max_negative_advantage_importance_sampling_weight: float | None = None
    mask_prob_ratio: bool = False
    kimi_k2_tau: float | None = None
    kl_penalty_coef: float = 0.0
    kl_penalty_source: Literal["current_learner", "sample"] = "current_learner"
    truncated_importance_sampling: float | None = None

    def clip_range(self) -> tuple[float, float]:
        """Lowest and highest ratio that is not clipped. CISPO: 0 to 5; PPO: 0.8 to 1.2."""
        default, default_high = (0.2, None) if self.ppo else (1.0, 4.0)
        epsilon = default if self.epsilon is None else self.epsilon
        above = default_high if self.epsilon_high is None else self.epsilon_high
        return 1 - epsilon, 1 + (epsilon if above is None else above)


@dataclass(frozen=True)
class LossSums:
    """Sums over the tokens given; divide by the step's token count."""

    policy: Tensor
    clipped: float
    """Tokens whose ratio lay outside the clip range."""
    drift: float
    """Sum of |new - old|."""
    kl: float
    """Sum of exp(d) - d - 1 with d = new - old: an unbiased, non-negative estimate (the k3 estimator) of
    KL(old, new).
    """
    kl_to_base: float


def loss_sums(
    new: Tensor,
    old: Tensor,
    advantages: Tensor,
    weights: Tensor,
    sequence: Tensor,
    config: LossConfig,
    base: Tensor | None = None,
    sampler: Tensor | None = None,
) -> LossSums:
    """Return the loss of sampled tokens, each tensor `[N]`.

    `base` holds the base model's log-probabilities, for the KL penalty. `sampler` holds those the tokens were
    sampled with, where `old` was computed afresh: truncated importance sampling corrects for the gap.
    A NaN in `old` or `sampler` means sampled from the current policy.
    """
    old = torch.where(torch.isnan(old), new.detach(), old)
    difference = new - old
    ratio = _ratio(difference, sequence, config.importance_sampling_level)
    low, high = config.clip_range()
    if config.max_negative_advantage_importance_sampling_weight:
        ratio = ratio.clamp(max=config.max_negative_advantage_importance_sampling_weight)
    clipped = float(((ratio < low) | (ratio > high)).sum())
    if config.mask_prob_ratio:
        ratio = torch.where((ratio > low) & (ratio < high), ratio, 0.0)
    if config.kimi_k2_tau:
        advantages = advantages - config.kimi_k2_tau * difference.detach()
    kl_to_base = 0.0
    if config.kl_penalty_coef > 0 and base is not None:
        source = old if config.kl_penalty_source == "sample" else new
        gap = (source - base).detach()
        advantages = advantages + config.kl_penalty_coef * (gap.sum() / (len(gap) + 1e-6) - gap)
        kl_to_base = float(gap.sum())
    if config.ppo:
        loss = -torch.min(ratio * advantages, ratio.clip(low, high) * advantages)
    else:
        loss = -(ratio.detach().clip(low, high) * advantages * new)
    if config.truncated_importance_sampling is not None and sampler is not None:
        sampler = torch.where(torch.isnan(sampler), new.detach(), sampler)
        loss = loss * (old - sampler).exp().clamp(max=config.truncated_importance_sampling).detach()
    moved = difference.detach()
    return LossSums(
        policy=(loss * weights).sum(),
        clipped=clipped,
        drift=float(moved.abs().sum()),
        kl=float((moved.exp() - moved - 1).sum()),
        kl_to_base=kl_to_base,
    )


def _ratio(difference: Tensor, sequence: Tensor, level: Level) -> Tensor:
    difference = difference.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    ratio = difference.exp()
    if level == "token":
        return ratio
    count = int(sequence.max()) + 1 if len(sequence) else 0
    sums = torch.zeros(count, dtype=difference.dtype, device=difference.device).index_add(
        0, sequence, difference
    )
    sizes = torch.zeros_like(sums).index_add(0, sequence, torch.ones_like(difference))
    whole = (sums / (sizes + 1e-8)).exp()[sequence]
    if level == "sequence":
        return whole
    return (ratio + whole) / 2 if level == "average" else ratio**0.5 * whole**0.5

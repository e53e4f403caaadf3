"""Starts a small transformer with the two attention heads that copying needs, instead of waiting for them to
emerge.

To repeat a random string a model needs a head that tells each token what stood before it, and a later head
that looks for where its own token stood before and reads what followed (an induction head: Olsson et al.
2022, "In-context Learning and Induction Heads"). Left alone, a model this small spends millions of tokens on
a plateau before it has them. Here their weights are written down: the previous-token head with attention
biases that point one position back under rotary embedding, the matching head with projections onto a shared
subspace that rotates slowly. The rest is random as usual, and training is free to change all of it.

Not here: training (`pretrain`). docs/experiments.md has the comparison with and without.
"""

from __future__ import annotations

import math

import torch
from transformers import LlamaForCausalLM

PEAK = 6.0
"""Size of the query and key biases of the previous-token head; at 6 it puts about 95 % of its weight one
position back.
"""
MATCH = 3.0
"""Size of the rows of the matching head's projections."""
HANDED_ON = 0.03
"""Size of what the previous-token head writes, chosen to equal the embeddings at their initial scale."""
FAST, SLOW = 0.15, 0.002
"""Radians a position: rotations above FAST tell neighbours apart, those below SLOW hold still over a whole
episode.
"""


@torch.no_grad()
def install(model: LlamaForCausalLM, seed: int = 0) -> None:
    """Write both heads into the first two layers. The model must be new and have attention biases.

    Raises ValueError when it has fewer than two layers or no attention bias.
    """
    config = model.config
    if config.num_hidden_layers < 2 or not config.attention_bias:
        raise ValueError("a copy circuit needs two layers and attention_bias=True")
    width = config.head_dim
    half = width // 2
    speeds = [config.rope_parameters["rope_theta"] ** (-i / half) for i in range(half)]
    basis = torch.linalg.qr(
        torch.randn(config.hidden_size, config.hidden_size, generator=torch.Generator().manual_seed(seed))
    )[0]
    own, before = basis[:width], basis[width : 2 * width]
    first, second = (model.model.layers[number].self_attn for number in (0, 1))
    for i, speed in enumerate(speeds):
        if speed >= FAST:  # the angle between query and key makes the product largest one position back
            first.q_proj.bias[i], first.q_proj.bias[i + half] = (
                PEAK * math.cos(speed),
                -PEAK * math.sin(speed),
            )
            first.k_proj.bias[i], first.k_proj.bias[i + half] = PEAK, 0.0
        if speed < SLOW:
            for row in (i, i + half):
                second.q_proj.weight[row] = MATCH * own[row]
                second.k_proj.weight[row] = MATCH * before[row]
    first.v_proj.weight[:width] = own
    first.o_proj.weight[:, :width] = HANDED_ON * before.T

"""How fast this machine is with a base model, from about a second of each kind of work.

    python -m training_service measure --base-models smollm2

Reading is a prompt that nothing is known of, writing is decoding with several sequences at once, training is
forward and backward through whatever a job would train. A command that takes long multiplies these figures.
Not here: what a run needs (`training_runs.plan`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from training_service.base_models import Base, locate, pick_device
from training_service.generation import Generator, Job
from training_service.kv_cache import Arena
from training_service.precision import Precision, choose
from training_service.prefix_tree import TokenTree, tree_logits
from training_service.sampling import Sampling
from training_service.scoring import score
from training_service.sequences import TokenSequence

READ, TRAINED, WRITTEN, TOGETHER = 256, 192, 6, 16
"""Tokens of a prompt, of a trained sequence, and of each reply; replies at once."""


class Speed(NamedTuple):
    """Tokens a second."""

    reading: float
    writing: float
    """Of TOGETHER sequences in one batch."""
    training: float

    def words(self) -> str:
        """Say it in one line."""
        return (
            f"reads {self.reading:.0f}, writes {self.writing:.0f} ({TOGETHER} sequences at once) and trains "
            f"{self.training:.0f} tokens a second"
        )


def command(arguments: argparse.Namespace) -> int:
    """Measure each model and print a line, or JSON."""
    device = pick_device(arguments.device)
    precision = choose(arguments.precision, device).precision
    for name, folder in locate(arguments.base_models).items():
        base = Base(name, folder, device)
        speed = measured(base, precision)
        print(json.dumps({"model": name, **speed._asdict()}) if arguments.json else f"{name} {speed.words()}")
    return 0


def measured(base: Base, precision: Precision) -> Speed:
    """Measure one model, after a short warm-up of each kind of work."""
    rng = np.random.default_rng(0)
    vocabulary = int(base.model.config.vocab_size)

    def draw(count: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        return rng.integers(0, vocabulary, count, dtype=np.int32)

    policy = base.for_generating(base.model, precision)

    def read(count: int) -> None:
        with torch.inference_mode():
            tree_logits(policy, TokenTree([draw(count)]), base.device, np.array([count - 1]))

    trainee = base.fresh_trainee()

    def train(count: int) -> None:
        tokens = [int(token) for token in draw(count)]
        sequence = TokenSequence(tokens, [True] * count, [0.0] * count)
        scored = score(trainee, [sequence], base.device, precision)
        torch.autograd.backward(scored.logprobs.mean())

    reading = READ / _seconds(read, 32, READ)
    training = TRAINED / _seconds(train, 16, TRAINED)
    return Speed(reading, _writing(base, policy, draw), training)


def _seconds(work: Callable[[int], None], little: int, much: int) -> float:
    work(little)
    began = time.perf_counter()
    work(much)
    return time.perf_counter() - began


def _writing(
    base: Base, policy: nn.Module, draw: Callable[[int], np.ndarray[tuple[int], np.dtype[np.int32]]]
) -> float:
    """Return how many tokens a second TOGETHER sequences get."""
    arena = Arena(base.model.config, TOGETHER, 64, base.model.dtype, base.device)
    generator = Generator(arena, lambda _: policy, base.device, TOGETHER)

    def write(tokens: int) -> None:
        sampling = [Sampling.seeded(1.0, 1.0, number, 0) for number in range(TOGETHER)]
        jobs = [Job("base", draw(2), tokens, one, frozenset()) for one in sampling]
        for future in [generator.submit(job) for job in jobs]:
            future.result()

    try:
        return TOGETHER * WRITTEN / _seconds(write, 2, WRITTEN)
    finally:
        generator.close()

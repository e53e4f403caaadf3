"""How much memory one GRPO step of a real model takes at its peak.

    python -m benchmarks.grpo_memory --episodes 8 --tokens 1500

The process loads the model, makes episodes of random tokens that share their opening, as those of a group do,
and takes one gradient step through an adapter. Then Linux says how large the process was at its largest. What
a token says changes nothing about memory. Not here: the service with tiny-investigator (`service_memory`),
and how fast a step is (`gradient_step`).
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Sequence

import numpy as np

import training_service  # isort: skip  # noqa: F401 - sets what torch reads when it is imported

from benchmarks.gradient_step import timed
from training_service.base_models import Base, locate, pick_device
from training_service.precision import choose
from training_service.sequences import TokenSequence
from training_service.training import JobConfig, Trainer, TrainingOptions, make_optimizer

BAR_GB = 6.0
SAMPLED_SHARE = 0.25
"""Of an episode's tokens behind the opening, those that the model wrote; tools wrote the others."""


def main(argv: Sequence[str] | None = None) -> int:
    """Take one step and print its peak; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.grpo_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base-model", default="smollm2", metavar="NAME", help="default %(default)s")
    parser.add_argument("--episodes", type=int, default=8, help="default %(default)s")
    parser.add_argument("--tokens", type=int, default=1500, help="of each (default %(default)s)")
    parser.add_argument("--opening", type=int, default=600, help="of these, shared (default %(default)s)")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    asked = parser.parse_args(argv)
    ((name, folder),) = locate([asked.base_model]).items()
    base = Base(name, folder, pick_device("cpu"))
    options = TrainingOptions(precision=choose(asked.precision, base.device).precision)
    trainer = _trainer(base, options)
    sequences = episodes(asked.episodes, asked.tokens, asked.opening, int(base.model.config.vocab_size))
    _, took = timed(lambda: trainer.train(sequences, lambda _: None, lambda: False))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{name}, {options.precision}: {asked.episodes} episodes of {asked.tokens} tokens, {asked.opening} of them "
        f"shared, {took.cpu_s:.0f} CPU s\npeak {peak:.1f} GB bar={BAR_GB:g}"
    )
    return int(peak > BAR_GB)


def episodes(count: int, tokens: int, opening: int, vocabulary: int) -> list[TokenSequence]:
    """Return random episodes with one opening, half of them better than the others."""
    rng = np.random.default_rng(0)
    shared = rng.integers(0, vocabulary, opening).tolist()
    found = []
    for number in range(count):
        sequence = TokenSequence(advantage=1.0 if number % 2 else -1.0, weight=1.0)
        sequence.append(shared, None)
        written = round(SAMPLED_SHARE * (tokens - opening))
        sequence.append(rng.integers(0, vocabulary, tokens - opening - written).tolist(), None)
        sequence.append(rng.integers(0, vocabulary, written).tolist(), [-5.0] * written)
        found.append(sequence)
    return found


def _trainer(base: Base, options: TrainingOptions) -> Trainer:
    job, model = JobConfig.of({}, options), base.fresh_trainee()
    return Trainer(model, make_optimizer(model, job.learning_rate, options), job, options, base.device)


if __name__ == "__main__":
    sys.exit(main())

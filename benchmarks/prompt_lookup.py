"""What guesses of the next tokens bring: explanations of logs with them, over the same ones without.

Greedy answers to generated Explain cases, one after the other and eight at once. Give the adapter that answers:
how much of an answer repeats the log is a matter of the adapter. Both sides have the same prompts and as many
tokens at most; each pair of runs alternates. The ratios are of new tokens a second. HTTP is left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/prompt_lookup.py` works too
import training_service  # isort: skip  # noqa: F401 - sets what torch reads when it is imported

import numpy as np
from torch import nn
from transformers.utils import logging

from alignment.generator import generate
from benchmarks.engine import write_model
from benchmarks.gradient_step import timed
from training_service.base_models import Base, locate, pick_device
from training_service.checkpoints import write_state
from training_service.generation import GUESSED_TOKENS, Generator, Job, Written
from training_service.kv_cache import Arena
from training_service.precision import choose
from training_service.sampling import Sampling

BARS = {1: 1.3, 8: 1.1}
"""Lowest ratio for so many answers at once."""
MOST_TOKENS = 160


@contextmanager
def generating(base: Base, model: nn.Module, guessed: int) -> Iterator[Generator]:
    """Open a generator that guesses so many tokens in a step."""
    arena = Arena(base.model.config, 8, base.context, base.model.dtype, base.device)
    generator = Generator(arena, lambda _: model, base.device, guessed_tokens=guessed)
    try:
        yield generator
    finally:
        generator.close()


def jobs(base: Base, count: int) -> list[Job]:
    """Return requests to explain generated logs."""
    prompts = [base.chat.prompt(case.messages(), []).tokens for case in generate("val", count)]
    greedy, ends = Sampling.seeded(0.0, 1.0, 0, 0), base.chat.end_tokens
    return [Job("m", np.array(prompt, np.int32), MOST_TOKENS, greedy, ends) for prompt in prompts]


def answered(generator: Generator, asked: Sequence[Job], together: int) -> list[Written]:
    """Write the answers, so many at once."""
    written: list[Written] = []
    for start in range(0, len(asked), together):
        futures = [generator.submit(job) for job in asked[start : start + together]]
        written += [future.result() for future in futures]
    return written


def compare(base: Base, model: nn.Module, count: int, together: int) -> float:
    """Return how many times as many tokens a second guesses bring."""
    rates = {}
    for guessed in (0, GUESSED_TOKENS):
        with generating(base, model, guessed) as generator:
            answered(generator, jobs(base, 1), 1)
            before = generator.steps
            written, took = timed(lambda: answered(generator, jobs(base, count), together))
            tokens, steps = sum(len(one.tokens) for one in written), generator.steps - before
        rates[guessed] = tokens / took.wall_s
        print(
            f"{together} at once, {guessed:2d} guessed: {tokens} tokens in {steps} steps, {took.wall_s:.1f} s, "
            f"{rates[guessed]:.1f} tokens/s"
        )
    return rates[GUESSED_TOKENS] / rates[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurements; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.prompt_lookup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base-model", default="smollm2", metavar="NAME", help="default %(default)s")
    parser.add_argument(
        "--adapter",
        type=Path,
        metavar="DIR",
        help="folder of an adapter, e.g. runs/alignment/adapters/warm/v1",
    )
    parser.add_argument("--cases", type=int, default=8, help="answers of each run (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="2 answers of a tiny random model")
    arguments = parser.parse_args(argv)
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as place:
        if arguments.quick:
            base, arguments.cases = write_model(Path(place) / "model"), 2
        else:
            ((name, folder),) = locate([arguments.base_model]).items()
            base = Base(name, folder, pick_device("auto"))
        checkpoint = arguments.adapter or Path(place)
        if arguments.adapter is None:
            write_state(checkpoint, base.state())
        model = base.for_generating(base.policy(checkpoint), choose("auto", base.device).precision)
        ratios = {together: compare(base, model, arguments.cases, together) for together in BARS}
    for together, ratio in ratios.items():
        print(f"ratio={ratio:.2f} bar={BARS[together]}")
    return int(any(ratio < BARS[together] for together, ratio in ratios.items()))


if __name__ == "__main__":
    sys.exit(main())

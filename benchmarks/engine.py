"""What the training service's engine costs, against the plain way to do the same with transformers.

1. Generation: conversations as rollouts have them, several at once, a few turns each, every reply of another
   length. The engine (continuous batching, kept keys and values) over `generate` on whole padded batches, turn
   by turn. The model is random and has the shape of the shipped one, so no reply ends early. HTTP is left out.
2. A gradient step in float32 over stored trajectories (`gradient_step`).
3. The peak memory of the whole service during such a step (`service_memory`).

The ratios are of processor seconds, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/engine.py` works too
import training_service  # isort: skip  # noqa: F401 - sets what torch reads when it is imported

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from benchmarks.gradient_step import Took, compare, timed
from benchmarks.service_memory import peak_mib
from training_service.base_models import Base
from training_service.local_engine import EngineOptions, LocalEngine
from training_service.vocabulary import CONTEXT_TOKENS, VOCABULARY_SIZE, build_tokenizer
from training_service.wire import ChatRequest

BARS = {"generation": 2.0, "gradient-step": 2.0, "memory": 1.0}
"""Lowest ratio of each part, in the order they are measured and printed."""
MEMORY_MIB = 1.5e9 / 2**20
"""What the service may take, in MiB."""
WORDS = [
    "3fa2",
    "orders",
    "ERROR",
    "9bc1",
    "call",
    "ledger",
    "14:05:33",
    "deadline",
    "exceeded",
    "WARN",
    "failed",
    "checkout",
]
LONGEST_REPLY = 60


def words(rng: random.Random, count: int) -> str:
    """Return text in the words of logs."""
    return " ".join(rng.choice(WORDS) for _ in range(count))


def write_model(folder: Path) -> Base:
    """A random model of the shipped shape."""
    build_tokenizer([" ".join(WORDS)] * 50).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=8,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return Base("tiny", folder, torch.device("cpu"))


async def _conversation(engine: LocalEngine, checkpoint: Path, number: int, turns: int) -> dict[str, Any]:
    """One rollout; eight of them share a question, as a GRPO group does."""
    ask, own = random.Random(number // 8), random.Random(number)
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": words(ask, 30)},
        {"role": "user", "content": words(ask, 60)},
    ]
    entries = list(messages)
    for turn in range(turns):
        limit = own.randrange(20, LONGEST_REPLY + 1)
        asked = {
            "model": "m",
            "messages": messages,
            "seed": number * 100 + turn,
            "max_completion_tokens": limit,
        }
        choice = (await engine.complete(checkpoint, ChatRequest.model_validate(asked)))["choices"][0]
        shown = {"role": "tool", "content": words(own, 70), "tool_call_id": "a"}
        messages, entries = [*messages, choice["message"], shown], [*entries, choice, shown]
    return {"reward": float(number % 3), "messages_and_choices": entries}


async def conversations(
    engine: LocalEngine, checkpoint: Path, count: int, turns: int
) -> list[dict[str, Any]]:
    return list(
        await asyncio.gather(*(_conversation(engine, checkpoint, number, turns) for number in range(count)))
    )


def plainly(base: Base, rollouts: Sequence[dict[str, Any]], turns: int) -> None:
    """The same prompts and reply lengths through `generate`: one padded batch per turn, as long as its
    longest reply.
    """
    model = LlamaForCausalLM.from_pretrained(base.folder).eval()
    for turn in range(turns):
        choices = [_choices(rollout)[turn] for rollout in rollouts]
        prompts = [torch.tensor(choice["prompt_token_ids"]) for choice in choices]
        seen = [torch.ones_like(prompt) for prompt in prompts]
        rows, mask = (pad_sequence(tensors, True, padding_side="left") for tensors in (prompts, seen))
        model.generate(
            rows,
            attention_mask=mask,
            max_new_tokens=max(len(choice["token_ids"]) for choice in choices),
            do_sample=True,
            eos_token_id=None,
            top_k=0,
        )


def _choices(rollout: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in rollout["messages_and_choices"] if "token_ids" in entry]


def _line(name: str, took: Took, tokens: int, what: str) -> None:
    rate, cpu = tokens / took.wall_s, tokens / took.cpu_s
    print(
        f"{name:<20} {took.wall_s:8.2f} s  {took.cpu_s:8.2f} CPU s  {rate:8.0f} {what}/s  {cpu:8.0f} {what}/CPU s"
    )


def generation(base: Base, checkpoint: Path, count: int, turns: int) -> tuple[Took, Took]:
    """Write the same replies with the engine and the plain way; returns how long each took."""
    engine = LocalEngine([base], EngineOptions())
    engine.create(base.name, checkpoint)
    asyncio.run(conversations(engine, checkpoint, 8, 1))
    rollouts, ours = timed(lambda: asyncio.run(conversations(engine, checkpoint, count, turns)))
    engine.close()
    choices = [choice for rollout in rollouts for choice in _choices(rollout)]
    new = sum(len(choice["token_ids"]) for choice in choices)
    read = sum(len(choice["prompt_token_ids"]) for choice in choices)
    print(f"{count} rollouts x {turns} turns: {read} prompt tokens, {new} new tokens")
    _line("engine", ours, new, "new tokens")
    print(
        f"{'':<20} {len(choices) / ours.wall_s:8.1f} requests/s {(read + new) / ours.wall_s:8.0f} tokens read or written/s"
    )
    _, plain = timed(lambda: plainly(base, rollouts, turns))
    _line("generate, padded", plain, new, "new tokens")
    return ours, plain


def _gradient_step(groups: int | None, rounds: int) -> float:
    """Return how many times more processor time the plain way takes."""
    sequences, packed, padded = compare(groups, rounds)
    tokens = sum(len(sequence.tokens) for sequence in sequences)
    print(f"a gradient step in float32: {len(sequences)} sequences, {tokens} tokens")
    _line("packed", packed, tokens, "tokens")
    _line("padded", padded, tokens, "tokens")
    return padded.cpu_s / packed.cpu_s


def _generation_on_a_random_model(count: int, turns: int) -> float:
    """Return how many times more processor time the plain way takes."""
    with tempfile.TemporaryDirectory() as place:
        base, checkpoint = write_model(Path(place) / "model"), Path(place) / "step-0"
        checkpoint.mkdir()
        ours, plain = generation(base, checkpoint, count, turns)
        return plain.cpu_s / ours.cpu_s


def _memory(groups: int | None) -> float:
    """Return how many times the service fits into MEMORY_MIB."""
    with tempfile.TemporaryDirectory() as place:
        peak, job = peak_mib(Path(place) / "service", groups=groups)
    print(f"a service with a job of {job['num_tokens']:.0f} tokens: {peak:.0f} MiB at its peak")
    return MEMORY_MIB / peak


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurements; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--conversations", type=int, help="rollouts at once (default 64)")
    parser.add_argument("--turns", type=int, default=3, help="replies per rollout (default %(default)s)")
    parser.add_argument(
        "--parts", nargs="+", choices=BARS, default=list(BARS), help="what to measure (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="an eighth of the work, each side once")
    arguments = parser.parse_args(argv)
    logging.disable_progress_bar()
    groups, rounds = (1, 1) if arguments.quick else (None, 3)
    conversations = arguments.conversations or (8 if arguments.quick else 64)
    measure: dict[str, Callable[[], float]] = {
        "generation": lambda: _generation_on_a_random_model(conversations, arguments.turns),
        "gradient-step": lambda: _gradient_step(groups, rounds),
        "memory": lambda: _memory(groups),
    }
    ratios = {part: measure[part]() for part in arguments.parts}
    for part, ratio in ratios.items():
        print(f"ratio={ratio:.2f} bar={BARS[part]}")
    return int(any(ratio < BARS[part] for part, ratio in ratios.items()))


if __name__ == "__main__":
    sys.exit(main())

"""How fast the training service's engine generates and trains, against the plain way to do the same with
transformers.

Conversations as rollouts have them: several at once, a few turns each, every reply of another length, a tool
result after each. (a) Generation: the engine (continuous batching, kept keys and values) over `generate` on
whole padded batches, turn by turn. (b) Training: packed sequences, logits of sampled tokens only, over padded
batches with all logits, forward and backward. The model is random and has the shape of the shipped one, so no
reply ends early. HTTP is left out. The bars are on processor seconds, which other work on the machine
disturbs least.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/engine.py` works too
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the service sets them, before torch is imported
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from training_service.base_models import Base
from training_service.local_engine import EngineOptions, LocalEngine
from training_service.sequences import TokenSequence, batch_of
from training_service.training import JobConfig, TrainingOptions, make_optimizer, train_sequences
from training_service.vocabulary import CONTEXT_TOKENS, VOCABULARY_SIZE, build_tokenizer
from training_service.wire import ChatRequest

GENERATION_BAR = 2.0
TRAINING_BAR = 1.0
WORDS = (
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
)
LONGEST_REPLY = 60


@dataclass(frozen=True)
class Took:
    """Seconds of the clock and of the processor."""

    wall_s: float
    cpu_s: float


def timed(work: Callable[[], Any]) -> tuple[Any, Took]:
    """What the work returns, and how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, Took(time.perf_counter() - wall, time.process_time() - cpu)


def words(rng: random.Random, count: int) -> str:
    """Text in the words of logs."""
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


async def _conversations(
    engine: LocalEngine, checkpoint: Path, count: int, turns: int
) -> list[dict[str, Any]]:
    return list(
        await asyncio.gather(*(_conversation(engine, checkpoint, number, turns) for number in range(count)))
    )


def _plainly(base: Base, rollouts: Sequence[dict[str, Any]], turns: int) -> None:
    """The same prompts and reply lengths through `generate`: one padded batch per turn, as long as its
    longest reply.
    """
    model = LlamaForCausalLM.from_pretrained(base.folder).eval()
    for turn in range(turns):
        choices = [
            [entry for entry in rollout["messages_and_choices"] if "token_ids" in entry][turn]
            for rollout in rollouts
        ]
        longest = max(len(choice["prompt_token_ids"]) for choice in choices)
        rows = [
            [0] * (longest - len(choice["prompt_token_ids"])) + choice["prompt_token_ids"]
            for choice in choices
        ]
        masks = [
            [int(place >= longest - len(choice["prompt_token_ids"])) for place in range(longest)]
            for choice in choices
        ]
        replies = max(len(choice["token_ids"]) for choice in choices)
        model.generate(
            torch.tensor(rows),
            attention_mask=torch.tensor(masks),
            max_new_tokens=replies,
            do_sample=True,
            eos_token_id=None,
            top_k=0,
        )


def _train_plainly(base: Base, sequences: Sequence[TokenSequence], rows: int = 8) -> None:
    """Padded batches, logits everywhere: forward, loss and backward of one step."""
    model = LlamaForCausalLM.from_pretrained(base.folder)
    for start in range(0, len(sequences), rows):
        batch = sequences[start : start + rows]
        longest = max(len(sequence.tokens) for sequence in batch)
        tokens = torch.tensor(
            [sequence.tokens + [0] * (longest - len(sequence.tokens)) for sequence in batch]
        )
        mask = torch.tensor(
            [sequence.sampled + [False] * (longest - len(sequence.tokens)) for sequence in batch]
        )
        seen = torch.tensor(
            [[int(place < len(sequence.tokens)) for place in range(longest)] for sequence in batch]
        )
        logits = model(input_ids=tokens, attention_mask=seen).logits[:, :-1]
        chosen = logits.log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
        (chosen * mask[:, 1:]).sum().backward()


def _train(base: Base, checkpoint: Path, sequences: Sequence[TokenSequence], precision: Any) -> None:
    options = TrainingOptions(precision=precision)
    job = JobConfig.of({}, options)
    model = base.trainee(checkpoint)
    optimizer = make_optimizer(model, job.learning_rate, options)
    train_sequences(model, optimizer, sequences, job, options, base.device, lambda _: None, lambda: False)


def _line(name: str, took: Took, tokens: int, what: str) -> None:
    rate, cpu = tokens / took.wall_s, tokens / took.cpu_s
    print(
        f"{name:<20} {took.wall_s:8.2f} s  {took.cpu_s:8.2f} CPU s  {rate:8.0f} {what}/s  {cpu:8.0f} {what}/CPU s"
    )


def _generation(base: Base, checkpoint: Path, count: int, turns: int) -> tuple[float, list[dict[str, Any]]]:
    """How many times more processor time the plain way takes, and the rollouts."""
    engine = LocalEngine([base], EngineOptions())
    engine.create("tiny", checkpoint)
    asyncio.run(_conversations(engine, checkpoint, 8, 1))
    rollouts, ours = timed(lambda: asyncio.run(_conversations(engine, checkpoint, count, turns)))
    engine.close()
    choices = [
        entry for rollout in rollouts for entry in rollout["messages_and_choices"] if "token_ids" in entry
    ]
    new = sum(len(choice["token_ids"]) for choice in choices)
    read = sum(len(choice["prompt_token_ids"]) for choice in choices)
    print(f"{count} rollouts x {turns} turns: {read} prompt tokens, {new} new tokens")
    _line("engine", ours, new, "new tokens")
    print(
        f"{'':<20} {len(choices) / ours.wall_s:8.1f} requests/s {(read + new) / ours.wall_s:8.0f} tokens read or written/s"
    )
    _, plain = timed(lambda: _plainly(base, rollouts, turns))
    _line("generate, padded", plain, new, "new tokens")
    return plain.cpu_s / ours.cpu_s, rollouts


def _training(base: Base, checkpoint: Path, rollouts: Sequence[dict[str, Any]]) -> float:
    """How many times more processor time the plain way takes."""
    groups = [{"trajectories": rollouts[start : start + 8]} for start in range(0, len(rollouts), 8)]
    sequences = batch_of(groups).sequences
    tokens = sum(len(sequence.tokens) for sequence in sequences)
    print(f"a gradient step: {len(sequences)} sequences, {tokens} tokens")
    _, packed = timed(lambda: _train(base, checkpoint, sequences, "float32"))
    _line("packed", packed, tokens, "tokens")
    _, half = timed(lambda: _train(base, checkpoint, sequences, "bfloat16"))
    _line("packed, bfloat16", half, tokens, "tokens")
    _, padded = timed(lambda: _train_plainly(base, sequences))
    _line("padded", padded, tokens, "tokens")
    return padded.cpu_s / packed.cpu_s


def main(argv: Sequence[str] | None = None) -> int:
    """Run both comparisons; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--conversations", type=int, default=64, help="rollouts at once (default %(default)s)"
    )
    parser.add_argument("--turns", type=int, default=3, help="replies per rollout (default %(default)s)")
    arguments = parser.parse_args(argv)
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as place:
        base, checkpoint = write_model(Path(place) / "model"), Path(place) / "step-0"
        checkpoint.mkdir()
        generation, rollouts = _generation(base, checkpoint, arguments.conversations, arguments.turns)
        training = _training(base, checkpoint, rollouts)
    print(f"generation ratio={generation:.2f} bar={GENERATION_BAR}")
    print(f"training ratio={training:.2f} bar={TRAINING_BAR}")
    return int(generation < GENERATION_BAR or training < TRAINING_BAR)


if __name__ == "__main__":
    sys.exit(main())

"""How fast one gradient step is on stored trajectories, against plain transformers with padding.

`trajectories.jsonl` holds 64 rollouts of tiny-investigator in training: eight groups of eight, 41,000 tokens.
Both sides start from the shipped weights, in float32, and do forward, loss and backward. The plain side is
what one would write with transformers: batches of eight, padded, with logits everywhere. Each side is timed
several times in turn, and its best time counts. Not here: generation (`engine`) and memory
(`service_memory`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from training_service.base_models import SHIPPED, Base
from training_service.precision import Precision
from training_service.sequences import TokenSequence, batch_of
from training_service.training import JobConfig, Trainer, TrainingOptions, make_optimizer
from training_service.vocabulary import END, load_tokenizer

STORED = Path(__file__).parent / "trajectories.jsonl"
MODEL = SHIPPED / "tiny-investigator"
ROWS = 8
"""Sequences in a padded batch."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Took:
    """Seconds of the clock and of the processor."""

    wall_s: float
    cpu_s: float


def timed(work: Callable[[], Any]) -> tuple[Any, Took]:
    """Return what the work returns, and how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, Took(time.perf_counter() - wall, time.process_time() - cpu)


def stored_groups(count: int | None = None) -> list[Json]:
    """Read the first `count` groups of stored rollouts as ART has them, each reply with its exact tokens."""
    tokenizer = load_tokenizer(MODEL)
    groups: dict[int, list[Json]] = {}
    for line in STORED.read_bytes().splitlines():
        rollout = json.loads(line)
        entries = list(_entries(rollout["messages"], tokenizer))
        groups.setdefault(rollout["group"], []).append(
            {"reward": rollout["reward"], "messages_and_choices": entries}
        )
    return [{"trajectories": trajectories} for trajectories in list(groups.values())[:count]]


def _entries(messages: Sequence[Json], tokenizer: PreTrainedTokenizerFast) -> Iterator[Json]:
    """Yield the messages, those of the assistant as choices with prompt and reply tokens."""
    begin, end = (int(tokenizer.convert_tokens_to_ids(token)) for token in ("<|assistant|>", END))
    text = tokenizer.apply_chat_template(list(messages), tokenize=False)
    tokens: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    place = 0
    for message in messages:
        if message["role"] != "assistant":
            yield message
            continue
        start = tokens.index(begin, place) + 1
        place = tokens.index(end, start) + 1
        exact = {"prompt_token_ids": tokens[:start], "token_ids": tokens[start:place]}
        yield {"finish_reason": "stop", "logprobs": None, "message": message} | exact


def ours(base: Base, sequences: Sequence[TokenSequence], precision: Precision) -> None:
    """Take one gradient step as the service does."""
    options = TrainingOptions(precision=precision)
    job = JobConfig.of({}, options)
    model = base.model.requires_grad_(True)
    optimizer = make_optimizer(model, 1e-9, options)
    trainer = Trainer(model, optimizer, job, options, base.device)
    trainer.train(sequences, lambda _: None, lambda: False)


def plain(model: LlamaForCausalLM, sequences: Sequence[TokenSequence]) -> None:
    """Forward, loss and backward of padded batches."""
    model.zero_grad()
    for start in range(0, len(sequences), ROWS):
        tokens, sampled, seen = _padded(sequences[start : start + ROWS])
        logits = model(input_ids=tokens, attention_mask=seen).logits[:, :-1]
        chosen = logits.log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
        (chosen * sampled[:, 1:]).sum().backward()


def _padded(batch: Sequence[TokenSequence]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return tokens, which are sampled and which are there, each `[rows, longest]`."""
    rows = [
        (torch.tensor(sequence.tokens), torch.tensor(sequence.sampled), torch.ones(len(sequence.tokens)))
        for sequence in batch
    ]
    tokens, sampled, seen = zip(*rows, strict=True)
    padded = [pad_sequence(list(column), batch_first=True) for column in (tokens, sampled, seen)]
    return padded[0], padded[1], padded[2]


def compare(groups: int | None = None, rounds: int = 3) -> tuple[list[TokenSequence], Took, Took]:
    """Return the sequences of the first groups, our best time and the best time of the plain way."""
    base = Base("tiny", MODEL, torch.device("cpu"))
    model = LlamaForCausalLM.from_pretrained(MODEL, dtype=torch.float32).train()
    sequences = batch_of(stored_groups(groups)).sequences
    runs = [
        (timed(lambda: ours(base, sequences, "float32"))[1], timed(lambda: plain(model, sequences))[1])
        for _ in range(rounds)
    ]
    best_ours, best_plain = (min(side, key=lambda took: took.cpu_s) for side in zip(*runs, strict=True))
    return sequences, best_ours, best_plain

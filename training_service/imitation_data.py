"""What pretraining reads: demonstrations become token files, and token files become padded batches.

Each stage leaves a file in the work folder and is skipped when its file is there. Not here: what a document
is (`corpus`), and training on the batches (`imitation`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from core.episode_store.episodes import read_episodes
from project_types import ConfigurationError
from training_service.corpus import Message, disguised, documents, drill, echo, trails, vocabulary_of
from training_service.vocabulary import build_tokenizer, load_tokenizer

EPISODES_READ, DRILLS_READ = 4000, 2000
"""Conversations the vocabulary is learnt from, at most."""
SHAPE_STEP = 32
"""Batches are padded to a multiple of this many tokens. The fewer shapes there are, the more of the kernels
and memory of former steps can be used again.
"""


def _run(*command: str) -> None:
    print("+", " ".join(command), flush=True)
    subprocess.run([sys.executable, *command], check=True)


def demonstrations(args: argparse.Namespace) -> Path:
    """Generate scenarios and let the policy investigate them; returns the folder of stored episodes."""
    work: Path = args.work
    scenarios, episodes = work / "scenarios", work / "episodes"
    if not (scenarios / "scenarios.jsonl").exists():
        amount = ("--count", str(args.count), "--seed", str(args.seed))
        _run("-m", "chaos", "generate", "--split", "pretrain", *amount, "--out", str(scenarios))
    if not (episodes / "summary.json").exists():
        whose = ("--policy", args.policy, "--split", str(scenarios), "--k", str(args.k))
        _run("-m", "evaluation", "run", *whose, "--out", str(episodes), "--rules", "embedded", "--no-explain")
    return episodes


def conversations(episodes: Path) -> list[list[Message]]:
    """Return the messages of every stored episode. Raises ConfigurationError when there is none."""
    found = [
        list(episode.messages)
        for path in sorted(episodes.glob("episodes*.jsonl"))
        for episode in read_episodes(path)
    ]
    if not found:
        raise ConfigurationError(f"{episodes}: no episodes; delete this folder and run again")
    return found


def tool_results(episodes: Sequence[list[Message]]) -> list[list[str]]:
    """Return what the tools printed in each episode that used any."""
    found = map(_printed_in, episodes)
    return [results for results in found if results]


def _printed_in(messages: Sequence[Message]) -> list[str]:
    return [message["content"] for message in messages if message["role"] == "tool"]


def prepare(args: argparse.Namespace) -> Path:
    """Tokenise demonstrations and drills into `tokens.npz` beside the tokenizer; returns its path."""
    packed = Path(args.work / "tokens.npz")
    if packed.exists():
        return packed
    episodes = conversations(demonstrations(args))
    rng = random.Random(args.seed)
    rng.shuffle(episodes)
    results = tool_results(episodes)
    words = vocabulary_of(results)
    wanted = int(len(episodes) * args.drills / (1 - args.drills) * 1.2)  # drills are shorter than episodes
    kinds = itertools.cycle((drill, trails, echo, trails, drill))
    made = (next(kinds)(rng.choice(results), words, rng) for _ in range(wanted))
    drills = [found for found in made if found]
    tokenizer = _tokenizer(args.work / "tokenizer", [*episodes[:EPISODES_READ], *drills[:DRILLS_READ]])
    mixed = [_perhaps_disguised(episode, words, rng, args.disguised) for episode in episodes] + drills
    rng.shuffle(mixed)
    tokens = _write(packed, mixed, tokenizer)
    print(f"{len(episodes)} episodes and {len(drills)} drills, {tokens:,} tokens", flush=True)
    return packed


def _tokenizer(folder: Path, sample: Sequence[list[Message]]) -> PreTrainedTokenizerFast:
    """Learn the vocabulary from a sample of conversations, or read the one that was learnt before."""
    if not (folder / "tokenizer.json").exists():
        texts = [json.dumps(messages, ensure_ascii=False) for messages in sample]
        plain = [text.replace('\\"', '"').replace("\\n", "\n") for text in texts]
        build_tokenizer(plain).save_pretrained(folder)
    return load_tokenizer(folder)


def _perhaps_disguised(
    episode: list[Message], words: Sequence[str], rng: random.Random, share: float
) -> list[Message]:
    return (rng.random() < share and disguised(episode, words, rng)) or episode


def _write(packed: Path, mixed: list[list[Message]], tokenizer: PreTrainedTokenizerFast) -> int:
    """Write arrays tokens, weights and ends (of each document); returns how many tokens there are."""
    done = list(documents(mixed, tokenizer))
    ends = np.cumsum([len(document.tokens) for document in done])
    partial = packed.with_suffix(".partial.npz")
    np.savez(
        partial,
        tokens=np.concatenate([document.tokens for document in done]),
        weights=np.concatenate([document.weights for document in done]),
        ends=ends,
    )
    partial.rename(packed)
    return int(ends[-1])


def padded(length: int) -> int:
    """Return the next multiple of SHAPE_STEP."""
    return -(-length // SHAPE_STEP) * SHAPE_STEP


def batches(sizes: Sequence[int], batch_tokens: int, rng: random.Random) -> Iterator[list[int]]:
    """Yield batches of document numbers without end.

    They are shuffled, alike in length within a batch, and hold at most `batch_tokens` each when padded.
    """
    while True:
        order = sorted(range(len(sizes)), key=lambda number: (padded(sizes[number]), rng.random()))
        epoch: list[list[int]] = [[]]
        longest = 0
        for number in order:
            longest = max(longest, padded(sizes[number]))
            if epoch[-1] and (len(epoch[-1]) + 1) * longest > batch_tokens:
                epoch.append([])
                longest = padded(sizes[number])
            epoch[-1].append(number)
        rng.shuffle(epoch)
        yield from epoch


class Packed:
    """Documents read back from `tokens.npz`, as padded batches."""

    def __init__(self, path: Path, pad: int) -> None:
        data = np.load(path)
        self._tokens, self._weights, self._ends = data["tokens"], data["weights"], data["ends"]
        self._pad = pad
        self._starts = np.concatenate([[0], self._ends[:-1]])
        self.sizes: list[int] = (self._ends - self._starts).tolist()

    def batch(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return token ids and target weights of some documents, both `[documents, longest]`.

        Padding weighs nothing.
        """
        shape = (len(numbers), padded(max(self.sizes[number] for number in numbers)))
        ids, weights = torch.full(shape, self._pad), torch.zeros(shape)
        for row, number in enumerate(numbers):
            part = slice(self._starts[number], self._ends[number])
            ids[row, : self.sizes[number]] = torch.from_numpy(self._tokens[part].astype("int64"))
            weights[row, : self.sizes[number]] = torch.from_numpy(self._weights[part].astype("float32"))
        return ids, weights


def repeats(pairs: Tensor, rng: random.Random, rows: int = 16) -> tuple[Tensor, Tensor]:
    """Return random strings, each said several times over: ids and target weights, both `[rows, length]`.

    The first saying is no target. The period differs from batch to batch, so that only looking for the same
    string helps, not counting back.
    """
    dice = torch.Generator().manual_seed(rng.randrange(2**31))
    period = rng.randrange(6, 32)
    once = torch.stack([pairs[torch.randperm(len(pairs), generator=dice)[:period]] for _ in range(rows)])
    ids = once.repeat(1, max(2, 64 // period + 1))
    weights = torch.ones(ids.shape)
    weights[:, :period] = 1e-6
    return ids, weights

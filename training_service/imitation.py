"""Pretraining itself: a new small model learns to say what the demonstrations say.

Muon trains the matrices, AdamW the rest. The model starts with a copy circuit (`copy_circuit`) and reads
random strings that repeat before it reads documents. It is saved every few steps and goes on from there, so
the process may be killed at any time. Not here: what it reads (`imitation_data`).
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from training_service.copy_circuit import install
from training_service.imitation_data import Packed, batches, repeats
from training_service.precision import Precision, arithmetic
from training_service.threads import Threads

LAYERS, WIDTH, HEADS, INNER, ROPE_THETA = 4, 256, 4, 704, 4e5
WARM_UP_STEPS, LOWEST_RATE = 30, 0.02
"""The learning rate rises over so many steps, then falls in a straight line to this share of its peak."""
CPU = torch.device("cpu")
LOG = "pretrain.jsonl"
"""A line for every checkpoint: step, tokens, loss and arithmetic."""


def network(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return the keyword arguments of the LlamaConfig of the small model."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "attention_bias": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        "max_position_embeddings": tokenizer.model_max_length,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


class Imitation:
    """One model in training: its optimisers, how far it has come, and where it is saved."""

    def __init__(
        self, args: argparse.Namespace, tokenizer: PreTrainedTokenizerFast, precision: Precision
    ) -> None:
        """Make the model, or read the newest one saved in `args.work`."""
        torch.manual_seed(args.seed)
        self.args, self.precision = args, precision
        self.model = LlamaForCausalLM(LlamaConfig(**network(tokenizer)))
        install(self.model, args.seed)
        self._optimizers = _optimizers(self.model, args.learning_rate)
        self._pairs = torch.tensor(tokenizer.convert_tokens_to_ids([f"{value:02x}" for value in range(256)]))
        self._threads = Threads(args.threads or torch.get_num_threads())
        self._checkpoint = Path(args.work) / "checkpoint.pt"
        self.seen = self.step = self._read = 0
        self._loss: float | None = None
        if self._checkpoint.exists():
            self._load()

    def train(self, data: Packed) -> LlamaForCausalLM:
        """Train until `args.tokens` were seen; returns the model."""
        total = int(self.args.tokens)
        stream = self._stream(data)
        with tqdm(
            total=total, initial=self.seen, unit="tok", unit_scale=True, desc="pretrain", mininterval=5
        ) as bar:
            while self.seen < total:
                self._learn(*self._batch(data, stream), total)
                bar.update(self.seen - bar.n)
                bar.set_postfix(loss=f"{self._loss:.3f}")
                if self.step % self.args.save_every == 0 or self.seen >= total:
                    self._save()
        return self.model

    def _stream(self, data: Packed) -> Iterator[list[int]]:
        """Return the batches of documents, past those that were read before a restart."""
        stream = batches(data.sizes, self.args.batch_tokens, random.Random(self.args.seed))
        for _ in range(self._read):
            next(stream)
        return stream

    def _batch(self, data: Packed, stream: Iterator[list[int]]) -> tuple[Tensor, Tensor]:
        if self.seen < self.args.repeats:
            return repeats(self._pairs, random.Random(self.step))
        self._read += 1
        return data.batch(next(stream))

    def _learn(self, ids: Tensor, weights: Tensor, total: int) -> None:
        """Take one step on token ids and target weights, both `[rows, length]`."""
        self._set_rate(min(1.0, (self.step + 1) / WARM_UP_STEPS) * max(LOWEST_RATE, 1 - self.seen / total))
        target = weights[:, 1:].flatten()
        with self._threads.piece(ids.numel()):
            with arithmetic(self.precision, CPU):
                logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits
            losses = nn.functional.cross_entropy(
                logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
            )
            torch.autograd.backward((losses * target).sum() / target.sum())
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimizer in self._optimizers:
                optimizer.step()
                optimizer.zero_grad()
        said = float(losses.detach()[target >= 1.0].mean())
        self._loss = said if self._loss is None else 0.98 * self._loss + 0.02 * said
        self.seen, self.step = self.seen + int((weights > 0).sum()), self.step + 1

    def _set_rate(self, share: float) -> None:
        peaks = (self.args.learning_rate, self.args.learning_rate / 2)
        for optimizer, peak in zip(self._optimizers, peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * share

    def _save(self) -> None:
        """Write the checkpoint aside and rename it, then add a line to the log."""
        partial = self._checkpoint.with_suffix(".partial")
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "seen": self.seen,
            "step": self.step,
            "batches": self._read,
        }
        torch.save(state, partial)
        partial.rename(self._checkpoint)
        line = {"step": self.step, "tokens": self.seen, "loss": self._loss, "precision": self.precision}
        with (self._checkpoint.parent / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _load(self) -> None:
        state = torch.load(self._checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.seen, self.step, self._read = state["seen"], state["step"], state["batches"]


def _optimizers(model: nn.Module, learning_rate: float) -> Sequence[torch.optim.Optimizer]:
    """Return Muon for the matrices of the layers, and AdamW for embeddings, norms and biases."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=learning_rate, adjust_lr_fn="match_rms_adamw", weight_decay=0.0),
        torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]

"""Keys and values of the sequences being generated, kept in slots, and reused when a later prompt begins
alike.

One arena per base model, shared by all its checkpoints. A slot holds the keys and values of one sequence of
one checkpoint. When a sequence ends, its slot stays filled until the room is needed: the next turn of the
same conversation takes the slot over and computes only what is new, and a prompt that merely begins like a
filled slot copies the common part, which costs memory traffic instead of arithmetic. Memory is bounded by the
number of slots; the least recently used one is evicted first. On a CPU untouched parts of the arena are never
backed by memory.

Not here: which sequences run when (`generation`), and attention without a cache
(`ragged_attention.PackedPlan`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import PretrainedConfig

from training_service.ragged_attention import causal

Tokens = np.ndarray[tuple[int], np.dtype[np.int32]]
NOTHING: Tokens = np.zeros(0, dtype=np.int32)


@dataclass
class Slot:
    """One sequence's place. `tokens[:filled]` are those whose keys and values are in the arena."""

    index: int
    owner: str = ""
    tokens: Tokens = field(default_factory=lambda: NOTHING)
    filled: int = 0
    busy: bool = False
    used_at: int = 0


@dataclass(frozen=True)
class Segment:
    """`count` new tokens of a slot that has `past` filled ones, at `start` of the packed row."""

    slot: int
    past: int
    start: int
    count: int


def common_prefix(a: Tokens, b: Tokens) -> int:
    """How many leading tokens are equal."""
    shorter = min(len(a), len(b))
    different = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(different[0]) if len(different) else shorter


class Arena:
    """The slots of one base model."""

    def __init__(
        self,
        config: PretrainedConfig,
        slots: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
        padded: bool | None = None,
    ) -> None:
        """`padded`: attend to single tokens in one padded call; None leaves it to the device."""
        self.padded = device.type != "cpu" if padded is None else padded
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (slots, heads, capacity, width)
        layers = config.num_hidden_layers
        self.keys = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.capacity = capacity
        self.slots = [Slot(index) for index in range(slots)]
        self._clock = 0

    def acquire(self, owner: str, prompt: Tokens) -> Slot | None:
        """A busy slot for `prompt` with as much of it filled as any slot has; None when it is better to wait.

        At least the last token is left to compute, since its logits are wanted. Waits when all slots are
        busy, or when a busy slot is about to compute a beginning that this prompt shares.
        """
        self._clock += 1
        limit = len(prompt) - 1
        free = [slot for slot in self.slots if not slot.busy]
        if not free:
            return None
        best, shared, promised = None, 0, 0
        for slot in self.slots:
            if slot.owner != owner or not len(slot.tokens):
                continue
            common = min(common_prefix(slot.tokens, prompt), limit)
            if min(common, slot.filled) > shared or (
                best and best.busy and not slot.busy and min(common, slot.filled) == shared
            ):
                best, shared = slot, min(common, slot.filled)
            promised = max(promised, common if slot.busy else 0)
        if promised > shared + 16:
            return None
        if (
            best is not None and not best.busy and best.filled - shared <= 16
        ):  # the same conversation, continued
            chosen = best
        else:
            chosen = min(free, key=lambda slot: (bool(slot.owner), slot.used_at))
            if best is not None and chosen is not best:
                self._copy(best.index, chosen.index, shared)
        chosen.owner, chosen.tokens, chosen.filled, chosen.busy, chosen.used_at = (
            owner,
            prompt,
            shared,
            True,
            self._clock,
        )
        return chosen

    def release(self, slot: Slot, tokens: Tokens) -> None:
        """The sequence has ended as `tokens`; keep what is filled of it for those that go on from here."""
        self._clock += 1
        slot.tokens, slot.busy, slot.used_at = tokens[: slot.filled], False, self._clock

    def forget(self, owner: str) -> None:
        """Empty the slots of a checkpoint that is no longer loaded."""
        for slot in self.slots:
            if slot.owner == owner and not slot.busy:
                slot.owner, slot.tokens, slot.filled = "", NOTHING, 0

    def _copy(self, source: int, target: int, count: int) -> None:
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :count] = tensor[source, :, :count]


class CachedPlan:
    """Generation: new tokens of several slots, each attending to its slot's past and to itself.

    Segments of one token come first in the row. On a CPU every sequence is attended to on its own, which
    reads nothing but its keys and values; on a GPU, where launching many small kernels is what costs, those
    of one token share one padded call.
    """

    def __init__(self, arena: Arena, segments: Sequence[Segment], device: torch.device) -> None:
        self.arena, self.segments = arena, segments
        self.singles = sum(1 for segment in segments if segment.count == 1)
        self.together = arena.padded and self.singles > 1
        singles = segments[: self.singles]
        self.slots = torch.tensor([segment.slot for segment in singles], device=device)
        self.past = torch.tensor([segment.past for segment in singles], device=device)
        self.longest = max((segment.past + 1 for segment in singles), default=0)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None
    ) -> Tensor:
        keys, values = self.arena.keys[layer], self.arena.values[layer]
        if self.singles:
            keys[self.slots, :, self.past] = key[:, : self.singles].transpose(0, 1).to(keys.dtype)
            values[self.slots, :, self.past] = value[:, : self.singles].transpose(0, 1).to(values.dtype)
        pieces = [self._padded(query, keys, values, scaling, window)] if self.together else []
        for segment in self.segments[len(pieces) and self.singles :]:
            stop, filled = segment.start + segment.count, segment.past + segment.count
            if segment.count > 1:
                keys[segment.slot, :, segment.past : filled] = key[:, segment.start : stop]
                values[segment.slot, :, segment.past : filled] = value[:, segment.start : stop]
            seen_keys, seen_values = keys[segment.slot, :, :filled], values[segment.slot, :, :filled]
            pieces.append(causal(query[:, segment.start : stop], seen_keys, seen_values, scaling, window))
        return torch.cat(pieces, dim=1).transpose(0, 1)

    def _padded(
        self, query: Tensor, keys: Tensor, values: Tensor, scaling: float | None, window: int | None
    ) -> Tensor:
        places = torch.arange(self.longest, device=query.device)
        mask = places <= self.past[:, None]
        if window is not None:
            mask &= places > self.past[:, None] - window
        unused = ~mask[:, None, :, None]  # whatever lies there, not even a NaN may pass
        result = scaled_dot_product_attention(
            query[:, : self.singles].transpose(0, 1)[:, :, None],
            keys[self.slots, :, : self.longest].masked_fill_(unused, 0),
            values[self.slots, :, : self.longest].masked_fill_(unused, 0),
            attn_mask=mask[:, None, None],
            scale=scaling,
            enable_gqa=query.shape[0] != keys.shape[1],
        )
        return result[:, :, 0].transpose(0, 1)

"""Keys and values of the sequences being generated, kept in slots and reused when a
later prompt begins alike.

One arena per base model, shared by all its checkpoints. A slot holds the keys and values of one sequence of
one checkpoint. When a sequence ends, its slot stays filled until the room is needed. The next turn of the
same conversation takes the slot over and computes only what is new. A prompt that merely begins like a
filled slot copies the common part, which costs memory traffic instead of arithmetic.

Memory is bounded by the number of slots and by the tokens in all of them. The least recently used slot is
emptied first. A conversation that will go on keeps its slot for a while against new ones: they wait rather
than throw away what the next turn needs. On a CPU only tokens that are there take memory (`lazy_memory`).

Not here: which sequences run when (`generation`), and attention without a cache (`ragged_attention`,
`prefix_tree`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import PretrainedConfig

from training_service.lazy_memory import LazyTensor
from training_service.prefix_tree import Tokens, common_prefix
from training_service.ragged_attention import causal

NOTHING: Tokens = np.zeros(0, dtype=np.int32)
WORTH_WAITING = 16
"""Tokens that are worth waiting for, or throwing away, rather than computing or copying."""
LIVE_S = 3.0
"""Seconds in which the next turn of a conversation is expected. New conversations
leave its slot alone so long.
"""


@dataclass
class Slot:
    """One sequence's place. `tokens[:filled]` are those whose keys and values are in the arena."""

    index: int
    owner: str = ""
    tokens: Tokens = field(default_factory=lambda: NOTHING)
    filled: int = 0
    busy: bool = False
    used_at: int = 0
    live_until: float = 0.0
    """Until when only the next turn of its own conversation may take the slot."""


@dataclass(frozen=True)
class Segment:
    """`count` new tokens of a slot that has `past` filled ones, at `start` of the packed row."""

    slot: int
    past: int
    start: int
    count: int


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
        most_tokens: int | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reserve `slots` places of `capacity` tokens.

        `padded`: attend to single tokens in one padded call; None leaves it to the device. `most_tokens`
        bounds the tokens of all slots together; one sequence alone may have more. `seconds` tells the time.
        """
        self.padded = device.type != "cpu" if padded is None else padded
        layers, heads, width = shape_of(config)
        self._memory = LazyTensor((layers, 2, slots, heads, capacity, width), dtype, device)
        self.keys = list(self._memory.tensor[:, 0])
        """Of each layer, `[slots, heads, capacity, width]`; `values` likewise.

        What one head reads lies together: attention to one token takes two thirds of the time on a CPU.
        """
        self.values = list(self._memory.tensor[:, 1])
        self.capacity = capacity
        self.slots = [Slot(index) for index in range(slots)]
        self.most_tokens = slots * capacity if most_tokens is None else most_tokens
        self._clock = 0
        self._seconds = seconds

    @property
    def tokens(self) -> int:
        """Return how many tokens are kept in all slots."""
        return sum(slot.filled for slot in self.slots)

    def acquire(self, owner: str, prompt: Tokens) -> Slot | None:
        """Return a busy slot for `prompt` with as much of it filled as any slot has; None when it is better
        to wait.

        At least the last token is left to compute, since its logits are wanted. Waits when all slots are
        busy, when there is no room for more tokens, or when a busy slot is about to compute a beginning that
        this prompt shares. A new conversation also waits while every free slot expects its next turn.
        """
        self._clock += 1
        if all(slot.busy for slot in self.slots):
            return None
        best, shared, promised = self._alike(owner, prompt)
        if promised > shared + WORTH_WAITING:
            return None
        goes_on = best is not None and not best.busy and best.filled - shared <= WORTH_WAITING
        if not self._make_room(len(prompt) - (shared if goes_on else 0), best, new=not goes_on):
            return None
        chosen = best if goes_on else self._oldest_free()
        if chosen is None:
            return None
        if best is not None and chosen is not best:
            self._empty(chosen)
            self._copy(best.index, chosen.index, shared)
        chosen.owner, chosen.tokens, chosen.filled = owner, prompt, shared
        chosen.busy, chosen.used_at = True, self._clock
        return chosen

    def release(self, slot: Slot, tokens: Tokens, goes_on: bool = False) -> None:
        """Keep what is filled of a sequence that has ended as `tokens`, for those that go on from here.

        `goes_on`: its next turn is expected soon.
        """
        self._clock += 1
        slot.live_until = self._seconds() + LIVE_S if goes_on else 0.0
        slot.tokens, slot.busy, slot.used_at = tokens[: slot.filled], False, self._clock

    def forget(self, owner: str) -> None:
        """Empty the slots of a checkpoint that is no longer loaded."""
        for slot in self.slots:
            if slot.owner == owner and not slot.busy:
                self._empty(slot)

    def let_go(self) -> None:
        """Give back the memory of conversations that have ended.

        While a sequence runs, those whose next turn is expected keep theirs.
        """
        running = any(slot.busy for slot in self.slots)
        for slot in self.slots:
            if slot.filled and not slot.busy and not (running and self._expects(slot)):
                self._empty(slot)

    def _alike(self, owner: str, prompt: Tokens) -> tuple[Slot | None, int, int]:
        """Find the slot with the longest beginning of `prompt`, free ones first.

        Returns it, how long that beginning is, and how long it will be once busy
        slots have read their prompts.
        """
        best, shared, promised, limit = None, 0, 0, len(prompt) - 1
        for slot in self.slots:
            if slot.owner != owner or not len(slot.tokens):
                continue
            common = min(common_prefix(slot.tokens, prompt), limit)
            filled = min(common, slot.filled)
            instead_of_busy = best is not None and best.busy and not slot.busy and filled == shared
            if filled > shared or instead_of_busy:
                best, shared = slot, filled
            promised = max(promised, common if slot.busy else 0)
        return best, shared, promised

    def _make_room(self, needed: int, keep: Slot | None, new: bool) -> bool:
        """Empty free slots, oldest first, until `needed` tokens fit. False when it is better to wait.

        A new conversation empties no slot that expects its next turn.
        """
        while self.tokens + needed > self.most_tokens:
            idle = [slot for slot in self.slots if slot.filled and not slot.busy and slot is not keep]
            open_ones = [slot for slot in idle if not (new and self._expects(slot))]
            if not open_ones:
                # a sequence that is larger than the whole room runs alone, rather than never
                return not idle and not any(slot.busy for slot in self.slots)
            self._empty(min(open_ones, key=lambda slot: slot.used_at))
        return True

    def _expects(self, slot: Slot) -> bool:
        return slot.live_until > self._seconds()

    def _oldest_free(self) -> Slot | None:
        free = [slot for slot in self.slots if not slot.busy and not self._expects(slot)]
        return min(free, key=lambda slot: (bool(slot.owner), slot.used_at), default=None)

    def _empty(self, slot: Slot) -> None:
        slot.owner, slot.tokens, slot.filled, slot.live_until = "", NOTHING, 0, 0.0
        for tensor in (*self.keys, *self.values):
            self._memory.give_back(tensor[slot.index])

    def _copy(self, source: int, target: int, count: int) -> None:
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :count] = tensor[source, :, :count]


def shape_of(config: PretrainedConfig) -> tuple[int, int, int]:
    """Return layers, key-value heads and their width."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, heads, width


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

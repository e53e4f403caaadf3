"""Keys and values: what is kept, what makes room, and what memory it takes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from training_service.base_models import Base
from training_service.kv_cache import Arena, Slot
from training_service.lazy_memory import LazyTensor
from training_service.prefix_tree import Tokens

MIB = 1 << 20


def prompt(*tokens: int) -> Tokens:
    return np.array(tokens, dtype=np.int32)


def arena_of(base: Base, slots: int = 4, most_tokens: int | None = None) -> Arena:
    return Arena(base.model.config, slots, base.context, torch.float32, base.device, most_tokens=most_tokens)


def written(arena: Arena, owner: str, tokens: Tokens) -> Slot:
    """A slot whose sequence was computed and has ended."""
    slot = arena.acquire(owner, tokens)
    assert slot is not None
    slot.filled = len(tokens)
    arena.release(slot, tokens)
    return slot


def test_a_conversation_that_goes_on_keeps_its_slot(base: Base) -> None:
    arena = arena_of(base)
    first = written(arena, "a", prompt(*range(50)))
    again = arena.acquire("a", prompt(*range(60)))
    assert again is first
    assert again.filled == 50


def test_a_prompt_that_begins_alike_gets_a_copy(base: Base) -> None:
    arena = arena_of(base)
    first = written(arena, "a", prompt(*range(50)))
    arena.keys[0][first.index, :50] = 7.0
    other = arena.acquire("a", prompt(*range(20), *range(100, 130)))
    assert other is not None
    assert other is not first
    assert other.filled == 20
    assert arena.keys[0][other.index, :20].eq(7.0).all()


def test_another_checkpoint_shares_nothing(base: Base) -> None:
    arena = arena_of(base)
    written(arena, "a", prompt(*range(50)))
    other = arena.acquire("b", prompt(*range(50)))
    assert other is not None
    assert other.filled == 0


def test_the_oldest_kept_sequences_make_room(base: Base) -> None:
    arena = arena_of(base, most_tokens=100)
    old, new = written(arena, "a", prompt(*range(40))), written(arena, "a", prompt(*range(100, 140)))
    assert arena.acquire("a", prompt(*range(200, 250))) is not None
    assert (old.filled, new.filled) == (0, 40)


def test_a_sequence_waits_while_running_ones_leave_no_room(base: Base) -> None:
    arena = arena_of(base, most_tokens=100)
    running = arena.acquire("a", prompt(*range(80)))
    assert running is not None
    running.filled = 80
    assert arena.acquire("a", prompt(*range(100, 130))) is None
    arena.release(running, prompt(*range(80)))
    assert arena.acquire("a", prompt(*range(100, 130))) is not None


def test_a_sequence_above_the_limit_runs_alone(base: Base) -> None:
    arena = arena_of(base, most_tokens=100)
    assert arena.acquire("a", prompt(*range(300))) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process has")
def test_only_what_is_written_takes_memory_and_it_can_be_given_back() -> None:
    before = resident_mib()
    lazy = LazyTensor((8, 64 * MIB // 4), torch.float32, torch.device("cpu"))
    assert resident_mib() - before < 8
    lazy.tensor[3].fill_(1.0)
    assert resident_mib() - before > 60
    lazy.give_back(lazy.tensor[3])
    assert resident_mib() - before < 8


def test_giving_a_part_back_leaves_the_others_alone() -> None:
    lazy = LazyTensor((3, 5000), torch.float32, torch.device("cpu"))
    for number in range(3):
        lazy.tensor[number].fill_(float(number))
    lazy.give_back(lazy.tensor[1])
    assert lazy.tensor[0].eq(0.0).all()
    assert lazy.tensor[2].eq(2.0).all()


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MIB

"""Keys and values: what is kept, what makes room, and what memory it takes."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from training_service.base_models import Base
from training_service.kv_cache import LIVE_S, Arena, Slot
from training_service.lazy_memory import LazyTensor, trim_heap
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
    arena.keys[0][first.index, :, :50] = 7.0
    other = arena.acquire("a", prompt(*range(20), *range(100, 130)))
    assert other is not None
    assert other is not first
    assert other.filled == 20
    assert arena.keys[0][other.index, :, :20].eq(7.0).all()


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process has")
def test_what_another_thread_has_freed_goes_back_to_the_system() -> None:
    def leave_much_behind() -> None:
        blocks = [torch.ones(MIB // 64) for _ in range(1600)]  # 64 KiB each, from the heap of this thread
        kept.append(blocks[-1])

    kept: list[torch.Tensor] = []
    thread = threading.Thread(target=leave_much_behind)
    thread.start()
    thread.join()
    before = resident_mib()
    trim_heap()
    assert before - resident_mib() > 80


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MIB


# ------------------------------------------------------------------------------ conversations that will go on


class Watch:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def live_arena(base: Base, slots: int, most_tokens: int | None = None) -> tuple[Arena, Watch]:
    watch = Watch()
    config = base.model.config
    arena = Arena(config, slots, 512, torch.float32, base.device, most_tokens=most_tokens, seconds=watch)
    return arena, watch


def turn(arena: Arena, tokens: Tokens) -> int | None:
    """How many tokens one turn of a conversation found; None when it has to wait."""
    slot = arena.acquire("a", tokens)
    if slot is None:
        return None
    found, slot.filled = slot.filled, len(tokens)
    arena.release(slot, tokens, goes_on=True)
    return found


def test_a_new_conversation_waits_for_the_slot_of_one_that_goes_on(base: Base) -> None:
    arena, watch = live_arena(base, slots=1)
    assert turn(arena, prompt(*range(50))) == 0
    assert turn(arena, prompt(*range(100, 150))) is None
    assert turn(arena, prompt(*range(60))) == 50, "the next turn finds all it had"
    watch.now = LIVE_S + 1
    assert turn(arena, prompt(*range(100, 150))) == 0


def test_a_new_conversation_takes_no_tokens_from_those_that_go_on(base: Base) -> None:
    arena, watch = live_arena(base, slots=4, most_tokens=100)
    turn(arena, prompt(*range(80)))
    assert turn(arena, prompt(*range(100, 150))) is None
    watch.now = LIVE_S + 1
    assert turn(arena, prompt(*range(100, 150))) == 0


def test_twice_as_many_conversations_as_slots_compute_each_token_once(base: Base) -> None:
    arena, watch = live_arena(base, slots=8)
    lengths = range(40, 240, 40)
    waiting = [[prompt(*range(1000 * n, 1000 * n + length)) for length in lengths] for n in range(16)]
    computed = 0
    while waiting:
        for conversation in list(waiting):
            found = turn(arena, conversation[0])
            if found is not None:
                computed += len(conversation.pop(0)) - found
        waiting = [conversation for conversation in waiting if conversation]
        watch.now += LIVE_S / 2
    assert computed == 16 * max(lengths)


def test_an_idle_arena_lets_go_of_all_conversations(base: Base) -> None:
    arena, _ = live_arena(base, slots=4)
    turn(arena, prompt(*range(50)))
    arena.let_go()
    assert arena.tokens == 0


def test_while_a_sequence_runs_the_next_turns_that_are_expected_keep_their_place(base: Base) -> None:
    arena, watch = live_arena(base, slots=4)
    turn(arena, prompt(*range(50)))
    watch.now = LIVE_S + 1
    turn(arena, prompt(*range(100, 150)))
    running = arena.acquire("a", prompt(*range(200, 250)))
    assert running is not None
    arena.let_go()
    assert turn(arena, prompt(*range(100, 160))) == 50
    assert turn(arena, prompt(*range(60))) == 0, "nobody expected this one to go on"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pages are reserved")
def test_more_address_space_than_memory_can_be_reserved() -> None:
    lazy = LazyTensor((1 << 10, 1 << 30), torch.float32, torch.device("cpu"))
    lazy.tensor[-1, :10] = 1.0
    assert lazy.tensor[-1, :10].eq(1.0).all()

"""Guesses come from the text itself, cost few steps, and never change what is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from training_service.base_models import Base
from training_service.generation import GUESSED_TOKENS, Generator, Job, Written
from training_service.kv_cache import Arena
from training_service.prefix_tree import Tokens
from training_service.prompt_lookup import ALIKE, guess
from training_service.sampling import Sampling

Run = Callable[..., tuple[list[Written], int]]


def tokens(*numbers: int) -> Tokens:
    return np.array(numbers, dtype=np.int32)


def test_what_followed_the_last_tokens_before_is_guessed_again() -> None:
    assert guess(tokens(1, 2, 3, 4, 5, 9, 1, 2), most=3).tolist() == [3, 4, 5]


def test_the_longer_run_counts_and_then_the_later_one() -> None:
    assert guess(tokens(1, 2, 3, 8, 7, 2, 3, 9, 1, 2, 3), most=1).tolist() == [8]
    assert guess(tokens(2, 3, 8, 2, 3, 9, 1, 2, 3), most=1).tolist() == [9]


@pytest.mark.parametrize("text", [(), (1,), (1, 2), (1, 2, 3, 4), (5, 1, 6, 1)], ids=str)
def test_nothing_is_guessed_of_what_is_new(text: tuple[int, ...]) -> None:
    assert guess(tokens(*text), most=8).tolist() == []


def test_no_token_more_than_asked_for_is_guessed() -> None:
    assert guess(tokens(1, 2, 3, 4, 1, 2), most=0).tolist() == []
    assert guess(tokens(*[7] * 30), most=8).tolist() == [7]  # what followed ends with the text


@given(arrays.arrays(np.int32, st.integers(0, 40), elements=st.integers(0, 3)), st.integers(0, 9))
def test_a_guess_stood_behind_the_same_tokens_before(text: Tokens, most: int) -> None:
    found = guess(text, most)
    assert len(found) <= most
    if len(found):
        wanted = [*text[-ALIKE[-1] :].tolist(), *found.tolist()]
        every = text.tolist()
        assert any(every[start : start + len(wanted)] == wanted for start in range(len(every)))


# ------------------------------------------------------------------------------------------- in a generator


@pytest.fixture
def run(base: Base) -> Iterator[Run]:
    """Write some sequences at once; returns them and how many steps that took."""
    opened: list[Generator] = []

    def written(jobs: list[Job], guessed: int) -> tuple[list[Written], int]:
        arena = Arena(base.model.config, 8, base.context, torch.float32, base.device)
        opened.append(Generator(arena, lambda _: base.model, base.device, guessed_tokens=guessed))
        futures = [opened[-1].submit(job) for job in jobs]
        return [future.result(60) for future in futures], opened[-1].steps

    yield written
    for generator in opened:
        generator.close()


def jobs(temperature: float, end: frozenset[int] = frozenset(), limit: int = 40) -> list[Job]:
    """Return sequences over text that repeats itself."""
    prompts = [tokens(*[5, 9, 200, 31] * 5), tokens(*[300] * 20), tokens(*range(10, 60), *range(10, 20))]
    ways = (Sampling.seeded(temperature, 1.0, seed, 0) for seed in range(len(prompts)))
    return [Job("a", prompt, limit, way, end) for prompt, way in zip(prompts, ways, strict=True)]


@pytest.mark.parametrize("temperature", [0.0, 0.2, 1.0])
def test_guesses_change_nothing_that_is_written(run: Run, temperature: float) -> None:
    plain, _ = run(jobs(temperature), 0)
    found, _ = run(jobs(temperature), GUESSED_TOKENS)
    assert [one.tokens for one in found] == [one.tokens for one in plain]
    for one, other in zip(found, plain, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_text_that_repeats_itself_takes_fewer_steps(run: Run) -> None:
    (plain, steps), (found, fewer) = run(jobs(0.0), 0), run(jobs(0.0), GUESSED_TOKENS)
    assert [one.tokens for one in found] == [one.tokens for one in plain]
    assert fewer < 0.8 * steps


def test_a_sequence_ends_at_its_end_token_though_more_was_guessed(run: Run) -> None:
    written, _ = run(jobs(0.0), 0)
    ends = frozenset({written[0].tokens[20]})
    plain, _ = run(jobs(0.0, ends), 0)
    found, _ = run(jobs(0.0, ends), GUESSED_TOKENS)
    assert [(one.tokens, one.ended) for one in found] == [(one.tokens, one.ended) for one in plain]
    assert plain[0].ended


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_holds_whatever_was_guessed(run: Run, limit: int) -> None:
    found, _ = run(jobs(0.0, limit=limit), GUESSED_TOKENS)
    assert [len(one.tokens) for one in found] == [limit] * 3


def test_the_next_turn_goes_on_from_what_was_guessed_right(base: Base, run: Run) -> None:
    (first, *_), _ = run(jobs(0.0)[:1], GUESSED_TOKENS)
    longer = np.concatenate([jobs(0.0)[0].prompt, tokens(*first.tokens, 7, 8)])
    turns = [Job("a", longer, 5, Sampling.seeded(0.0, 1.0, 0, 0), frozenset()) for _ in range(2)]
    arena = Arena(base.model.config, 8, base.context, torch.float32, base.device)
    generator = Generator(arena, lambda _: base.model, base.device)
    try:
        generator.submit(jobs(0.0)[0]).result(60)
        before = generator.tokens_computed
        going_on = generator.submit(turns[0]).result(60)
        assert generator.tokens_computed - before <= 3 + 4 * 9, "the prompt was read again"
    finally:
        generator.close()
    assert going_on.tokens == run(turns[1:], 0)[0][0].tokens

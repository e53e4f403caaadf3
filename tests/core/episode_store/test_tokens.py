"""Token ids come back as they were sampled, and take little room."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from core.episode_store.tokens import read_tokens, tokens_of, tokens_path, write_tokens
from tests.builders.episodes import episode

IDS = st.lists(st.integers(0, 50_000), min_size=1, max_size=20)


def choice(prompt: list[int] | None, tokens: list[int] | None) -> SimpleNamespace:
    """A reply as far as tokens go."""
    return SimpleNamespace(prompt_token_ids=prompt, token_ids=tokens)


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=5))
def test_whatever_was_sampled_comes_back(turns: list[tuple[list[int], list[int]]]) -> None:
    found = tokens_of(episode(), [choice(*turn) for turn in turns])
    assert found is not None
    assert [(list(prompt), list(tokens)) for prompt, tokens in found.sequences()] == turns


def test_a_conversation_that_grows_is_stored_once(tmp_path: Path) -> None:
    first, second = [1, 2, 3], [1, 2, 3, 7, 8, 9]
    path = tmp_path / "train-0001-rollouts.jsonl"
    write_tokens(path, episode("a", 2), [choice(first, [7, 8]), choice(second, [4])])
    write_tokens(path, episode("a", 3), [choice(first, None)])
    (found,) = read_tokens(path).values()
    assert (found.scenario_id, found.sample) == ("a", 2)
    assert [reply.shared for reply in found.replies] == [0, 5]
    assert [reply.prompt_token_ids for reply in found.replies] == [(1, 2, 3), (9,)]


def test_the_latest_of_a_sample_counts_and_half_a_line_costs_one_episode(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    for tokens in ([4], [5]):
        write_tokens(path, episode("a"), [choice([1], tokens)])
    tokens_path(path).write_bytes(tokens_path(path).read_bytes() + b'{"scenario_id": "b", "sam')
    write_tokens(path, episode("c"), [choice([1], [6])])
    found = read_tokens(path)
    assert [reply.token_ids for one in found.values() for reply in one.replies] == [(5,), (6,)]


def test_log_probabilities_come_back_where_there_is_one_for_each_token(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    known = [SimpleNamespace(logprob=value) for value in (-0.5, -7.25)]
    whole, half = choice([1], [2, 3]), choice([1, 2, 3], [4])
    whole.logprobs = half.logprobs = SimpleNamespace(content=known)
    write_tokens(path, episode("a"), [whole, half])
    (found,) = read_tokens(path).values()
    assert [reply.logprobs for reply in found.replies] == [(-0.5, -7.25), ()]


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert read_tokens(tmp_path / "nothing.jsonl") == {}

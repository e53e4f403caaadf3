"""Sequences packed into a tree give what each gives on its own: logits, gradients, and no token twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.builders.examples import examples
from training_service.base_models import Base
from training_service.prefix_tree import Tokens, TokenTree, tree_logits

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=7)


def tokens(*sequences: list[int]) -> list[Tokens]:
    return [np.array(sequence, dtype=np.int32) for sequence in sequences]


def test_a_common_beginning_stands_once_in_the_row() -> None:
    tree = TokenTree(tokens([7, 8, 9], [7, 8, 5, 4], [7, 8, 9]))
    assert tree.tokens.tolist() == [7, 8, 5, 4, 9]
    assert tree.positions.tolist() == [0, 1, 2, 3, 2]
    assert [path.tolist() for path in tree.paths] == [[0, 1, 4], [0, 1, 2, 3], [0, 1, 4]]
    assert [(count, path.tolist()) for count, path in tree.stretches] == [(4, [0, 1, 2, 3]), (1, [0, 1, 4])]


@given(SEQUENCES)
def test_every_path_spells_its_sequence_and_every_beginning_stands_once(sequences: list[list[int]]) -> None:
    tree = TokenTree(tokens(*sequences))
    for sequence, path in zip(sequences, tree.paths, strict=True):
        assert tree.tokens[path].tolist() == sequence
        assert tree.positions[path].tolist() == list(range(len(sequence)))
    beginnings = {tuple(sequence[:end]) for sequence in sequences for end in range(1, len(sequence) + 1)}
    assert tree.size == len(tree.tokens) == len(beginnings)


@pytest.mark.slow
@given(sequences=SEQUENCES)
@examples(25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_logits_are_those_of_each_sequence_on_its_own(base: Base, sequences: list[list[int]]) -> None:
    tree = TokenTree(tokens(*sequences))
    with torch.inference_mode():
        together = tree_logits(base.model, tree, base.device)
        for sequence, path in zip(sequences, tree.paths, strict=True):
            alone = tree_logits(base.model, TokenTree(tokens(sequence)), base.device)
            assert torch.allclose(together[torch.from_numpy(path)], alone, atol=1e-5)


@pytest.mark.parametrize("keep", [[3], [0, 2, 2]])
def test_logits_can_be_asked_for_at_some_places_only(base: Base, keep: list[int]) -> None:
    tree = TokenTree(tokens([7, 8, 9, 5]))
    with torch.inference_mode():
        every = tree_logits(base.model, tree, base.device)
        some = tree_logits(base.model, tree, base.device, np.array(keep))
    assert torch.allclose(some, every[torch.tensor(keep)], atol=1e-6)

"""Micro-batches side by side add up to the same gradient, bit for bit, and fail as one."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from training_service import side_by_side
from training_service.side_by_side import add_gradients, in_lanes

needs_two_cores = pytest.mark.skipif(side_by_side.CORES < 2, reason="one core computes one at a time")


def layer() -> nn.Linear:
    """The same small layer every time."""
    torch.manual_seed(0)
    return nn.Linear(16, 4)


def inputs(count: int) -> list[Tensor]:
    """Micro-batches of 8 rows."""
    random = torch.Generator().manual_seed(1)
    return list(torch.randn(count, 8, 16, generator=random))


def one_after_the_other(model: nn.Linear, batches: list[Tensor]) -> Tensor:
    """The gradient of the weight that a plain loop finds."""
    for batch in batches:
        torch.autograd.backward(model(batch).square().sum())
    assert model.weight.grad is not None
    return model.weight.grad


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_gradient_is_that_of_a_plain_loop_bit_for_bit(count: int) -> None:
    model, batches = layer(), inputs(count)
    add_gradients(model.parameters(), batches, lambda batch: (model(batch).square().sum(), None))
    assert model.weight.grad is not None
    assert torch.equal(model.weight.grad, one_after_the_other(layer(), batches))


def test_what_is_seen_of_micro_batches_comes_in_their_order() -> None:
    model = layer()
    seen = add_gradients(
        model.parameters(), range(7), lambda number: (model(torch.ones(1, 16)).sum() * number, number)
    )
    assert seen == list(range(7))


@needs_two_cores
def test_two_micro_batches_are_under_way_at_the_same_time() -> None:
    model, both_here = layer(), threading.Barrier(2, timeout=30)

    def loss(batch: Tensor) -> tuple[Tensor, int]:
        return model(batch).sum(), both_here.wait()

    assert sorted(add_gradients(model.parameters(), inputs(2), loss)) == [0, 1]


@pytest.mark.parametrize("broken", [0, 3])
def test_a_micro_batch_that_fails_fails_the_step(broken: int) -> None:
    model = layer()

    def loss(number: int) -> tuple[Tensor, None]:
        if number == broken:
            raise RuntimeError("no room")
        return model(torch.ones(1, 16)).sum(), None

    with pytest.raises(RuntimeError, match="no room"):
        add_gradients(model.parameters(), range(6), loss)


def test_parameters_that_are_frozen_or_not_used_get_no_gradient() -> None:
    used, unused, frozen = layer(), layer(), layer()
    frozen.requires_grad_(False)
    every = nn.ModuleList([used, unused, frozen])
    add_gradients(
        every.parameters(), inputs(3), lambda batch: (used(batch).sum() + frozen(batch).sum(), None)
    )
    assert used.weight.grad is not None
    assert unused.weight.grad is None
    assert frozen.weight.grad is None


@pytest.mark.parametrize("count", [0, 1, 5])
def test_what_is_only_read_comes_in_order_and_says_the_same(count: int) -> None:
    model, batches = layer(), inputs(count)

    def read(batch: Tensor) -> list[list[float]]:
        with torch.no_grad():
            found: list[list[float]] = model(batch).tolist()
        return found

    assert list(in_lanes(model.parameters(), batches, read)) == [read(batch) for batch in batches]


@needs_two_cores
def test_two_that_are_read_are_under_way_at_the_same_time_on_a_part_of_the_cores_each() -> None:
    both = threading.Barrier(2, timeout=20)

    def read(_: Tensor) -> int:
        both.wait()
        return torch.get_num_threads()

    assert list(in_lanes(layer().parameters(), inputs(2), read)) == [side_by_side.CORES // 2] * 2


def test_a_reading_that_fails_is_told() -> None:
    def read(_: Tensor) -> None:
        raise ValueError("too long")

    with pytest.raises(ValueError, match="too long"):
        list(in_lanes(layer().parameters(), inputs(3), read))

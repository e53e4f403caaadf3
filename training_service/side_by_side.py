"""Micro-batches, two of them computed at the same time on a CPU: gradients of one step, or numbers that are read.

The threads of one operation wait for each other at its end, thousands of times in a micro-batch. Two
micro-batches on a core each never wait. So a step takes less time, and a neighbour who holds a core for a
while costs only what it takes. Gradients are added in the order of the micro-batches, whichever ends first.

Not here: how a step is split (`scoring`, `fitting`), and threads of work that is one piece (`threads`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor, nn

MicroBatch = TypeVar("MicroBatch")
Seen = TypeVar("Seen")
LossOf = Callable[[MicroBatch], tuple[Tensor, Seen]]
"""Returns the loss of a micro-batch, a scalar, and whatever else is worth knowing of it."""

AT_ONCE = 2
"""Micro-batches under way: each holds activations of its own, so more cores work inside them instead."""
CORES = torch.get_num_threads()


def lanes(parameters: Iterable[nn.Parameter]) -> int:
    """Return how many micro-batches of such a model are computed at the same time."""
    on_cpu = all(parameter.device.type == "cpu" for parameter in parameters)
    return min(AT_ONCE, CORES) if on_cpu else 1


def add_gradients(
    parameters: Iterable[nn.Parameter], micro_batches: Sequence[MicroBatch], loss_of: LossOf[MicroBatch, Seen]
) -> list[Seen]:
    """Add the gradients of all losses to `.grad`; returns what `loss_of` said of each micro-batch, in order.

    Whatever `loss_of` raises is raised here, once the micro-batches under way have ended.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    at_once = min(lanes(trained), len(micro_batches))
    if at_once > 1:
        return list(_side_by_side(trained, micro_batches, loss_of))
    return list(_one_by_one(micro_batches, loss_of))


def in_lanes(
    parameters: Iterable[nn.Parameter], items: Sequence[MicroBatch], work: Callable[[MicroBatch], Seen]
) -> Iterator[Seen]:
    """Yield what `work` returns for each item, in order. It must be safe to call from several threads.

    Whatever it raises is raised here, once the work under way has ended.
    """
    at_once = max(1, min(lanes(parameters), len(items)))

    def one(item: MicroBatch) -> Seen:
        torch.set_num_threads(CORES // at_once)  # counts for the thread that says it
        return work(item)

    if at_once == 1:
        yield from map(one, items)
        return
    with ThreadPoolExecutor(at_once, thread_name_prefix="micro-batch") as pool:
        yield from pool.map(one, items)


def _one_by_one(micro_batches: Sequence[MicroBatch], loss_of: LossOf[MicroBatch, Seen]) -> Iterator[Seen]:
    torch.set_num_threads(CORES)
    for micro_batch in micro_batches:
        loss, seen = loss_of(micro_batch)
        torch.autograd.backward(loss)
        yield seen


def _side_by_side(
    trained: Sequence[nn.Parameter], micro_batches: Sequence[MicroBatch], loss_of: LossOf[MicroBatch, Seen]
) -> Iterator[Seen]:
    def gradients(micro_batch: MicroBatch) -> tuple[tuple[Tensor | None, ...], Seen]:
        loss, seen = loss_of(micro_batch)
        return torch.autograd.grad(loss, trained, allow_unused=True), seen

    for found, seen in in_lanes(trained, micro_batches, gradients):
        for parameter, gradient in zip(trained, found, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        yield seen

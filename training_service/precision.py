"""Which arithmetic a gradient step uses: float32 or bfloat16, whichever this machine is faster at.

bfloat16 halves the time on processors that have it. On others it is emulated, and a step takes many times as
long. No list of processors says which is which for every library involved, so both are timed at the start:
forward and backward of one linear layer, a few milliseconds. A close race goes to float32, which is exact.

Not here: where the choice is applied (`training`, `pretrain`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch.nn.functional import linear

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
Asked = Literal["auto", "float32", "bfloat16"]

CLEARLY = 1.3
"""Times as fast as float32 that bfloat16 has to be in one layer: a close race goes to what is exact.

A processor with avx512_bf16 has 1.55 to 1.95. At 1.5 a busy neighbour tipped the scales, and a
step of SmolLM2 then took 1.8 times as long. A forced arithmetic that is slower than the other one
by as much gets a warning.
"""
ROUNDS = 12
"""On a busy machine the shortest of four was up to twice too long, and the slower arithmetic was picked."""
TOKENS, WIDTH, INNER = 128, 256, 704


@dataclass(frozen=True)
class Chosen:
    """The arithmetic of this process and the two figures it rests on."""

    precision: Precision
    asked: Asked
    float32_ms: float
    bfloat16_ms: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON."""
        return asdict(self)

    def words(self) -> str:
        """Say it in one line."""
        figures = f"one layer took {self.float32_ms} ms in float32, {self.bfloat16_ms} ms in bfloat16"
        return f"gradient steps use {self.precision} (asked for: {self.asked}; {figures})"


def choose(asked: Asked, device: torch.device) -> Chosen:
    """Time both arithmetics, pick one, and log it. A forced one that is slow gets a warning."""
    slow, fast = _milliseconds("float32", device), _milliseconds("bfloat16", device)
    chosen = Chosen(_better(slow, fast) if asked == "auto" else asked, asked, slow, fast)
    log.info("%s", chosen.words())
    if warning := complaint(chosen):
        log.warning("%s", warning)
    return chosen


def complaint(chosen: Chosen) -> str | None:
    """Return what to change when a forced arithmetic is the slow one here, else None."""
    took = {"float32": chosen.float32_ms, "bfloat16": chosen.bfloat16_ms}
    other = "float32" if chosen.precision == "bfloat16" else "bfloat16"
    times = took[chosen.precision] / took[other]
    if chosen.asked == "auto" or times < CLEARLY:
        return None
    return (
        f"--precision {chosen.precision} takes {times:.1f} times as long as {other} in a layer on this machine; "
        f"use --precision auto or --precision {other}"
    )


def arithmetic(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a forward uses this arithmetic; weights stay as they are."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def bfloat16_on_cpu(device: torch.device) -> bool:
    """Tell whether a forward on this device runs in such a context for bfloat16 on a CPU."""
    inside = device.type == "cpu" and torch.is_autocast_enabled("cpu")
    return inside and torch.get_autocast_dtype("cpu") == torch.bfloat16


def _better(float32_ms: float, bfloat16_ms: float) -> Precision:
    return "bfloat16" if bfloat16_ms * CLEARLY < float32_ms else "float32"


def _milliseconds(precision: Precision, device: torch.device) -> float:
    """Return the shortest of a few forwards and backwards of one linear layer, after one to warm up.

    One thread and its own processor time: what else runs on the machine then changes the figure least.
    """
    random = torch.Generator().manual_seed(0)
    tokens = torch.randn(TOKENS, WIDTH, generator=random).to(device).requires_grad_()
    weight = torch.randn(INNER, WIDTH, generator=random).to(device).requires_grad_()
    with _one_thread():
        took = [_layer_ms(tokens, weight, precision) for _ in range(1 + ROUNDS)]
    return round(min(took[1:]), 3)


def _layer_ms(tokens: torch.Tensor, weight: torch.Tensor, precision: Precision) -> float:
    clock = time.thread_time if tokens.device.type == "cpu" else time.perf_counter
    began = clock()
    with arithmetic(precision, tokens.device):
        result = linear(tokens, weight)
    result.float().sum().backward()  # type: ignore[no-untyped-call]
    if tokens.device.type == "cuda":
        torch.cuda.synchronize(tokens.device)
    return 1000 * (clock() - began)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

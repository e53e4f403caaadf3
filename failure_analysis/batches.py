"""Cuts a stream into lists of bounded length, so that what is stored at once stays small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(stream: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` in order; the last may be shorter."""
    left = iter(stream)
    while batch := list(islice(left, size)):
        yield batch

"""A large tensor of which only the parts in use take memory.

The address space is reserved at once. The system backs a page when it is first written, and takes it back
when a part is given back. Large pages are switched off here: with them one token of a sequence takes the
memory of two thousand. On a GPU, and on systems without these calls, it is an ordinary tensor.

`trim_heap` does the same for what lies elsewhere, once something large is over.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

NO_RESERVATION = 0x4000 if sys.platform == "linux" else 0
"""MAP_NORESERVE, which Python names from 3.13 on: the address space may be larger
than the machine's memory.
"""


class LazyTensor:
    """`tensor` is the whole of it; its content is undefined until it is written."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        self._mapping: mmap.mmap | None = None
        if device.type != "cpu" or not hasattr(mmap, "MADV_NOHUGEPAGE"):
            self.tensor = torch.empty(*shape, dtype=dtype, device=device)
            return
        count = math.prod(shape)
        self._mapping = mmap.mmap(
            -1, count * dtype.itemsize, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVATION
        )
        self._mapping.madvise(mmap.MADV_NOHUGEPAGE)
        self.tensor = torch.frombuffer(self._mapping, dtype=dtype, count=count).view(*shape)

    def give_back(self, part: Tensor) -> None:
        """Let go of the memory of a contiguous part of `tensor`; its content is undefined afterwards."""
        if self._mapping is None:
            return
        begin = part.data_ptr() - self.tensor.data_ptr()
        end = begin + part.numel() * part.itemsize
        first, last = -(-begin // mmap.PAGESIZE), end // mmap.PAGESIZE  # whole pages only
        if last > first:
            self._mapping.madvise(mmap.MADV_DONTNEED, first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE)


def trim_heap() -> None:
    """Give back to the system what the heap has freed, where the C library can. 800 MB took 56 ms.

    Each thread that computes gradients has a heap of its own, which otherwise keeps what it once held.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)

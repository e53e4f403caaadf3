"""Random numbers for whole arrays, the same on every machine.

Only raw bits of PCG64 are used, which numpy promises to keep, and a table of quantiles made by Python's own
`math`: vectorised exponentials may differ in the last bit between processors.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
_STEPS = 4096
_QUANTILES = [NormalDist().inv_cdf((step + 0.5) / _STEPS) for step in range(_STEPS)]
NORMAL: Floats = np.array(_QUANTILES)
LATENCY: Floats = np.array([math.exp(0.35 * z) for z in _QUANTILES])
"""Log-normal factors of median 1."""


class Dice:
    """A stream of uniform numbers."""

    def __init__(self, seed: int) -> None:
        self.bits = np.random.PCG64(seed)

    def uniform(self, *shape: int) -> Floats:
        """Numbers from 0 (included) to 1."""
        raw = self.bits.random_raw(math.prod(shape))
        found: Floats = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return found.reshape(shape)

    def normal(self, *shape: int) -> Floats:
        """Numbers around 0 with deviation 1."""
        return pick(NORMAL, self.uniform(*shape))


def pick(table: Floats, uniform: Floats) -> Floats:
    """The table's entries at the given quantiles."""
    return table[(uniform * _STEPS).astype(np.int64)]

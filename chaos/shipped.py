"""What is shipped in log_scenarios/: how many scenarios of each split, and the seed that makes them."""

from __future__ import annotations

SHIPPED = {"train": 384, "val": 48, "test": 104}
SHIPPED_SEED = 2

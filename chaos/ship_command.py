"""The command behind `python -m chaos ship`: the shipped splits, written again."""

from __future__ import annotations

import argparse

from chaos.generate_command import write
from chaos.plans import EVEN
from chaos.shipped import SHIPPED, SHIPPED_SEED


def command(arguments: argparse.Namespace) -> int:
    """Write every shipped split. Returns 0."""
    for split, count in SHIPPED.items():
        write(split, count, SHIPPED_SEED, arguments.out / split, EVEN)
    return 0

"""The command behind `python -m chaos ship`: the shipped splits, written again, or only what is missing."""

from __future__ import annotations

import argparse

from chaos.generate_command import write
from chaos.shipped import SHIPPED, SHIPPED_SEED, ensure, write_manifest


def command(arguments: argparse.Namespace) -> int:
    """Write every shipped split and the manifest, or the missing ones. Returns 0."""
    if arguments.missing:
        made = ensure(arguments.out, arguments.workers)
        print(f"{arguments.out}: wrote {', '.join(made)}" if made else f"{arguments.out}: nothing is missing")
        return 0
    for split, count in SHIPPED.items():
        write(split, count, SHIPPED_SEED, arguments.out / split, workers=arguments.workers)
    write_manifest(arguments.out)
    return 0

"""The command behind `python -m chaos generate`: one split, written whole or not at all."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tqdm import tqdm

from chaos.plans import EVEN, Mix, read_mix
from chaos.splits import jobs, texts, write_split
from project_types import ConfigurationError


def command(arguments: argparse.Namespace) -> int:
    """Write one split. Returns 0."""
    mix = read_mix(arguments.request) if arguments.request else EVEN
    write(
        arguments.split,
        arguments.count,
        arguments.seed,
        arguments.out,
        mix,
        arguments.workers,
        arguments.redraw,
    )
    return 0


def write(
    split: str, count: int, seed: int, out: Path, mix: Mix = EVEN, workers: int = 1, redraw: int = 0
) -> None:
    """Write a split and say how fast. Raises ConfigurationError when the folder cannot be written."""
    started = time.monotonic()
    try:
        with texts(jobs(split, count, seed, mix, redraw), workers) as found:
            written = write_split(tqdm(found, total=count, desc=split, unit="scenario"), out)
    except OSError as trouble:
        raise ConfigurationError(
            f"{out}: cannot be written ({trouble.strerror}); give another folder with --out"
        ) from trouble
    size_kb = sum(path.stat().st_size for path in out.iterdir()) / 1000
    seconds = time.monotonic() - started
    print(f"{out}: {written} scenarios, {size_kb / written:.0f} KB each, {written / seconds:.0f} a second")

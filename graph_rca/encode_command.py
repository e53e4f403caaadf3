"""The command behind `python -m graph_rca encode`: scenario files as graphs, in one file, resumable by part."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from core.episode_store.scenarios import scenario_paths, split_folder
from graph_rca.dataset import Labelled, labelled, load, save
from graph_rca.encoders import ENCODERS, NONE
from project_types import ConfigurationError, read_scenario

PART = 200
"""Scenarios that are kept together while a command runs; a killed one goes on behind the last whole part."""


def command(arguments: argparse.Namespace) -> int:
    """Encode. Returns 0."""
    paths = scenario_paths(split_folder(arguments.scenarios), arguments.limit)
    out: Path = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    items = encode(paths, out, encoders=chosen(arguments.encoder), roughness=arguments.rough)
    if not items:
        raise ConfigurationError(
            f"{arguments.scenarios}: every scenario's answer is 'unknown'; give labelled ones"
        )
    save(items, out)
    for part in parts(out, len(paths)):
        part.unlink(missing_ok=True)
    print(f"{out}: {len(items)} graphs, {out.stat().st_size / 1e6:.1f} MB")
    return 0


def chosen(flag: str) -> list[str]:
    """Return the encoders that a flag names. Raises ConfigurationError for one that does not exist."""
    names = [name for name in flag.split(",") if name != NONE]
    if unknown := sorted(set(names) - set(ENCODERS)):
        known = ", ".join((NONE, *ENCODERS))
        raise ConfigurationError(f"--encoder: {', '.join(unknown)} is not known; known are {known}")
    return names


def parts(out: Path, count: int) -> list[Path]:
    """Return the files that hold a part each while a command runs."""
    return [out.with_name(f"{out.stem}.part{number}.npz") for number in range(-(-count // PART))]


def encode(
    paths: Sequence[Path], out: Path, *, encoders: Collection[str] = (), roughness: int | None = None
) -> list[Labelled]:
    """Encode scenario files, part by part; parts that are there already are read."""
    items: list[Labelled] = []
    with tqdm(total=len(paths), desc="encode", unit="scenario") as bar:
        for number, part in enumerate(parts(out, len(paths))):
            mine = paths[number * PART : (number + 1) * PART]
            found = load(part) if part.exists() else list(_encoded(mine, encoders, roughness, bar))
            if found and not part.exists():
                save(found, part)
            items += found
    return items


def _encoded(
    paths: Sequence[Path], encoders: Collection[str], roughness: int | None, bar: tqdm[Any]
) -> Iterator[Labelled]:
    for path in paths:
        found = labelled(read_scenario(path), encoders=encoders, roughness=roughness)
        bar.update()
        if found:
            yield found

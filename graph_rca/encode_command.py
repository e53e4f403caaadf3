"""The command behind `python -m graph_rca encode`: scenario files as graphs, in one file, resumable by part."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from core.episode_store.scenarios import scenario_paths, split_folder
from graph_rca.dataset import Labelled, labelled, load, save
from project_types import ConfigurationError, read_scenario

PART = 200
"""Scenarios that are kept together while a command runs; a killed one goes on behind the last whole part."""


def command(arguments: argparse.Namespace) -> int:
    """Encode. Returns 0."""
    paths = scenario_paths(split_folder(arguments.scenarios), arguments.limit)
    out: Path = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    items = encode(paths, out, vectors=arguments.vectors == "minilm", roughness=arguments.rough)
    if not items:
        raise ConfigurationError(
            f"{arguments.scenarios}: every scenario's answer is 'unknown'; give labelled ones"
        )
    save(items, out)
    for part in parts(out, len(paths)):
        part.unlink(missing_ok=True)
    print(f"{out}: {len(items)} graphs, {out.stat().st_size / 1e6:.1f} MB")
    return 0


def parts(out: Path, count: int) -> list[Path]:
    """Return the files that hold a part each while a command runs."""
    return [out.with_name(f"{out.stem}.part{number}.npz") for number in range(-(-count // PART))]


def encode(
    paths: Sequence[Path], out: Path, *, vectors: bool, roughness: int | None = None
) -> list[Labelled]:
    """Encode scenario files, part by part; parts that are there already are read."""
    items: list[Labelled] = []
    with tqdm(total=len(paths), desc="encode", unit="scenario") as bar:
        for number, part in enumerate(parts(out, len(paths))):
            mine = paths[number * PART : (number + 1) * PART]
            found = load(part) if part.exists() else list(_encoded(mine, vectors, roughness, bar))
            if found and not part.exists():
                save(found, part)
            items += found
    return items


def _encoded(
    paths: Sequence[Path], vectors: bool, roughness: int | None, bar: tqdm[Any]
) -> Iterator[Labelled]:
    for path in paths:
        found = labelled(read_scenario(path), vectors=vectors, roughness=roughness)
        bar.update()
        if found:
            yield found

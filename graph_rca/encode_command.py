"""The command behind `python -m graph_rca encode`: scenario files as graphs, in one file, resumable by part.

A part belongs to its scenarios and its flags. A run of other flags never takes in what a killed one left.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from core.command_line import printable
from core.episode_store.scenarios import scenario_paths, split_folder
from graph_rca.dataset import Labelled, labelled, load, save
from graph_rca.encoders import ENCODERS, NONE
from graph_rca.graph import InsufficientEvidence
from project_types import ConfigurationError, read_scenario

PART = 50
"""Scenarios that are kept together while a command runs; a killed one goes on behind the last whole part."""
Part = tuple[Path, Sequence[Path]]
"""A file, and the scenarios whose graphs it holds."""


def command(arguments: argparse.Namespace) -> int:
    """Encode. Returns 0."""
    encoders, roughness = chosen(arguments.encoder), arguments.rough
    paths = scenario_paths(split_folder(arguments.scenarios), arguments.limit)
    out: Path = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    parts = parts_of(paths, out, f"{sorted(encoders)} {roughness}")
    items = encode(parts, encoders=encoders, roughness=roughness)
    if not items:
        raise ConfigurationError(
            f"{arguments.scenarios}: no scenario names a service and can be ranked; give labelled ones"
        )
    save(items, out)
    for part, _ in parts:
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


def parts_of(paths: Sequence[Path], out: Path, flags: str) -> list[Part]:
    """Return the files that hold a part each while a command runs, with the scenarios of each."""
    groups = [paths[start : start + PART] for start in range(0, len(paths), PART)]
    marks = [hashlib.sha256(f"{flags} {[*map(str, group)]}".encode()).hexdigest()[:8] for group in groups]
    return [
        (out.with_name(f"{out.stem}.part-{mark}.npz"), group)
        for mark, group in zip(marks, groups, strict=True)
    ]


def encode(
    parts: Sequence[Part], *, encoders: Collection[str] = (), roughness: int | None = None
) -> list[Labelled]:
    """Encode scenario files, part by part; parts that are there already are read."""
    items: list[Labelled] = []
    with tqdm(total=sum(len(group) for _, group in parts), desc="encode", unit="scenario") as bar:
        for part, group in parts:
            if part.exists():
                items += load(part)
                bar.update(len(group))
            elif found := list(_encoded(group, encoders, roughness, bar)):
                save(found, part)
                items += found
    return items


def _encoded(
    paths: Sequence[Path], encoders: Collection[str], roughness: int | None, bar: tqdm[Any]
) -> Iterator[Labelled]:
    for path in paths:
        found = read_labelled(path, encoders=encoders, roughness=roughness)
        bar.update()
        if found:
            yield found


def read_labelled(
    path: Path, *, encoders: Collection[str] = (), roughness: int | None = None
) -> Labelled | None:
    """Read and encode a scenario file. None when nothing can be learnt from it; what
    cannot be ranked is said.

    Raises:
        ScenarioError: it is no scenario file.
    """
    try:
        return labelled(read_scenario(path), encoders=encoders, roughness=roughness)
    except InsufficientEvidence as refusal:
        tqdm.write(printable(f"{path}: left out: {refusal}"), file=sys.stderr)
        return None

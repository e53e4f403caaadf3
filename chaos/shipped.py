"""What is shipped in log_scenarios/: which splits, how large, and the seed that makes them.

val, test and controls lie in the repository. train is larger, so only its digest does: `ensure` writes it, byte
for byte the same, when it is first needed. `MANIFEST.json` holds the digest of every split.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from chaos.splits import jobs, texts, write_split
from project_types import ScenarioError

SHIPPED = {"train": 384, "val": 32, "test": 104, "controls": 14}
SHIPPED_SEED = 2
GENERATED = ("train",)
"""Splits that the repository does not hold."""
FOLDER = Path("log_scenarios")
MANIFEST = "MANIFEST.json"


class Digest(NamedTuple):
    """A split as the manifest knows it."""

    scenarios: int
    sha256: str
    """Of all scenario files in name order, one after the other."""


def digest(folder: Path) -> Digest:
    """Read a split's digest from its files."""
    found = hashlib.sha256()
    paths = sorted(folder.glob("scenario-*.json"))
    for path in paths:
        found.update(path.read_bytes())
    return Digest(len(paths), found.hexdigest())


def write_manifest(folder: Path) -> None:
    """Write the digests of all shipped splits."""
    known = {split: digest(folder / split)._asdict() for split in SHIPPED}
    (folder / MANIFEST).write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Digest]:
    """Read the digests. Raises ScenarioError when the manifest cannot be read."""
    path = folder / MANIFEST
    try:
        return {
            split: Digest(**known) for split, known in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, TypeError) as trouble:
        raise ScenarioError(f"{path}: cannot be read ({trouble}); run: git checkout -- {folder}") from trouble


def ensure(folder: Path = FOLDER, workers: int = 1) -> list[str]:
    """Write the splits that the repository does not hold, where they are missing. Returns which were written.

    Raises:
        ScenarioError: what was written is not what the manifest says.
    """
    missing = [split for split in GENERATED if not (folder / split / "scenarios.jsonl").exists()]
    for split in missing:
        with texts(jobs(split, SHIPPED[split], SHIPPED_SEED), workers) as found:
            write_split(found, folder / split)
        if digest(folder / split) != read_manifest(folder)[split]:
            raise ScenarioError(
                f"{folder / split}: was generated and differs from {folder / MANIFEST}; "
                "the generator has changed since: run python -m chaos ship"
            )
    return missing

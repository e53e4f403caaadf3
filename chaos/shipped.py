"""What is shipped in log_scenarios/: which splits, how large, and the seed that makes them.

val, test and controls lie in the repository. train is larger, so only its digest does: `ensure` writes it,
byte for byte the same, when a command first needs it. `MANIFEST.json` holds the digest of every split.
Whoever reads a split by name asks `split_folder` of this module.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import NamedTuple

from chaos.splits import cores, jobs, texts, write_split
from core.episode_store import scenarios as scenario_files
from project_types import ConfigurationError, ScenarioError

SHIPPED = {"train": 384, "val": 32, "test": 104, "controls": 14}
SHIPPED_SEED = 2
GENERATED = ("train",)
"""Splits that the repository does not hold."""
FOLDER = scenario_files.SHIPPED
MANIFEST = "MANIFEST.json"
WORKERS = min(2, cores())


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


def split_folder(split: str) -> Path:
    """Return the folder that a `--split` names, and write it first if it is a shipped one that is missing.

    Raises:
        ScenarioError: there is no such folder, or what was written is not what the manifest says.
    """
    if split in GENERATED and not Path(split).is_dir():
        for folder in scenario_files.shipped_folders():
            ensure(folder)
    return scenario_files.split_folder(split)


def size(folder: Path, split: str) -> int:
    """Count the scenarios of a split, or those that `ensure` would write."""
    found = len(list((folder / split).glob("scenario-*.json")))
    if found or split not in GENERATED or not (folder / MANIFEST).exists():
        return found
    return read_manifest(folder)[split].scenarios


def ensure(folder: Path = FOLDER, workers: int = WORKERS) -> list[str]:
    """Write the splits that the repository does not hold, where they are missing. Returns which were written.

    A folder without a manifest is not the shipped one: nothing is missing there.

    Raises:
        ConfigurationError: the folder cannot be written.
        ScenarioError: what was written is not what the manifest says.
    """
    if not (folder / MANIFEST).exists():
        return []
    known = read_manifest(folder)
    missing = [split for split in GENERATED if not _there(folder / split)]
    for split in missing:
        _write(split, folder, workers)
        if digest(folder / split) != known[split]:
            raise ScenarioError(
                f"{folder / split}: was generated and differs from {folder / MANIFEST}; "
                "the generator has changed since: run python -m chaos ship"
            )
    return missing


def _there(folder: Path) -> bool:
    """Whether a folder holds any scenario; a list of them alone does not count."""
    return next(folder.glob("scenario-*.json"), None) is not None


def _write(split: str, folder: Path, workers: int) -> None:
    """Write one split, and say so. Another process that was faster is no trouble."""
    from tqdm import tqdm  # not above: a training run decides what bars look like before it is first imported

    print(f"{folder / split} is not in the repository; it is generated now, once", file=sys.stderr)
    try:
        with texts(jobs(split, SHIPPED[split], SHIPPED_SEED), workers) as found:
            shown = tqdm(found, total=SHIPPED[split], desc=split, unit="scenario", disable=None)
            write_split(shown, folder / split)
    except OSError as trouble:
        if not _there(folder / split):
            raise ConfigurationError(
                f"{folder / split}: cannot be written ({trouble.strerror}); make the folder writable, "
                f"or make room, then run: python -m chaos ship --missing --out {folder}"
            ) from trouble

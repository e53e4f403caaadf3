"""Which scenario files a command means. Files are listed by name and never all read at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from project_types import ScenarioError

SHIPPED = Path("log_scenarios")
PREFIX = "scenario-"


def split_folder(split: str) -> Path:
    """The folder a `--split` names: a folder, or a split below log_scenarios (here, or where this project
    lies).

    Raises:
        ScenarioError: there is no such folder.
    """
    project = Path(__file__).resolve().parents[2]
    for folder in (Path(split), SHIPPED / split, project / SHIPPED / split):
        if folder.is_dir():
            return folder
    raise ScenarioError(
        f"{split}: no such folder, nor {SHIPPED / split}; name train, val, test or a folder of scenario-*.json"
    )


def scenario_paths(folder: Path, limit: int | None = None) -> list[Path]:
    """The scenario files of a folder, by name, the first `limit` of them. Raises ScenarioError when there is
    none.
    """
    paths = sorted(folder.glob(f"{PREFIX}*.json"))
    if not paths:
        raise ScenarioError(
            f"{folder}: holds no {PREFIX}*.json; generate some: python -m chaos generate --help"
        )
    return paths[:limit]


def id_by_name(path: Path) -> str:
    """The scenario id that a file name promises; the file itself decides."""
    return path.stem.removeprefix(PREFIX)


def find_scenario(folder: Path, scenario_id: str) -> Path:
    """The file of a scenario, by its usual name. Raises ScenarioError when it is not there."""
    path = folder / f"{PREFIX}{scenario_id}.json"
    if not path.is_file():
        raise ScenarioError(
            f"{path}: no such file; name the folder these episodes were played on with --split"
        )
    return path


def digest(path: Path) -> str:
    """A short hash of a scenario file's content: two episodes are comparable when theirs are equal."""
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()

"""Scenario files by id: which files a command means, and the scenario that a stored episode was played on.

Files are listed by name and never all read at once. An id may come from a file that anybody wrote, so it is
checked before it becomes a part of a path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from project_types import Scenario, ScenarioError, read_scenario

SHIPPED = Path("log_scenarios")
SPLITS = ("train", "val", "test")
PREFIX = "scenario-"
LARGEST_SCENARIO = 64 << 20
"""Bytes of a scenario file that are still read for an episode."""
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_KEPT = 64


def split_folder(split: str) -> Path:
    """Return the folder a `--split` names: a folder, or a split below log_scenarios (here, or where this
    project lies).

    Raises:
        ScenarioError: there is no such folder.
    """
    for folder in (Path(split), *(shipped / split for shipped in shipped_folders())):
        if folder.is_dir():
            return folder
    raise ScenarioError(
        f"{split}: no such folder, nor {SHIPPED / split}; "
        "name train, val, test, controls or a folder of scenario-*.json"
    )


def shipped_folders() -> list[Path]:
    """Return where the shipped splits may lie: here, and where this project lies. Only those that exist."""
    project = Path(__file__).resolve().parents[2]
    return [folder for folder in (SHIPPED, project / SHIPPED) if folder.is_dir()]


def scenario_paths(folder: Path, limit: int | None = None) -> list[Path]:
    """List the scenario files of a folder, by name, `limit` at most. Raises ScenarioError without any."""
    paths = sorted(folder.glob(f"{PREFIX}*.json"))
    if not paths:
        raise ScenarioError(
            f"{folder}: holds no {PREFIX}*.json; generate some: python -m chaos generate --help"
        )
    return paths[:limit]


def id_by_name(path: Path) -> str:
    """Return the scenario id that a file name promises; the file itself decides."""
    return path.stem.removeprefix(PREFIX)


def digest(path: Path) -> str:
    """Return a short hash of a scenario file: two episodes are comparable when theirs are equal."""
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def fingerprint(scenarios: Path) -> str:
    """Return a hash of the files of the three splits: a run is measured before and after on the same ones."""
    found = hashlib.sha256()
    for path in sorted(path for split in SPLITS for path in (scenarios / split).glob(f"{PREFIX}*.json")):
        found.update(f"{path.relative_to(scenarios)}\0{path.stat().st_size}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


class PlayedScenarios:
    """The scenarios of a run by id, looked for where the run says it read them, and below its folder."""

    def __init__(self, home: Path, named: Sequence[str]) -> None:
        self._home, self._named = home, [*named, str(SHIPPED)]
        self._kept: dict[str, Scenario | None] = {}

    def get(self, scenario_id: str, split: str) -> Scenario | None:
        """Return the scenario an episode was played on; None when its file is not there."""
        if scenario_id not in self._kept:
            if len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            found = self.find(scenario_id, split)
            self._kept[scenario_id] = found[0] if found else None
        return self._kept[scenario_id]

    def find(self, scenario_id: str, split: str, folder: Path | None = None) -> tuple[Scenario, Path] | None:
        """Return the scenario and its file, from `folder` or from where the run had it; None without one."""
        if not _SAFE_NAME.fullmatch(scenario_id):
            return None
        places = (folder, *(folder / name for name in SPLITS)) if folder else self._folders(split)
        for place in places:
            path = place / f"{PREFIX}{scenario_id}.json"
            try:
                if path.stat().st_size <= LARGEST_SCENARIO:
                    found = read_scenario(path)
                    return (found, path) if found.id == scenario_id else None
            except (OSError, ScenarioError):
                continue
        return None

    def _folders(self, split: str) -> Iterator[Path]:
        for base in (Path(), self._home, *self._home.resolve().parents[:4]):
            for name in self._named:
                if _SAFE_NAME.fullmatch(split):
                    yield base / name / split
                yield base / name

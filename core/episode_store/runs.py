"""Which runs there are: by path, by name below a folder, and what `NAME[@STEP]` on a command line means.

A name is looked up among the folders there are, and never opened as a path when it came from a browser.
What is in a run's folder, `run_folder` says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from core.episode_store.failures import FAILURES
from core.episode_store.lines import EpisodesError
from core.episode_store.run_folder import CONFIG, EPISODES, METRICS, RUN, RunFolder
from project_types import ConfigurationError, InvestigatorError

RUNS = Path("runs")
"""Where runs are kept unless told otherwise."""
MOST_RUNS = 2000
DEPTH = 2
"""How far below a folder of runs a run may lie."""


class UnknownRun(InvestigatorError):
    """There is no run of this name."""


class RunAt(NamedTuple):
    """What NAME[@STEP] says: a run, and a checkpoint of it when one is named."""

    name: str
    step: int | None = None

    def __str__(self) -> str:
        return self.name if self.step is None else f"{self.name}@{self.step}"


def parse_run(text: str) -> RunAt:
    """Read NAME or NAME@STEP. Raises ConfigurationError when what follows the last @ is no step."""
    name, at, step = text.rpartition("@")
    if not at:
        return RunAt(text)
    if not (name and step.isascii() and step.isdigit()):
        raise ConfigurationError(f"{text}: the step after @ is no number; write {name or 'NAME'}@40")
    return RunAt(name, int(step))


def find_run(text: str, runs: Path = RUNS) -> tuple[Path, int | None]:
    """Return the path and the step that RUN[@STEP] means: a path that is there, or a name below `runs`.

    Raises:
        EpisodesError: there is neither.
    """
    if Path(text).exists():
        return Path(text), None
    name, step = parse_run(text)
    for path in (Path(name), runs / name):
        if path.exists():
            return path, step
    raise EpisodesError(
        f"{name}: no such run, nor {runs / name}; "
        "name the folder of a run, such as runs/seed1, or a checkpoint of it, such as runs/seed1@40"
    )


def is_run(path: Path) -> bool:
    """Return whether a folder is that of a run, by the names of its files."""
    if any((path / name).is_file() for name in (METRICS, EPISODES, RUN)):
        return True
    return (path / CONFIG).is_file() and ((path / "episodes").is_dir() or (path / FAILURES).is_file())


def run_paths(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """List the runs below a folder, by name; links are not followed, what cannot be read is passed over."""
    try:
        children = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return
    for path in children:
        if is_run(path):
            yield path
        elif depth > 1:
            yield from run_paths(path, depth - 1)


def find_runs(path: Path) -> list[RunFolder]:
    """Return the runs at a path: itself, or those below it. Raises EpisodesError when there is none."""
    if not path.exists():
        raise EpisodesError(f"{path}: no such file or folder; give the folder of a run, such as runs/seed1")
    if path.is_file() or is_run(path):
        return [RunFolder(path)]
    found = [RunFolder(one) for one in run_paths(path)]
    if not found:
        raise EpisodesError(
            f"{path}: holds no run; give a folder that train_serverless.py or python -m evaluation run wrote"
        )
    return found


def training_run(path: Path) -> RunFolder:
    """Return the folder of a training run. Raises EpisodesError when it is none or config.json is damaged."""
    run = RunFolder(path)
    if not (path / CONFIG).exists():
        raise EpisodesError(
            f"{path}: no config.json, so no training run; give a folder that train_serverless.py wrote"
        )
    if not run.config:
        raise EpisodesError(f"{path / CONFIG}: cannot be read, so its settings are unknown; put it back")
    return run


def run_of(file: Path) -> RunFolder:
    """Return the run that a file of episodes belongs to: the folder it lies in, or the training run above."""
    above = file.parent.parent
    training = file.parent.name == "episodes" and (above / CONFIG).exists()
    return RunFolder(above if training else file.parent)


def latest_run(runs: Path) -> str:
    """Return the name of the training run that was started or resumed last. Raises ConfigurationError."""
    found = sorted(runs.glob(f"*/{CONFIG}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigurationError(f"--resume: {runs} holds no run yet; start one without --resume")
    return found[-1].parent.name


class Runs:
    """The runs below one folder, called by their paths from another. Looks at the folders on every call."""

    def __init__(self, root: Path, named_from: Path) -> None:
        self.root, self._named_from = root, named_from.resolve()

    def all(self) -> list[RunFolder]:
        """Return every run, latest first, MOST_RUNS at most."""
        found = [RunFolder(path, name) for name, path in self._found().items()]
        return sorted(found, key=_latest_first, reverse=True)

    def get(self, name: str) -> RunFolder:
        """Return one run. Raises UnknownRun; a name is looked up among the folders there are."""
        path = self._found().get(name)
        if path is None:
            raise UnknownRun(f"no run is called {name[:200]!r} in {self.root}; the list of runs is at /runs")
        return RunFolder(path, name)

    def _found(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in run_paths(self.root):
            found[shown_name(os.path.relpath(path.resolve(), self._named_from))] = path
            if len(found) == MOST_RUNS:
                break
        return found


def _latest_first(run: RunFolder) -> tuple[datetime, str]:
    return run.changed or datetime.min.replace(tzinfo=UTC), run.name


def shown_name(text: str) -> str:
    """Return a file's name as text that can be written as UTF-8, whatever the file is called."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

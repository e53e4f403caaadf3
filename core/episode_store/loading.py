"""Everything a command reads of a run at once: its episodes, what failed, what could not be read.

A training run holds many files of episodes, one for each split, checkpoint and way of sampling. A command
reads one of them: that of the checkpoint named, or of the best one, on the test split at temperature 0
unless told otherwise. What the episodes mean, `evaluation` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from core.episode_store.episodes import BadLine, latest, read
from core.episode_store.failures import Failure, latest_failures
from core.episode_store.lines import EpisodesError
from core.episode_store.run_folder import EPISODES, GREEDY, EpisodeFile, RunFolder
from core.episode_store.runs import find_run
from project_types import Episode

SHOWN_NOTES = 5


class Loaded(NamedTuple):
    """What a command reads of a run."""

    path: Path
    """The run as it was named."""
    file: EpisodeFile
    """Where the episodes lie."""
    episodes: list[Episode]
    """The latest of each scenario and sample, in order of first appearance."""
    failures: list[Failure]
    """Samples that failed and have no episode yet."""
    bad_lines: list[BadLine]
    run: dict[str, Any]
    """`run.json` of an evaluation; empty for anything else."""
    being_written: bool
    troubles: tuple[str, ...] = ()
    """What else of the folder could not be read."""

    @property
    def name(self) -> str:
        """What to call this run in a table."""
        return str(
            self.run.get("policy") or (self.episodes[0].policy if self.episodes else "") or self.path.name
        )

    @property
    def again(self) -> Path:
        """What to type to read the same episodes again."""
        return self.path if self.file.step is None else self.file.path

    def warnings(self) -> list[str]:
        """Say what a reader should know about what is missing, worst first."""
        notes = [f"{self.path}/{trouble}" for trouble in self.troubles]
        notes += [str(bad) for bad in self.bad_lines[:SHOWN_NOTES]]
        if len(self.bad_lines) > SHOWN_NOTES:
            more = len(self.bad_lines) - SHOWN_NOTES
            notes.append(f"{self.path}: {more} more lines could not be read")
        if self.being_written:
            so_far = f"these are the {len(self.episodes)} episodes so far"
            notes.append(f"{self.path}: a run is still writing here; {so_far}")
        if self.failures:
            first = self.failures[0]
            example = f"{first.scenario_id} #{first.sample} ({first.error}: {first.message[:200]})"
            notes.append(
                f"{self.path}: {len(self.failures)} samples failed and are not counted, e.g. {example}; "
                "run the same command again to redo them"
            )
        return notes


def load_run(text: str, *, split: str = "", sampling: str = "") -> Loaded:
    """Read what RUN[@STEP] means on a command line. Raises EpisodesError, ConfigurationError."""
    path, step = find_run(text)
    return load(path, step=step, split=split, sampling=sampling)


def load(where: Path, *, step: int | None = None, split: str = "", sampling: str = "") -> Loaded:
    """Read a run: an evaluation's folder, a file of episodes, or one checkpoint of a training run.

    Raises:
        EpisodesError: there is nothing to read; says what there is.
    """
    run = RunFolder(where)
    file = choose(run, step=step, split=split, sampling=sampling)
    lines = list(read(file.path))
    episodes = latest(lines)
    whole_run = where.is_dir() and run.kind == "evaluation"
    known = {(episode.scenario_id, episode.sample) for episode in episodes}
    failures = latest_failures(run.failures_path) if whole_run else []
    return Loaded(
        where,
        file,
        episodes,
        [failure for failure in failures if (failure.scenario_id, failure.sample) not in known],
        [line for line in lines if isinstance(line, BadLine)],
        run.settings if whole_run else {},
        where.is_dir() and run.being_written(),
        run.troubles,
    )


def choose(run: RunFolder, *, step: int | None, split: str, sampling: str) -> EpisodeFile:
    """Return the file of episodes that is meant. Raises EpisodesError when there is none."""
    files = run.episode_files()
    if run.kind == "evaluation":
        if files and step is None:
            return files[0]
        raise EpisodesError(_no_file(run, step))
    wanted_step = run.best_checkpoint if step is None else step
    wanted = (split or "test", sampling or GREEDY)
    fitting = [file for file in files if (file.split, file.sampling) == wanted]
    if step is None and not any(file.step == wanted_step for file in fitting):
        wanted_step = max((file.step for file in fitting if file.step is not None), default=None)
    for file in fitting:
        if file.step == wanted_step:
            return file
    raise EpisodesError(
        f"{run.path}: no episodes of {wanted[0]} ({wanted[1]})"
        + (f" at step {step}" if step is not None else "")
        + f"; it holds {_there_is(files)}; choose with {run.path}@STEP, --split and --sampling"
    )


def _no_file(run: RunFolder, step: int | None) -> str:
    if step is not None:
        return f"{run.path}: an evaluation plays one checkpoint; name it without @{step}"
    path = run.path / EPISODES if run.path.is_dir() else run.path
    make_one = "python -m evaluation run --policy script:first-error --out runs/eval-first-error"
    return f"{path}: no such file; make one: {make_one}"


def _there_is(files: Sequence[EpisodeFile]) -> str:
    """Say which splits, ways of sampling and steps there are episodes of."""
    steps: dict[str, list[int]] = {}
    for file in files:
        steps.setdefault(f"{file.split} ({file.sampling})", []).append(file.step or 0)
    parts = [f"{name} at {', '.join(map(str, sorted(at)[:8]))}" for name, at in steps.items()]
    return "; ".join(parts) or "none yet"

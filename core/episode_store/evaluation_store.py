"""The folder of an evaluation, written: episodes and failures are appended, one process at a time.

What the folder's run was asked is `evaluation.run_record`; reading is `loading`.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import IO, Self

from core.episode_store.episodes import Key, played
from core.episode_store.failures import FAILURES, Failure
from core.episode_store.lines import EpisodesError, add_line, open_to_append
from core.episode_store.run_folder import CONFIG, EPISODES, EVALUATION_LOCK, METRICS, RUN
from core.files import held
from project_types import ConfigurationError

OWN = (EPISODES, FAILURES, RUN, EVALUATION_LOCK)
"""A folder that holds one of these is an evaluation's."""


def check_own(folder: Path) -> None:
    """Raise ConfigurationError when a folder holds something that is not an evaluation's.

    A training run keeps files of the same names, and an evaluation written into it would overwrite them.
    """
    if any((folder / name).exists() for name in (CONFIG, METRICS)):
        raise ConfigurationError(
            f"{folder}: holds a training run; choose another --out, such as {folder}-eval. "
            f"To read its episodes: python -m evaluation show {folder} ID"
        )
    try:
        foreign = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    except OSError as trouble:
        raise ConfigurationError(
            f"{folder}: cannot be read ({trouble.strerror}); choose another --out"
        ) from trouble
    seen = sorted(name for name in foreign if not name.startswith("."))
    if seen and not any(name in OWN for name in foreign):
        raise ConfigurationError(
            f"{folder}: holds {seen[0]!r} and no evaluation; choose a new or empty folder for --out"
        )


class EvaluationStore:
    """Appends to a folder, which it locks while open: `with EvaluationStore(folder) as store`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open = ExitStack()
        self._episodes: IO[bytes] | None = None
        self._failures: IO[bytes] | None = None

    def __enter__(self) -> Self:
        check_own(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._open.enter_context(held(self.folder / EVALUATION_LOCK))
        except BlockingIOError as trouble:
            raise EpisodesError(
                f"{self.folder}: another run is writing here; wait for it, or choose another --out"
            ) from trouble
        except OSError as trouble:
            raise ConfigurationError(
                f"{self.folder}: cannot write here ({trouble.strerror}); choose another --out"
            ) from trouble
        self._episodes = self._open.enter_context(open_to_append(self.folder / EPISODES))
        self._failures = self._open.enter_context(open_to_append(self.folder / FAILURES))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, line: str) -> None:
        """Store one episode, given as its JSON."""
        assert self._episodes is not None, "an EvaluationStore is used inside `with`"
        add_line(self._episodes, line)

    @cached_property
    def played(self) -> dict[Key, str]:
        """Which samples are stored, and the digest of the scenario file each was played on."""
        return played(self.folder / EPISODES)

    def add_once(self, key: Key, digest: str, line: str) -> bool:
        """Store an episode unless this sample is stored already, played on the same scenario file.

        A worker that was killed after it had answered is asked again. Return whether it was stored.
        """
        if self.played.get(key) == digest:
            return False
        self.add(line)
        self.played[key] = digest
        return True

    def fail(self, failure: Failure) -> None:
        """Store why one sample gave no episode."""
        assert self._failures is not None, "an EvaluationStore is used inside `with`"
        add_line(self._failures, failure.model_dump_json())

"""How far a training run is, and how it is known again after a kill.

Rows of metrics.jsonl say which steps and evaluations are done. ART's state file keeps a few facts beside
them: the best checkpoint, seconds, restarts, and how the run ended. A process that was killed may leave a
half line, a half state file, or a training job whose row is missing: `take_up` mends all three.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.episode_store.run_folder import ROLLOUTS
from core.episode_store.run_writer import RunWriter
from project_types import ConfigurationError
from training_runs.metrics_row import measured
from training_runs.rollout_batch import Played

if TYPE_CHECKING:
    import art


class Progress:
    """The state of one run: steps trained, the backend's latest checkpoint, and facts about it."""

    def __init__(self, folder: RunWriter, model: art.TrainableModel, seed: int) -> None:
        self.position = 0
        """Steps trained."""
        self.checkpoint = 0
        """The backend's latest."""
        self.facts: dict[str, Any] = {}
        self._folder, self._model, self._seed = folder, model, seed
        self._clock = time.monotonic()

    @property
    def training_seconds(self) -> float:
        """Seconds of training so far, over all processes of this run."""
        return float(self.facts.get("training_seconds", 0.0))

    def take_up(self, checkpoint: int) -> None:
        """Read what an earlier process left, minus what it was writing when it died.

        `checkpoint` is the backend's latest.

        Raises:
            ConfigurationError: folder and backend tell of different runs.
        """
        files = _art_files(self._model)
        self._folder.take_up(files / "history.jsonl")
        trained = self._folder.of("train")
        self._read_facts(files / "state.json", trained)
        self.checkpoint = checkpoint
        self.position, reached = (trained[-1]["step"], trained[-1]["checkpoint"]) if trained else (0, 0)
        if checkpoint != reached:
            self._recover(reached)

    def _read_facts(self, state: Path, trained: Sequence[Mapping[str, Any]]) -> None:
        try:
            self.facts = dict((self._model.read_state() or {}).get("run", {}))
        except ValueError:  # killed while ART wrote it; the rows know what matters
            state.unlink()
            self.facts = {
                "training_seconds": max((row.get("elapsed_seconds", 0.0) for row in trained), default=0.0)
            }

    def _recover(self, reached: int) -> None:
        """Write the row of a training job that had ended when the process was killed."""
        episodes = self._folder.episodes("train", self.position + 1, ROLLOUTS)
        if self.checkpoint < reached or not episodes:
            path = self._folder.path
            backend, here = f"at step {self.checkpoint} on the backend", f"at {reached} in {path}"
            raise ConfigurationError(f"model {path.name!r} is {backend} but {here}; choose another --name")
        self.position += 1
        self.row("train", self.position, Played([], episodes, Counter(), 0.0), recovered=True)

    def row(self, split: str, step: int, played: Played, **more: Any) -> dict[str, Any]:
        """Append a row to metrics.jsonl, and return it."""
        row: dict[str, Any] = {"split": split, "step": step}
        row["checkpoint"] = self.checkpoint if split == "train" else step
        row |= measured(played.episodes, self._seed, played.failures, played.seconds)
        row |= {**more, "at": now()}
        self._folder.add(row)
        return row

    def count_restart(self) -> None:
        """Remember that the service that was started here died and runs again."""
        self.remember(service_restarts=self.facts.get("service_restarts", 0) + 1)

    def remember(self, **facts: Any) -> None:
        """Keep facts about the run in ART's state file, and the seconds since the last call."""
        moment = time.monotonic()
        seconds = self.facts.get("seconds", 0.0) + moment - self._clock
        self.facts |= {"seconds": seconds, **facts}
        self._clock = moment
        self._model.merge_state({"run": self.facts})


def _art_files(model: art.TrainableModel) -> Path:
    from art.utils.output_dirs import get_model_dir

    return Path(get_model_dir(model, model.base_path))


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

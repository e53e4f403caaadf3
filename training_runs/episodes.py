"""Where the episodes of a training run are written, and which of an evaluation are still missing.

One file per split, checkpoint and kind (`RunFolder.episodes_path` names it), one line per episode, written as
the episode ends, so that a killed run keeps it. The rollouts of a training step that became no step are
thrown away. Those of an interrupted evaluation are kept, and only the rest is played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from core.episode_store.episodes import write_episode
from core.episode_store.tokens import tokens_path
from project_types import Episode, Scenario
from training_runs.rollout_batch import Wanted


@contextmanager
def writing(path: Path) -> Iterator[Callable[[Episode], None]]:
    """Open a file of episodes for appending. What is yielded writes one episode as one line."""
    with path.open("a", encoding="utf-8") as file:
        yield partial(write_episode, file)


def forget(path: Path) -> None:
    """Throw away the rollouts of an attempt that became no step."""
    path.unlink(missing_ok=True)
    tokens_path(path).unlink(missing_ok=True)


def missing(stored: Iterable[Episode], scenarios: Sequence[Scenario], samples: int) -> list[Wanted]:
    """Return what is still to be played so that every scenario has its samples."""
    have = {(episode.scenario_id, episode.sample) for episode in stored}
    wanted = []
    for scenario in scenarios:
        left = [sample for sample in range(samples) if (scenario.id, sample) not in have]
        if left:
            wanted.append(Wanted(scenario, left))
    return wanted

"""An evaluation on a disk that takes no more says so, and the same command goes on once there is room."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from build_logs import build
from core.episode_store.episodes import read
from evaluation.__main__ import main
from project_types import Episode
from tests.builders.scenarios import write_scenarios

ROOM = 20_000
"""Bytes of the largest file, so that a few episodes fit."""
IDS = [f"aa{number:02}" for number in range(12)]


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """What this process may write while the block lasts: beyond it the system
    refuses, as a full disk does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_played_is_kept_and_the_rest_is_played_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split, out = write_scenarios(tmp_path / "split", *IDS), tmp_path / "run"
    build(split, tmp_path / "logs.db")
    command = ["run", "--policy", "script:first-error", "--split", str(split), "--out", str(out)]
    command += ["--database", str(tmp_path / "logs.db"), "--no-explain", "--no-wandb"]
    with no_file_larger_than(ROOM):
        assert main(command) == 2
    said = capsys.readouterr().err
    assert "make room on the disk" in said
    assert "type the same command again" in said
    assert main(command) == 0
    stored = [one for one in read(out / "episodes.jsonl") if isinstance(one, Episode)]
    assert sorted({one.scenario_id for one in stored}) == IDS

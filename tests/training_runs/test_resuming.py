"""The commands a run names at its end can be typed as they are."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from training_runs.resuming import next_command, resume_command


def test_a_run_in_the_usual_place_needs_no_folder() -> None:
    command = resume_command(Path("runs/seed1"), "--max-minutes", "none")
    assert command.endswith("train_serverless.py --name seed1 --resume --max-minutes none")


def test_a_run_elsewhere_is_named_with_its_folder_safely() -> None:
    words = shlex.split(resume_command(Path("my runs/seed1")))
    assert words[1:] == ["train_serverless.py", "--name", "seed1", "--resume", "--runs", "my runs"]


def test_an_interpreter_in_the_working_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(sys.executable).parent.parent)
    assert resume_command(Path("runs/a")).startswith(f"bin/{Path(sys.executable).name} ")


def test_an_interpreter_elsewhere_is_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resume_command(Path("runs/a")).startswith("python train_serverless.py ")


def test_after_the_last_step_before_and_after_are_compared() -> None:
    command = next_command(Path("runs/a"), best=20, steps=40)
    assert "-m evaluation compare runs/a@0 runs/a@20" in command


def test_a_run_that_never_beat_its_start_is_to_be_trained_longer() -> None:
    assert "--steps 80 --max-minutes none" in next_command(Path("runs/a"), best=0, steps=40)

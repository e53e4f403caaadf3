"""The environments that `make trainers` makes, one for each library whose
dependencies exclude the others'.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def needs(name: str) -> pytest.MarkDecorator:
    """Skip a test, saying what to type, where the environment was not made."""
    there = program(name, "python").is_file()
    return pytest.mark.skipif(not there, reason=f"no .venv-{name}; run: make trainers")


def program(name: str, command: str) -> Path:
    """A program of the environment."""
    return ROOT / f".venv-{name}" / "bin" / command


def run(name: str, command: str, *arguments: str, timeout_s: float = 600, **environment: str) -> str:
    """Run a program of the environment to its end and return what it printed; it must succeed."""
    done = _ended(name, command, *arguments, timeout_s=timeout_s, **environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def refused(name: str, command: str, *arguments: str, **environment: str) -> str:
    """Run a program of the environment that must not succeed; return all it printed."""
    done = _ended(name, command, *arguments, timeout_s=600, **environment)
    assert done.returncode != 0, done.stdout[-3000:]
    return done.stdout + done.stderr


def _ended(
    name: str, command: str, *arguments: str, timeout_s: float, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program(name, command)), *arguments],
        cwd=ROOT,
        env=environ(**environment),
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def started(name: str, command: Sequence[str], out: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start a program of the environment; what it prints goes to a file."""
    with out.open("wb") as stream:
        return subprocess.Popen(
            [str(program(name, command[0])), *command[1:]],
            cwd=ROOT,
            env=environ(**environment),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )


def environ(**more: str) -> dict[str, str]:
    """This environment, with our tree importable and nothing that leads out of the machine."""
    quiet = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"}
    return {**os.environ, **quiet, **more}

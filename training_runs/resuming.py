"""What to type after a run has ended: the command that goes on with it, or the one to look at it with."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from core.episode_store.runs import RUNS


def resume_command(run: Path, *more: str) -> str:
    """Return what to type to go on with the run in this folder. `more` are flags to add."""
    where = () if run.parent == RUNS else ("--runs", str(run.parent))
    return shlex.join([_python(), "train_serverless.py", "--name", run.name, "--resume", *where, *more])


def next_command(run: Path, best: int, steps: int) -> str:
    """Return what to type when all steps are done: compare before and after, or train longer."""
    if not best:
        longer = resume_command(run, "--steps", str(2 * steps), "--max-minutes", "none")
        return f"no checkpoint beat the start on val; train longer: {longer}"
    return shlex.join([_python(), "-m", "evaluation", "compare", f"{run}@0", f"{run}@{best}"])


def _python() -> str:
    """Return this interpreter as it was called where it lies in the working folder, else 'python'."""
    interpreter = Path(sys.executable)
    inside = interpreter.is_relative_to(Path.cwd())
    return str(interpreter.relative_to(Path.cwd())) if inside else "python"

"""W&B and Weave, on and off: whether they are told anything, and how that begins and ends.

What is told stands in `evaluation.wandb_rollouts` (a batch of episodes), `evaluation.wandb_log` (an
evaluation) and `training_runs.wandb_log` (a training run). Without a key none of them imports wandb or weave.
Not here: publishing a judge (`make_judge_model`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from make_judge_model import prepare_wandb
from project_types import ConfigurationError

KEY = "WANDB_API_KEY"


class WandbError(ConfigurationError):
    """W&B or Weave refuses or cannot be reached; the text says what to type."""


def begin(project: str, *, allowed: bool = True) -> bool:
    """Return whether W&B is told. If so, episodes become Weave traces from now on.

    Weave has no offline mode, so that offline only W&B is told.

    Raises:
        WandbError: Weave does not start.
    """
    if not (allowed and os.environ.get(KEY)):
        return False
    prepare_wandb()
    off = os.environ.get("WEAVE_DISABLED", "").casefold() in ("true", "1", "yes", "on")
    if off or os.environ.get("WANDB_MODE", "online") != "online":
        return True
    import httpx
    import wandb
    import weave

    os.environ.setdefault("WEAVE_PRINT_CALL_LINK", "false")
    os.environ.setdefault("WEAVE_IMPLICITLY_PATCH_INTEGRATIONS", "false")  # else every reply is stored twice
    refusals = (wandb.errors.Error, httpx.HTTPError, OSError, RuntimeError, ValueError)
    try:
        weave.init(project)
    except (*refusals, import_module("weave.trace.weave_init").WeaveWandbAuthenticationException) as trouble:
        what = f"Weave does not start ({type(trouble).__name__}: {str(trouble)[:300]})"
        raise WandbError(f"{what}; check {KEY}, or go without traces: WEAVE_DISABLED=true") from trouble
    return True


def open_weave() -> Any | None:
    """Return the weave module where traces are being written, else None."""
    weave = sys.modules.get("weave")
    return weave if weave is not None and weave.get_client() is not None else None


def attach_files(
    run: Any, name: str, kind: str, folder: Path, files: Iterable[str], metadata: Mapping[str, Any]
) -> None:
    """Log those `files` of a folder that exist as one artifact of a W&B run."""
    import wandb

    artifact = wandb.Artifact(name, type=kind, metadata=dict(metadata))
    for file in files:
        if (folder / file).exists():
            artifact.add_file(str(folder / file), name=file)
    run.log_artifact(artifact)


def end(run: Any, code: int) -> None:
    """Send everything, then end the W&B run with the exit code of the command."""
    if (weave := open_weave()) is not None:
        weave.finish()
    run.finish(exit_code=code)

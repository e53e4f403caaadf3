"""An evaluation in W&B: `python -m evaluation run` is a W&B run of its own.

The same folder goes on in the same W&B run, and only what is new is logged. docs/wandb.md lists every name.
Not here: a training run (`training_runs.wandb_log`), what an episode looks like (`wandb_rollouts`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.episode_store.loading import load
from core.episode_store.run_folder import EPISODES
from core.intervals import Interval
from evaluation.run_record import write_json
from evaluation.summary import Summary, summarise
from evaluation.wandb_rollouts import table, weave_evaluation
from evaluation.wandb_session import KEY, WandbError, attach_files, end

LOGGED = "wandb.json"
"""In the folder of an evaluation: the W&B run it was logged to, and how much of it."""


def log_evaluation(folder: Path, project: str) -> str | None:
    """Log a folder of `python -m evaluation run`, in the W&B run it was logged to before.

    Returns:
        The W&B run's id, None when nothing is new.

    Raises:
        WandbError: W&B refuses; the folder does not count as logged.
    """
    from evaluation.reporting import page

    found = load(folder)
    logged = folder / LOGGED
    state = hashlib.sha256((folder / EPISODES).read_bytes()).hexdigest()
    if not found.episodes or (
        logged.exists() and state in logged.read_text(encoding="utf-8", errors="replace")
    ):
        return None
    id_ = _id(folder, found.run)
    summary = summarise(found.episodes, k=int(found.run["k"]))
    (folder / "report.html").write_text(page(found), encoding="utf-8", errors="backslashreplace")
    import wandb

    try:
        run = wandb.init(project=project, id=id_, name=folder.name, job_type="evaluation", resume="allow")
    except wandb.errors.Error as trouble:
        raise WandbError(
            f"W&B does not take the evaluation ({trouble}); check {KEY}, or add --no-wandb"
        ) from trouble
    run.config.update({"evaluation": found.run}, allow_val_change=True)  # k may have grown
    run.log({**_measures(summary), "evaluation/rollouts": table(found.episodes)})
    attach_files(run, f"{id_}-report", "report", folder, ("report.html", "summary.json", "run.json"), {})
    weave_evaluation(f"{folder.name} {found.run['policy']}", found.episodes, {"wandb_run": id_})
    end(run, 0)
    write_json(
        logged, {"run": id_, "project": project, "episodes": len(found.episodes), "episodes_sha256": state}
    )
    return id_


def _id(folder: Path, run: Mapping[str, Any]) -> str:
    """The same however often the command is repeated, and another for every folder."""
    known = json.dumps([str(folder.resolve()), run.get("started"), run.get("policy")])
    return f"eval-{hashlib.sha256(known.encode()).hexdigest()[:12]}"


def _measures(summary: Summary) -> dict[str, float]:
    """`evaluation/NAME` and its interval, for all that was measured."""
    known: dict[str, Interval] = {name: of for name, of in summary.whole.measures.items() if of.n}
    ends = {f"evaluation/{name}": of.value for name, of in known.items()}
    for name, of in known.items():
        ends |= {f"evaluation/{name}_low": of.low, f"evaluation/{name}_high": of.high}
    return {
        **ends,
        "evaluation/scenarios": summary.whole.scenarios,
        "evaluation/episodes": summary.whole.episodes,
    }

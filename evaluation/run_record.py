"""`run.json`: what a folder's episodes were asked, so that nobody mixes the answers to two questions."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.episode_store.lines import EpisodesError
from core.episode_store.run_folder import RUN, RunFolder
from core.files import replace_file
from core.policies.registry import PolicyName, parse
from core.revision import revision
from evaluation.playing import Plan

IDENTITY = ("policy", "split", "seed", "judge", "config")
"""What may not change when a run is continued. k and the number of scenarios may grow."""


def read_run(folder: Path) -> dict[str, Any]:
    """Read what a folder's run was asked; empty when nothing was played there yet.

    Raises:
        EpisodesError: run.json is damaged, so that nobody knows which question its episodes answer.
    """
    if not (folder / RUN).exists():
        return {}
    run = RunFolder(folder)
    if not run.settings:
        raise EpisodesError(f"{folder / RUN}: cannot be read; delete it and rerun with the same options")
    return run.settings


def continued(folder: Path, policy: PolicyName) -> PolicyName:
    """Return the policy to play: the checkpoint that the folder's run was pinned to, when the name asked for
    leaves the step open.
    """
    before = str(read_run(folder).get("policy", ""))
    return parse(before) if before.startswith(f"{policy}@step") else policy


def check(folder: Path, plan: Plan) -> None:
    """Raise EpisodesError when the folder holds a run that asked something else."""
    before, asked = read_run(folder), _asked(plan)
    changed = [name for name in IDENTITY if before.get(name) != asked[name]]
    if before and changed:
        differs = "; ".join(f"{name}: {_brief(before.get(name))} → {_brief(asked[name])}" for name in changed)
        raise EpisodesError(
            f"{folder}: holds a run with other settings ({differs}); use them, or another --out"
        )


def remember(folder: Path, plan: Plan, *, k: int, scenarios: Path) -> None:
    """Write `run.json`. Raises EpisodesError when the folder holds a run that asked something else."""
    check(folder, plan)
    before = read_run(folder)
    started = before.get("started") or datetime.now(UTC).isoformat(timespec="seconds")
    grown = {"k": max(k, int(before.get("k", 1))), "scenarios": str(scenarios)}
    write_json(
        folder / RUN,
        {**_asked(plan), **grown, "started": started, "revision": revision(), "command": sys.argv[1:]},
    )


def _asked(plan: Plan) -> dict[str, Any]:
    return plan.model_dump(mode="json", include=set(IDENTITY))


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 300 else text[:300] + "..."


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole. Raises EpisodesError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole: a reader sees the old one or the new one. Raises EpisodesError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode("utf-8", "backslashreplace"))
    except OSError as trouble:
        raise EpisodesError(
            f"{path}: cannot be written ({trouble.strerror}); check the folder and its permissions"
        ) from trouble

"""`run.json`: what a folder's episodes were asked, so that nobody mixes the answers to two questions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.episode_store.episodes import RUN, EpisodesError, read_run
from core.policies.registry import PolicyName, parse
from evaluation.playing import Plan

IDENTITY = ("policy", "split", "seed", "judge", "config")
"""What may not change when a run is continued. k and the number of scenarios may grow."""


def continued(folder: Path, policy: PolicyName) -> PolicyName:
    """The policy to play: the checkpoint a folder's run was pinned to, when the name asked for leaves the
    step open.
    """
    before = str(read_run(folder).get("policy", ""))
    return parse(before) if before.startswith(f"{policy}@step") else policy


def check(folder: Path, plan: Plan) -> None:
    """Raises EpisodesError when the folder holds a run that asked something else."""
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
    """`write_text` of a value as JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it. Raises EpisodesError."""
    half = path.with_name(path.name + ".half")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(half, path)
    except OSError as trouble:
        raise EpisodesError(
            f"{path}: cannot be written ({trouble.strerror}); check the folder and its permissions"
        ) from trouble


def revision() -> str:
    """The git revision of this code, '-dirty' when files differ from it; 'unknown' outside a checkout."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=here, capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"

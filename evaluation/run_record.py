"""`run.json`: what a folder's episodes were asked, so that nobody mixes the answers to two questions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evaluation.episodes import RUN, EpisodesError, read_run
from evaluation.playing import Plan

IDENTITY = ("policy", "split", "seed", "judge", "config")
"""What may not change when a run is continued. k and the number of scenarios may grow."""


def remember(folder: Path, plan: Plan, *, k: int, scenarios: Path) -> None:
    """Write `run.json`, or check that it asks the same. Raises EpisodesError when it does not."""
    asked = {**plan.model_dump(mode="json", include=set(IDENTITY)), "k": k, "scenarios": str(scenarios)}
    before = read_run(folder)
    if before:
        changed = [f"{name}: {before.get(name)} → {asked[name]}" for name in IDENTITY if before.get(name) != asked[name]]
        if changed:
            raise EpisodesError(f"{folder}: holds a run with other settings ({'; '.join(changed)}); use them, or another --out")
        asked["k"] = max(k, int(before.get("k", 1)))
    started = before.get("started") or datetime.now(UTC).isoformat(timespec="seconds")
    write_json(folder / RUN, {**asked, "started": started, "revision": revision(), "command": sys.argv[1:]})


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    half = path.with_name(path.name + ".half")
    half.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(half, path)


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

"""A Python process with W&B offline, and the names that docs/wandb.md promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "wandb.md").read_text(encoding="utf-8")
GUARD = ROOT / "tests" / "fakes" / "only_loopback"
OURS = ("WANDB_", "WEAVE_", "WF_")


def python(folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with W&B's files below `folder`, where every socket that leaves the machine is refused and
    written down.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    guard = {
        "PYTHONPATH": f"{GUARD}{os.pathsep}{ROOT}",
        "ONLY_LOOPBACK_LOG": str(folder / "foreign.log"),
        "WANDB_DIR": str(folder),
    }
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=kept | guard | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


OFFLINE: Mapping[str, str] = {"WANDB_API_KEY": 40 * "0", "WANDB_MODE": "offline"}


def documented(section: str) -> set[str]:
    """The names in the first column of a section's table; NAME/* stands for every metric that begins so."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}

"""Which code a run was made by: the git revision it stores beside its results."""

from __future__ import annotations

import subprocess
from pathlib import Path

GIT_ANSWERS_WITHIN_S = 20


def revision() -> str:
    """Return the git revision of this code, '-dirty' when files differ from it; 'unknown' outside a checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=GIT_ANSWERS_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"

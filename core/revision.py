"""Which code a run was made by: the git revision it stores beside its results,
and a digest of the sources.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

GIT_ANSWERS_WITHIN_S = 20
ROOT = Path(__file__).parent.parent


def code_digest(root: Path = ROOT) -> str:
    """Return a digest of the code that plays an episode: the doors and everything in `core`.

    Two machines that agree on it score the same replies alike. It needs no git, and sees changes
    that no commit holds yet.
    """
    found = hashlib.sha256()
    for path in sorted([*root.glob("*.py"), *(root / "core").rglob("*.py")]):
        content = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()[:16]


def revision(folder: Path = Path(__file__).parent) -> str:
    """Return the git revision of this code, '-dirty' when files differ from it; 'unknown' outside a checkout.

    It only looks: `git describe --dirty` and `git diff` would lock the index, and leave the
    lock behind on a full disk.
    """
    try:
        head = _git(folder, "rev-parse", "--verify", "HEAD")
        changed = _git(folder, "--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=GIT_ANSWERS_WITHIN_S,
        check=False,
    )

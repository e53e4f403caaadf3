"""The revision of a checkout is read without touching it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from core.revision import revision


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.email=a@example.test", "-c", "user.name=a")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_a_changed_file_makes_it_dirty(checkout: Path) -> None:
    clean = revision(checkout)
    assert re.fullmatch(r"[0-9a-f]{40}", clean)
    (checkout / "file").write_text("two")
    assert revision(checkout) == f"{clean}-dirty"


def test_the_index_is_left_alone(checkout: Path) -> None:
    os.utime(checkout / "file", (0, 0))
    before = (checkout / ".git" / "index").stat().st_mtime_ns
    assert not revision(checkout).endswith("-dirty")
    assert (checkout / ".git" / "index").stat().st_mtime_ns == before


def test_outside_a_checkout_it_is_unknown(tmp_path: Path) -> None:
    assert revision(tmp_path) == "unknown"

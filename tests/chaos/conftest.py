"""A small generated folder of splits that the tests of this room copy and damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chaos.splits import jobs, texts, write_split


def write(folder: Path, split: str, count: int, seed: int, workers: int = 1) -> Path:
    """Generate a split into a folder."""
    with texts(jobs(split, count, seed), workers) as found:
        write_split(found, folder)
    return folder


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four train scenarios, and two pairs of test, one pair unseen."""
    root = tmp_path_factory.mktemp("generated")
    write(root / "train", "train", 4, 7)
    write(root / "test", "test", 6, 7)
    return root


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two train scenarios and one pair of test."""
    root = tmp_path_factory.mktemp("few")
    write(root / "train", "train", 2, 7)
    write(root / "test", "test", 2, 7)
    return root


@pytest.fixture
def folder(few: Path, tmp_path: Path) -> Path:
    """A copy of two train scenarios that a test may change."""
    return Path(shutil.copytree(few / "train", tmp_path / "splits" / "train")).parent


@pytest.fixture
def both(few: Path, tmp_path: Path) -> Path:
    """A copy of two train scenarios and of a pair of test that a test may change."""
    return Path(shutil.copytree(few, tmp_path / "splits"))

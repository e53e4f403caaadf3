"""A small generated folder of splits that the tests of this room copy and damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chaos.splits import scenarios, write_split


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four train and five test scenarios, one of them unseen."""
    root = tmp_path_factory.mktemp("generated")
    write_split(scenarios("train", 4, 7), root / "train")
    write_split(scenarios("test", 5, 7), root / "test")
    return root


@pytest.fixture
def folder(generated: Path, tmp_path: Path) -> Path:
    """A copy of the generated splits that a test may change."""
    return Path(shutil.copytree(generated, tmp_path / "splits"))

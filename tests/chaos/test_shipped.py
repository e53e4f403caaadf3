"""What the manifest of the shipped splits promises is held, and a difference is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.shipped import digest, read_manifest, write_manifest
from project_types import ScenarioError
from tests.chaos.conftest import write


def test_a_digest_is_that_of_the_files_whoever_wrote_them(tmp_path: Path) -> None:
    first, second = (digest(write(tmp_path / name, "val", 2, 5)) for name in ("a", "b"))
    other = digest(write(tmp_path / "c", "val", 2, 6))
    assert first == second
    assert first.scenarios == 2
    assert first != other


def test_a_manifest_holds_the_digest_of_every_split(tmp_path: Path) -> None:
    write(tmp_path / "val", "val", 2, 5)
    write_manifest(tmp_path)
    assert read_manifest(tmp_path)["val"] == digest(tmp_path / "val")


def test_a_manifest_that_cannot_be_read_names_the_way_back(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.json").write_text("{")
    with pytest.raises(ScenarioError, match="git checkout"):
        read_manifest(tmp_path)

"""What is shipped is what the generator makes, whatever the machine, the hash seed
and the number of workers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.shipped import (
    FOLDER,
    MANIFEST,
    SHIPPED,
    SHIPPED_SEED,
    digest,
    ensure,
    read_manifest,
    size,
    write_manifest,
)
from chaos.splits import jobs, written
from project_types import ConfigurationError, ScenarioError
from tests.chaos.conftest import write

MOST_BYTES = 30_000_000
"""What the repository holds."""
FIRST = 4
"""Jobs of each split that a fast test makes again."""


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


@pytest.mark.parametrize("split", ["val", "test", "controls"])
def test_a_shipped_split_is_what_the_manifest_says(split: str) -> None:
    assert digest(FOLDER / split) == read_manifest(FOLDER)[split]
    assert read_manifest(FOLDER)[split].scenarios == SHIPPED[split]


@pytest.mark.parametrize("split", ["val", "test", "controls"])
def test_the_generator_still_makes_what_is_shipped(split: str) -> None:
    """When this fails on purpose: python -m chaos ship."""
    for job in jobs(split, SHIPPED[split], SHIPPED_SEED)[:FIRST]:
        for one in written(job):
            assert (FOLDER / split / f"scenario-{one.id}.json").read_text(encoding="utf-8") == one.text


def test_the_repository_holds_no_more_than_it_may() -> None:
    shipped = [path for split in ("val", "test", "controls") for path in (FOLDER / split).iterdir()]
    beside = [path for path in FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in (*shipped, *beside)) <= MOST_BYTES


def test_train_is_known_before_it_is_there(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes((FOLDER / MANIFEST).read_bytes())
    assert size(tmp_path, "train") == SHIPPED["train"]
    assert size(tmp_path, "val") == 0


def test_nothing_is_written_into_a_folder_of_somebody_else(tmp_path: Path) -> None:
    assert ensure(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes((FOLDER / MANIFEST).read_bytes())
    (tmp_path / "train").write_text("a file where a folder belongs")
    with pytest.raises(ConfigurationError, match="train is a file"):
        ensure(tmp_path, workers=1)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "seed"), [("1", "1"), ("2", "77")])
def test_train_has_the_same_bytes_with_any_workers_and_hash_seed(
    tmp_path: Path, workers: str, seed: str
) -> None:
    """The command compares with the manifest itself, and fails when they differ."""
    (tmp_path / MANIFEST).write_bytes((FOLDER / MANIFEST).read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "ship", "--missing", "--out", str(tmp_path), "--workers", workers],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "wrote train" in done.stdout
    assert digest(tmp_path / "train") == read_manifest(FOLDER)["train"]


def test_a_list_without_scenarios_is_no_split(tmp_path: Path) -> None:
    """A clone that held the list alone would train on nothing."""
    tracked = subprocess.run(
        ["git", "ls-files", "log_scenarios/train"], capture_output=True, text=True, check=False
    ).stdout
    assert tracked == ""
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "scenarios.jsonl").write_text("{}\n")
    (tmp_path / MANIFEST).write_text((FOLDER / MANIFEST).read_text())
    assert size(tmp_path, "train") == SHIPPED["train"]

"""A run notices when its database becomes another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from build_logs import build
from core.log_stores.pinned import PinnedDatabase
from project_types import DatabaseError
from tests.builders.scenarios import database, row, scenario, write


@pytest.fixture
def built(tmp_path: Path) -> Path:
    return database(tmp_path, scenario("one", [row("one1")]))


def test_a_build_that_changes_nothing_is_no_change(built: Path) -> None:
    pinned = PinnedDatabase(built)
    pinned.check()
    build(built.parent / "files", built)
    pinned.check()


def test_a_build_of_other_rows_is_noticed_and_says_what_to_do(built: Path) -> None:
    pinned = PinnedDatabase(built)
    write(built.parent / "files", scenario("two", [row("two1")]))
    build(built.parent / "files", built)
    with pytest.raises(DatabaseError, match=r"was replaced or changed.*--resume"):
        pinned.check()


def test_an_edit_in_place_is_noticed(built: Path) -> None:
    pinned = PinnedDatabase(built)
    os.utime(built, ns=(0, 0))
    with pytest.raises(DatabaseError):
        pinned.check()


def test_a_file_that_is_gone_is_named(built: Path) -> None:
    pinned = PinnedDatabase(built)
    built.unlink()
    with pytest.raises(DatabaseError, match=r"is gone.*build_logs"):
        pinned.check()
    with pytest.raises(DatabaseError):
        PinnedDatabase(built)

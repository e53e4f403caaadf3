"""A row that an earlier file has too is known again, however many rows there were."""

from __future__ import annotations

import pytest

from importers.overlaps import Overlaps


@pytest.mark.parametrize("rows", [100, 70_000], ids=["a few", "more than are kept as a set"])
def test_what_an_earlier_file_has_is_not_new(rows: int) -> None:
    overlaps = Overlaps()
    assert all(overlaps.is_new(range(rows)))
    assert all(overlaps.is_new(range(50)))  # a program may well write the same line twice
    overlaps.next_file()
    assert overlaps.is_new([rows - 1, rows, 7, rows]) == [False, True, False, True]
    overlaps.next_file()
    assert overlaps.is_new([rows, 0, rows + 1]) == [False, False, True]

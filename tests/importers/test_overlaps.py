"""A row that an earlier file has too is known again, however many rows there were."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from importers.overlaps import Overlaps
from importers.rows import LogRow


@pytest.mark.parametrize("rows", [100, 70_000], ids=["a few", "more than are kept as a set"])
def test_what_an_earlier_file_has_is_not_new(rows: int) -> None:
    overlaps = Overlaps()
    assert all(overlaps.is_new(made(range(rows))))
    assert all(overlaps.is_new(made(range(50))))  # a program may well write the same line twice
    overlaps.next_file()
    assert overlaps.is_new(made([rows - 1, rows, 7, rows])) == [False, True, False, True]
    overlaps.next_file()
    assert overlaps.is_new(made([rows, 0, rows + 1])) == [False, False, True]


def made(numbers: Iterable[int]) -> list[LogRow]:
    return [LogRow(number, "cart", "INFO", "paid", attributes={"user": 7}) for number in numbers]


def test_rows_that_differ_in_an_attribute_only_are_two() -> None:
    overlaps = Overlaps()
    row = made([1])[0]
    overlaps.is_new([row])
    overlaps.next_file()
    assert overlaps.is_new([row, row._replace(attributes={"user": 8})]) == [False, True]

"""Lines stand in time order, and lines without a clock beside their neighbours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.log_stores.ordering import places_in_order


def test_clocks_decide_and_the_place_in_the_file_breaks_ties() -> None:
    assert places_in_order([30, 10, 10, 20], [None] * 4) == [1, 2, 3, 0]


def test_a_line_without_a_clock_stands_behind_its_neighbour() -> None:
    assert places_in_order([30, None, 10, None], [None] * 4) == [2, 3, 0, 1]


def test_lines_before_the_first_clock_come_first() -> None:
    assert places_in_order([None, None, 10, 5], [None] * 4) == [0, 1, 3, 2]


def test_sequence_numbers_order_lines_that_have_no_clock_at_all() -> None:
    assert places_in_order([None, None, None], [7, 3, 5]) == [1, 2, 0]


def test_sequence_numbers_decide_within_one_moment() -> None:
    assert places_in_order([10, 10, 5], [2, 1, 3]) == [2, 1, 0]


@given(st.lists(st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 5))))
def test_every_line_has_one_place(lines: list[tuple[int | None, int | None]]) -> None:
    found = places_in_order([clock for clock, _ in lines], [number for _, number in lines])
    assert sorted(found) == list(range(len(lines)))

"""Lines stand in time order, lines without a clock beside their neighbours, and odd clocks are told apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.log_stores.ordering import in_time_order, mass

DAY = 86_400 * 1_000_000


def places(clocks: list[int | None], sequences: list[int | None] | None = None) -> list[int]:
    return [one.place for one in in_time_order(clocks, sequences or [])]


def test_clocks_decide_and_the_place_in_the_file_breaks_ties() -> None:
    assert places([30, 10, 10, 20]) == [1, 2, 3, 0]


def test_a_line_without_a_clock_stands_behind_its_neighbour() -> None:
    assert places([30, None, 10, None]) == [2, 3, 0, 1]
    assert [one.clock for one in in_time_order([30, None, 10, None])] == [10, 10, 30, 30]


def test_lines_before_the_first_clock_stand_before_the_line_that_has_it() -> None:
    assert places([None, None, 10, 5]) == [3, 0, 1, 2]


def test_sequence_numbers_order_lines_that_have_no_clock_at_all() -> None:
    assert places([None, None, None], [7, 3, 5]) == [1, 2, 0]


def test_sequence_numbers_decide_within_one_moment() -> None:
    assert places([10, 10, 5], [2, 1, 3]) == [2, 1, 0]


@given(st.lists(st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 5))))
def test_every_line_has_one_place_and_time_never_goes_back(
    lines: list[tuple[int | None, int | None]],
) -> None:
    found = in_time_order([clock for clock, _ in lines], [number for _, number in lines])
    assert sorted(one.place for one in found) == list(range(len(lines)))
    assert [one.clock for one in found] == sorted(one.clock for one in found)


def test_clocks_far_from_the_mass_are_no_part_of_it() -> None:
    year_1754 = -6_795_364_578_871
    assert mass([year_1754, 0, DAY, 2 * DAY, 400 * DAY]) == (1, 3)
    assert mass([0, DAY]) == (0, 1)
    assert mass([7]) == (0, 0)


@given(st.lists(st.integers(-(10**18), 10**18), min_size=1).map(sorted))
def test_the_mass_is_a_stretch_of_the_clocks(clocks: list[int]) -> None:
    first, last = mass(clocks)
    assert 0 <= first <= last < len(clocks)

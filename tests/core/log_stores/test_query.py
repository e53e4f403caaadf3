"""What a search's arguments mean: moments, stretches of time, services, words."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.log_stores.contract import LogQuery, Stretch
from core.log_stores.memory import memory_store
from core.log_stores.query import NoSuchService, SearchArguments, asked
from core.log_stores.times import stretch_named, window
from project_types import Incident, ToolInputError
from tests.builders.scenarios import row

NOON = 1_741_089_600_000_000
"""2025-03-04 12:00:00 UTC, in microseconds."""
SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
ONE_DAY = Stretch(NOON, NOON + 6 * HOUR)


def start(text: str, stretch: Stretch = ONE_DAY) -> int:
    found = window(text, None, stretch)[0]
    assert found is not None
    return found


def end(text: str, stretch: Stretch = ONE_DAY) -> int:
    found = window(None, text, stretch)[1]
    assert found is not None
    return found


@pytest.mark.parametrize(
    "text",
    [
        "13:00",
        "13:00:00",
        "13:00:00.000000000",
        "2025-03-04T13:00:00Z",
        "2025-03-04 13:00:00,000",
        "2025-03-04T13:00:00.000000000Z",
        "2025-03-04 14:00:00+01",
        "2025-03-04T14:00:00+0100",
        "2025-03-04T08:00:00.0-05",
        "13:00 UTC",
    ],
)
def test_one_moment_in_many_forms(text: str) -> None:
    assert start(text) == NOON + HOUR


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("13:00", NOON + HOUR + 60 * SECOND - 1),
        ("13:00:05", NOON + HOUR + 6 * SECOND - 1),
        ("13:00:05.250", NOON + HOUR + 5 * SECOND + 251_000 - 1),
        ("13:00:05.250001", NOON + HOUR + 5 * SECOND + 250_001),
        ("13:00:05.250001999", NOON + HOUR + 5 * SECOND + 250_001),
        ("2025-03-04", NOON + 12 * HOUR - 1),
    ],
)
def test_an_end_includes_what_it_names(text: str, last: int) -> None:
    assert end(text) == last


@given(st.integers(0, 86_399), st.integers(0, 40), st.integers(0, 47))
def test_a_time_of_day_is_the_first_as_a_start_and_the_last_as_an_end(
    second: int, days: int, hours: int
) -> None:
    stretch = Stretch(NOON, NOON + days * DAY + hours * HOUR)
    text = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    dates = range((stretch.last_us // DAY) - (stretch.first_us // DAY) + 1)
    moments = [stretch.first_us // DAY * DAY + date * DAY + second * SECOND for date in dates]
    first = next((at for at in moments if at > stretch.first_us - DAY // 2), moments[-1])
    last = next((at for at in reversed(moments) if at + SECOND - 1 < stretch.last_us + DAY // 2), moments[0])
    assert start(text, stretch) == first
    assert end(text, stretch) == last + SECOND - 1


def test_choosing_a_date_takes_no_longer_in_a_thousand_years() -> None:
    millennium = Stretch(NOON - 365_000 * DAY, NOON)
    began = time.process_time()
    for _ in range(1000):
        start("14:05", millennium)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("13:00/14:00", (HOUR, 2 * HOUR + 60 * SECOND - 1)),
        ("13:00 to 14:00", (HOUR, 2 * HOUR + 60 * SECOND - 1)),
        ("13:00 - 14:00", (HOUR, 2 * HOUR + 60 * SECOND - 1)),
        ("13:00-14:00", (HOUR, 2 * HOUR + 60 * SECOND - 1)),
        ("13:00..14:00", (HOUR, 2 * HOUR + 60 * SECOND - 1)),
        ("2025-03-04T13:00:00Z/2025-03-04T14:00:00Z", (HOUR, 2 * HOUR + SECOND - 1)),
        ("13:00", (HOUR, 6 * HOUR)),
        ("2025-03-04T13:00:00-00:30", (HOUR + HOUR // 2, 6 * HOUR)),
    ],
)
def test_a_stretch_in_many_forms(text: str, expected: tuple[int, int]) -> None:
    found = stretch_named("window", text, ONE_DAY)
    assert (found.first_us - NOON, found.last_us - NOON) == expected


@given(st.text(alphabet="0123456789:/-+TZ .,", max_size=30))
def test_any_text_is_a_stretch_or_refused(text: str) -> None:
    with suppress(ToolInputError):
        found = stretch_named("window", text, ONE_DAY)
        assert found.first_us <= found.last_us


def test_times_of_an_incident_without_clocks_are_refused() -> None:
    store = memory_store(
        Incident.model_validate(
            {
                "id": "i",
                "description": "d",
                "time_hint": "",
                "services": ["orders"],
                "logs": [row("aa01") | {"timestamp": None}],
            }
        )
    )
    with pytest.raises(ToolInputError, match="have no clock; leave times out"):
        asked(SearchArguments(start_time="14:00"), store)
    assert asked(SearchArguments(keywords="well"), store).query == LogQuery(words=("well",))
    with pytest.raises(NoSuchService):
        asked(SearchArguments(service="web"), store)

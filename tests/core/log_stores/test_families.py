"""Lines of one event are one kind, lines of two events are two, in logs of many systems."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.log_stores.families import families
from core.log_stores.line_columns import line_columns, log_rows

LOGS = sorted((Path(__file__).parent / "grouping").glob("*.txt"))
BAR = 0.85


def kinds_of(texts: list[str]) -> list[int]:
    """The kind of each line, as a database holds it."""
    start = datetime(2025, 3, 4, tzinfo=UTC)
    rows = [
        {
            "id": f"{n}",
            "timestamp": start + timedelta(seconds=n),
            "service": "x",
            "level": "INFO",
            "message": text,
        }
        for n, text in enumerate(texts)
    ]
    return [row[-1] for row in log_rows(line_columns(rows), 1, 1)]


def grouping_accuracy(path: Path) -> float:
    """The share of lines whose kind holds the lines of their event and no other.

    The measure of J. Zhu et al., "Tools and benchmarks for automated log parsing" (ICSE-SEIP 2019).
    """
    labelled = [line.split("|", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    by_event, by_kind = defaultdict(set), defaultdict(set)
    kinds = kinds_of([text for _, text in labelled])
    for place, ((event, _), kind) in enumerate(zip(labelled, kinds, strict=True)):
        by_event[event].add(place)
        by_kind[kind].add(place)
    events = list(by_event.values())
    return sum(len(lines) for lines in by_kind.values() if lines in events) / len(labelled)


def test_lines_of_sixteen_systems_are_grouped_as_a_person_would() -> None:
    accuracy = {path.stem: grouping_accuracy(path) for path in LOGS}
    assert len(accuracy) >= 12
    assert sum(accuracy.values()) / len(accuracy) >= BAR, accuracy
    assert min(accuracy.values()) >= 0.75, accuracy


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Invalid user webmaster from 10.0.0.1", "Invalid user oracle from 10.0.0.2"),
        ("Invalid user webmaster from 10.0.0.1", "Invalid user test9 from 10.0.0.2"),
        ("File does not exist: /var/www/a.html", "File does not exist: /srv/b"),
        ("took 31 ms", "took 1.2 s"),
        (
            "session 550e8400-e29b-41d4-a716-446655440000 gone",
            "session abcdefab-cdef-abcd-efab-cdefabcdefab gone",
        ),
        ("token eyJhbGciOi.eyJzdWIi.SflKx-_w refused", "token eyJhbGzzzz.eyJzdwwI9.S_lKx-_w refused"),
        ("delta -5 rows", "delta 5 rows"),
        ("[http-nio-8080-exec-1] started", "[main] started"),
        ("BSSID changed to 5c:50:15:4c:18:13", "BSSID changed to aa:bb:cc:dd:ee:ff"),
        ("at 2025-01-05 10:00:01.123 late", "at 2025-01-05T10:00:01Z late"),
        ('{"status": "ok", "fast": true}', '{"status": "declined", "fast": false}'),
        ("login user=root uid=0", "login user=ann uid=17"),
        ("peers [1, 2, 3]", "peers [4, 5]"),
    ],
)
def test_lines_that_differ_in_a_value_are_alike(one: str, other: str) -> None:
    assert len(set(kinds_of([one, other]))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("connection opened", "connection closed"),
        ("GET /cart 200", "GET /user 200"),
        ('{"error": "x"}', '{"message": "x"}'),
        ("disk full", "disk empty"),
        ("a", "b"),
    ],
)
def test_lines_that_differ_in_what_they_say_are_not_alike(one: str, other: str) -> None:
    assert len(set(kinds_of([one, other]))) == 2


def test_a_word_that_took_many_values_is_a_value() -> None:
    words = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "hazel", "ivory", "jade", "kite"]
    assert len(set(kinds_of([f"plan for {word} is ready" for word in words]))) == 1
    assert len(set(kinds_of([f"plan {word} was made" for word in words[:9]]))) == 9


def test_the_name_of_a_service_is_never_a_value() -> None:
    masks = [(40, f"call to {name} failed") for name in ("cart", "orders", "web-1.eu")]
    assert families(masks)
    assert families(masks, services=["cart", "orders", "web-1.eu"]) == {}


def test_lines_of_different_levels_never_join() -> None:
    assert families([(20, "user ann gone"), (40, "user bob gone")]) == {}


WORDS = st.sampled_from(["a", "b", "#", "user", "x.y", "/p/q"])


@given(st.lists(st.tuples(st.sampled_from([20, 40]), st.lists(WORDS, max_size=4).map(" ".join)), unique=True))
def test_every_member_has_one_chief_that_has_none(masks: list[tuple[int, str]]) -> None:
    found = families(masks)
    assert set(found) <= set(masks)
    assert not set(found.values()) & set(found)
    assert all(mask[0] == chief[0] for mask, chief in found.items())

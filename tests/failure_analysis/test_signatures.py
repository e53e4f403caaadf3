"""Two happenings of the same thing share a template; what is near is told from what is far."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failure_analysis.signatures import nearest, template, tokens


@given(a=st.integers(0, 10**12), b=st.integers(0, 10**12))
def test_numbers_do_not_tell_failures_apart(a: int, b: int) -> None:
    assert template(f"step {a}: no reply within {a} s") == template(f"step {b}: no reply within {b} s")


@given(a=st.uuids(), b=st.uuids())
def test_ids_do_not_tell_failures_apart(a: object, b: object) -> None:
    assert template(f"object {a} is gone") == template(f"object {b} is gone") == "object # is gone"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/tmp/x1/run.py: no such file", "/home/ann/y/run.py: no such file"),
        ("at 2025-03-04T14:05:33Z it died", "at 2026-01-01 00:00:00.123 it died"),
        ("connect to 10.0.0.1:5432 refused", "connect to 192.168.7.20:80 refused"),
        ("GET https://a.b/c?d=1 failed", "GET http://localhost:8000/v1 failed"),
        ("object at 0x7f3a18c0 leaked", "object at 0xdeadbeef leaked"),
        ("job 'seed-3' failed", "job 'run-12' failed"),
    ],
)
def test_what_differs_between_two_runs_is_masked(one: str, other: str) -> None:
    assert template(one) == template(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("No module named 'peft'", "No module named 'orjson'"),
        ("connection refused", "connection reset"),
        ("assert cart.total() == 42", "assert cart.count() == 42"),
    ],
)
def test_words_tell_failures_apart(one: str, other: str) -> None:
    assert template(one) != template(other)


def test_a_traceback_is_known_by_its_last_line_and_a_message_by_its_first() -> None:
    assert template('Traceback (most recent call last):\n  File "a.py"\nKeyError: 7') == "KeyError: #"
    assert template("assert x\n + where x = 7") == "assert x"
    assert template("") == ""


def test_words_are_split_at_capitals_and_underscores() -> None:
    assert {"out", "memory", "error"} <= set(tokens("OutOfMemoryError"))


def test_the_nearest_shares_the_rarest_words() -> None:
    known = {
        "disk": "no space left on device",
        "memory": "CUDA out of memory on device",
        "late": "no reply within # s",
        "other": "AssertionError",
    }
    found = nearest("no space left on volume", known)
    assert found[0][0] == "disk"
    assert "other" not in dict(found)
    assert nearest(known["late"], known)[0][0] == "late"
    assert nearest(known["late"], known)[0][1] == pytest.approx(1.0)


@given(st.text(max_size=200))
def test_any_text_has_a_bounded_template_on_one_line(text: str) -> None:
    made = template(text)
    assert len(made) <= 300
    assert "\n" not in made

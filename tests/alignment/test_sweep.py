"""Which way of counting length is used: the shortest of those that are about as right as the best."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alignment.answers import failing, right
from alignment.cases import ExplainCase
from alignment.generator import generate
from alignment.report import Row, row

pytest.importorskip("torch")  # the command trains
from alignment.sweep_command import chosen

CASES = [case for case in generate("val", 30, seed=3) if case.truth.failed]


def answered(name: str, write: Callable[[ExplainCase], str]) -> Row:
    return row(name, CASES, {case.id: write(case) for case in CASES})


SHORT = answered("short", right)
LONG = answered("long", lambda case: failing(case, "too long"))
WRONG = answered("wrong", lambda case: "Root cause: the disk.")


@pytest.mark.parametrize("rows", [[SHORT, LONG, WRONG], [LONG, WRONG, SHORT]])
def test_the_shortest_of_those_that_are_right_is_used(rows: list[Row]) -> None:
    assert chosen(rows).name == "short"


def test_short_answers_that_are_wrong_are_not_used() -> None:
    assert chosen([WRONG, LONG]).name == "long"

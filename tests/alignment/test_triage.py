"""Triage: secrets stay here, green logs ask nobody, and every quoted line exists."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from alignment.triage import MOST_LINES, NO_FAILURE, Explained, checked, explain, printed, tail

LOG = [
    "05:00:00 INFO web started",
    "05:00:01 ERROR web req-1a2b: no free connection in the pool of orders, password=hunter2secret",
    "05:00:02 ERROR web req-1a2b 500 Internal Server Error",
]


class Model:
    """Answers with a fixed text and keeps what it was asked."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, ""

    async def __call__(self, messages: Sequence[Mapping[str, Any]]) -> str:
        self.asked = str(messages[-1]["content"])
        return self.text


async def explained(text: str, log: Sequence[str] = LOG) -> tuple[Explained, Model]:
    model = Model(text)
    return await explain(log, model, "judged@v1"), model


async def test_the_answer_quotes_lines_that_exist() -> None:
    found, _ = await explained('Root cause: the pool.\nEvidence: "no free connection in the pool of orders"')
    assert found.failed
    assert found.quotes == ("no free connection in the pool of orders",)
    assert found.invented == 0


async def test_a_quotation_that_the_log_does_not_hold_is_taken_out() -> None:
    found, _ = await explained('Evidence: "the kernel panicked at dawn"')
    assert "panicked" not in found.text
    assert found.invented == 1
    assert any("1 quotations were taken out" in line for line in printed(found))


async def test_secrets_do_not_reach_the_model() -> None:
    _, model = await explained("x")
    assert "no free connection" in model.asked
    assert "hunter2secret" not in model.asked


async def test_a_green_log_asks_nobody() -> None:
    found, model = await explained("x", ["05:00:00 INFO web started", "05:00:01 INFO web 12 rows read"])
    assert (found.failed, found.text, model.asked) == (False, NO_FAILURE, "")


async def test_where_the_model_sees_no_failure_the_rules_answer_and_both_are_told() -> None:
    said = 'Symptom: "web started" is none.\nRoot cause: no failure found.\nAction: None.'
    found, _ = await explained(said)
    assert found.failed
    assert "no free connection in the pool of orders" in found.root_cause
    assert found.quotes, "the rules quote a line of the log"
    assert found.overruled == said
    assert any("judged@v1 sees no failure" in line for line in printed(found))


async def test_the_line_that_the_rules_point_to_is_shown_unless_the_answer_quotes_it() -> None:
    line = "req-1a2b: no free connection in the pool of orders"
    elsewhere, _ = await explained('Root cause: the web server.\nEvidence: "500 Internal Server Error"')
    assert any("rules" in shown and line in shown for shown in printed(elsewhere))
    there, _ = await explained(f'Root cause: the pool.\nEvidence: "{line}"')
    assert not any("point to" in shown for shown in printed(there))


@pytest.mark.parametrize("text", ["", "Root cause: no error handler is registered for req-1a2b."])
async def test_less_than_that_is_not_taken_for_seeing_no_failure(text: str) -> None:
    found, _ = await explained(text)
    assert (found.text, found.overruled) == (text, "")


async def test_of_a_long_log_the_stretch_that_matters_is_asked_about() -> None:
    noise = [f"05:00:00 INFO web {number} rows read" for number in range(600)]
    _, model = await explained("x", [*noise, *LOG, *noise[:100]])
    assert "no free connection" in model.asked
    assert len(model.asked) < 2500


def test_of_a_stream_the_end_is_kept() -> None:
    lines = tail(io.StringIO("\n".join(map(str, range(MOST_LINES + 5)))))
    assert len(lines) == MOST_LINES
    assert lines[-1] == str(MOST_LINES + 4)


def test_quotation_marks_of_any_kind_are_checked() -> None:
    _, quotes, invented = checked("“rows were read” and `rows were lost`", "12 rows were read")
    assert (quotes, invented) == (("rows were read",), 1)

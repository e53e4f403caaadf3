"""The trivial rules say what they claim to, and the bar is enforced."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chaos.__main__ import main
from chaos.baselines.measuring import DRAWS, measure, over_the_bar
from chaos.baselines.trivial import RULES
from chaos.splits import cores
from project_types import LevelName, LogRecord, Report, Scenario, Span
from tests.builders.scenarios import INCIDENT, incident, write_scenarios
from tests.chaos.conftest import write
from tests.fakes.stand_ins import Says

START = datetime(2026, 3, 1, 14, 0, tzinfo=UTC)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def row(second: int, service: str, level: LevelName, message: str, trace_id: str | None = None) -> LogRecord:
    return LogRecord(
        id=f"id{second:02}", timestamp=START + timedelta(seconds=second), service=service, level=level,
        message=message,
        trace_id=trace_id,
    )  # fmt: skip


def span(
    name: str, parent: str | None, service: str, ms: float, status: str = "ok", trace: str = "t1"
) -> Span:
    return Span.model_validate(
        {"trace_id": trace, "span_id": name, "parent_span_id": parent, "service": service, "operation": "do", "start": START,
         "duration_ms": ms, "status": status}
    )  # fmt: skip


def world(*logs: LogRecord, spans: tuple[Span, ...] = ()) -> Scenario:
    truth = INCIDENT.ground_truth.model_copy(
        update={"evidence_log_ids": (logs[0].id,), "evidence_trace_ids": ()}
    )
    return INCIDENT.model_copy(update={"logs": logs, "spans": spans, "ground_truth": truth})


def says(rule: str, of: Scenario) -> Report:
    return RULES[rule](of, random.Random(0))


LOUD = world(
    row(1, "gateway", "WARN", "retry 1 of 3"),
    row(2, "orders", "ERROR", "call 17 failed"),
    row(3, "gateway", "ERROR", "GET /cart failed"),
    row(4, "gateway", "ERROR", "GET /home failed"),
    row(5, "gateway", "WARN", "retry 2 of 3"),
    row(6, "ledger", "WARN", "disk at 99 %"),
)
DEEP = world(
    row(1, "gateway", "ERROR", "slow", "t1"),
    row(2, "ledger", "WARN", "waiting", "t1"),
    row(3, "ledger", "ERROR", "elsewhere", "t2"),
    spans=(
        span("a", None, "gateway", 900, "error"),
        span("b", "a", "orders", 800, "error"),
        span("c", "b", "ledger", 700, "timeout"),
        span("d", "c", "gateway", 10),
        span("e", None, "orders", 5, trace="t2"),
        span("f", "lost", "orders", 5000, "error", trace="t3"),
    ),
)


@pytest.mark.parametrize(
    ("rule", "of", "service", "cited"),
    [
        ("loudest error service", LOUD, "gateway", "id03"),
        ("first error service", LOUD, "orders", "id02"),
        ("rarest warning", LOUD, "ledger", "id06"),
        ("deepest failing span", DEEP, "ledger", "id02"),
        ("most frequent service in slow traces", DEEP, "orders", None),
    ],
)
def test_a_rule_blames_the_service_it_describes(
    rule: str, of: Scenario, service: str, cited: str | None
) -> None:
    report = says(rule, of)
    assert report.suspected_service == service
    assert report.key_log_ids == ((cited,) if cited else ())


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_copes_with_a_scenario_that_lacks_what_it_looks_for(rule: str) -> None:
    quiet = world(row(1, "orders", "INFO", "all is well"))
    assert says(rule, quiet).suspected_service in quiet.services


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_never_looks_at_the_answer(rule: str) -> None:
    truth = LOUD.ground_truth.model_copy(update={"service": "orders", "fault_type": "disk_full"})
    other = LOUD.model_copy(
        update={"ground_truth": truth, "expected_root_cause": "another", "distractors": ()}
    )
    assert says(rule, LOUD) == says(rule, other)


def test_spans_that_are_their_own_ancestors_have_a_depth() -> None:
    loop = world(
        row(1, "orders", "ERROR", "x", "t1"),
        spans=(span("a", "b", "orders", 1, "error"), span("b", "a", "gateway", 2)),
    )
    assert says("deepest failing span", loop).suspected_service == "orders"


async def test_accuracy_is_what_the_judge_says_and_slices_are_apart() -> None:
    found = await measure([incident("a"), incident("b", unseen=True)], Says(correct=True))
    first = found["first error service"].slices
    assert (first["all"].cause.value, first["all"].cause.n) == (1.0, 2)
    assert (first["seen"].cause.n, first["unseen"].cause.n) == (1, 1)
    assert first["all"].service.value == 0.0
    assert over_the_bar(found, 0.9) != []
    assert over_the_bar(found, 1.0) == []


async def test_the_random_rule_is_averaged_over_many_draws() -> None:
    judge = Says(correct=False)
    found = await measure([incident("a")], judge)
    assert judge.asked == DRAWS + len(RULES) - 1
    assert 0 < found["random service"].slices["all"].service.value < 1


@pytest.mark.slow
def test_nothing_without_understanding_passes_its_bar_on_generated_scenarios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "train", "train", 200, 2, workers=cores())
    write(tmp_path / "test", "test", 52, 2, workers=cores())
    assert run("baselines", tmp_path / "test", "--train", tmp_path / "train") == 0, capsys.readouterr().out
    assert "gradient boosting: all row features" in capsys.readouterr().out


def test_the_command_fails_when_a_rule_passes_the_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = write_scenarios(tmp_path / "easy", "aa01", "aa02")
    assert run("baselines", split) == 1
    said = capsys.readouterr()
    assert "above the bar: easy: rarest warning: root cause 100.0 %" in said.err
    assert "| easy (2) | trivial | rarest warning | 100.0 %" in said.out
    assert run("baselines", split, "--max", 100) == 0


def test_the_command_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = write_scenarios(tmp_path / "easy", "aa01", "aa02")
    run("baselines", split, "--json")
    found = json.loads(capsys.readouterr().out)["easy"]
    assert set(found) == set(RULES)
    assert found["rarest warning"]["all"]["cause"]["value"] == 1.0
    service = found["first error service"]["seen"]["service"]
    assert service == {"value": 0.0, "low": 0.0, "high": pytest.approx(0.975), "scenarios": 1}


def test_the_table_is_written_between_its_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = write_scenarios(tmp_path / "easy", "aa01")
    page = tmp_path / "scenarios.md"
    page.write_text("before\n<!-- baselines:begin -->\nold\n<!-- baselines:end -->\nafter\n")
    run("baselines", split, "--write-docs", page)
    before, table, after = page.read_text().partition(capsys.readouterr().out)
    assert before == "before\n<!-- baselines:begin -->\n"
    assert "rarest warning" in table
    assert after == "<!-- baselines:end -->\nafter\n"


@pytest.mark.parametrize(("text", "message"), [("no markers", "lacks the lines"), (None, "cannot be read")])
def test_a_page_without_markers_is_left_alone(
    tmp_path: Path, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    split, page = write_scenarios(tmp_path / "easy", "aa01"), tmp_path / "page.md"
    if text is not None:
        page.write_text(text)
    assert run("baselines", split, "--write-docs", page) == 2
    assert message in capsys.readouterr().err
    assert not page.exists() or page.read_text() == text

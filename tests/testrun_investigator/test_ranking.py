"""What of a test run the ranker gets to see: its nodes, before and around the first error, bounded."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.log_stores.contract import LogStore
from core.log_stores.growing import growing_store
from project_types import LevelName, LogRecord, ToolInputError
from testrun_investigator.ranking import LINES_OF_A_PART, PARTS, look

START = datetime(2026, 6, 22, 12, tzinfo=UTC)
ERROR_AT = 40 * 60.0


def line(number: int, second: float, service: str, text: str, level: LevelName = "INFO") -> LogRecord:
    at = START + timedelta(seconds=second)
    return LogRecord(id=f"{number:016x}", timestamp=at, service=service, level=level, message=text)


def stored(folder: Path, lines: Iterable[LogRecord]) -> LogStore:
    store = growing_store(folder / "logs.db", "run")
    store.ingest(lines)
    return store


def quiet_hour() -> list[LogRecord]:
    lines = [line(number, 60.0 * number, f"node-{number % 2}", "compacted") for number in range(60)]
    return [
        *lines,
        line(900, 0, "actions", "starts"),
        line(901, ERROR_AT, "events", "node-1 failed", "ERROR"),
    ]


def test_nodes_are_suspects_and_the_tests_own_logs_are_not(tmp_path: Path) -> None:
    looked = look(stored(tmp_path, quiet_hour()))
    assert looked.incident.services == ("node-0", "node-1")
    assert {row.service for row in looked.incident.logs} == {"node-0", "node-1"}
    assert len(looked.incident.logs) == 60
    assert looked.cut == 0


def test_without_a_window_all_is_healthy_until_shortly_before_the_first_error(tmp_path: Path) -> None:
    healthy = look(stored(tmp_path, quiet_hour())).incident.baseline
    assert healthy is not None
    assert START + timedelta(seconds=ERROR_AT) - healthy.end == timedelta(minutes=3, microseconds=1)


def test_an_error_late_in_a_flood_is_seen_and_the_cut_is_said(tmp_path: Path) -> None:
    flood = [line(1000 + n, ERROR_AT + 0.01 * n, "node-0", f"wrote {n}") for n in range(2 * LINES_OF_A_PART)]
    late = line(9000, ERROR_AT + 30, "node-1", "no space left", "ERROR")
    looked = look(stored(tmp_path, [*quiet_hour(), *flood, late]))
    assert late.id in {row.id for row in looked.incident.logs}
    assert looked.cut == 1
    assert len(looked.incident.logs) <= 2 * 2 * PARTS * LINES_OF_A_PART


def test_a_run_without_an_error_needs_a_window(tmp_path: Path) -> None:
    store = stored(tmp_path, quiet_hour()[:-1])
    with pytest.raises(ToolInputError, match="name a window like"):
        look(store)
    assert look(store, "12:30/12:40").incident.time_hint == "12:30"
    with pytest.raises(ToolInputError, match="nothing comes before it"):
        look(store, "12:00/12:10")

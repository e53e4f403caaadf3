"""The log files of a test run become rows: every line is kept, and what was done to it is counted."""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.archives import lines
from core.log_stores.line_columns import as_columns
from core.sct_logs import SERVICES, STREAMS, Row, Stream, by_column, rows, stream_of
from project_types import LogRecord


def read(
    stream: Stream, text: str | bytes, name: str = "run.tar!db-node-1/system.log"
) -> tuple[list[Row], Counter[str]]:
    content = text.encode() if isinstance(text, str) else text
    counts: Counter[str] = Counter()
    return list(rows("run-1", name, stream, lines(io.BytesIO(content)), counts)), counts


ACTION = {
    "datetime": "2026-05-17T04:44:00.123456+00:00Z",
    "status": "warning",
    "source": "Sisyphus Monkey/1",
    "action": "Rebooting node",
    "target": "db-node-1",
    "trace_id": "9f1c",
    "metadata": {"times": 2},
}


def test_an_action_keeps_who_what_and_when_and_its_clock_is_repaired() -> None:
    (row,), counts = read("action", json.dumps(ACTION))
    assert row.at == datetime(2026, 5, 17, 4, 44, 0, 123456, tzinfo=UTC)
    assert (row.service, row.level, row.trace_id) == ("actions", "WARN", "9f1c")
    assert row.text == 'Sisyphus_Monkey/1: Rebooting node target=db-node-1 {"times": 2}'
    assert counts["repaired_clocks"] == counts["rows"] == 1


EVENT = {
    "base": "DatabaseLogEvent",
    "type": "NO_SPACE_ERROR",
    "subtype": None,
    "event_timestamp": 1779000000.5,
    "source_timestamp": 1778999999.25,
    "severity": "ERROR",
    "period_type": "one-time",
    "event_id": "x",
    "node": "db-node-3",
    "line": "No space left on device",
    "subcontext": [{"nemesis_name": "RepairMonkey"}],
}


def test_an_event_says_its_type_severity_node_and_the_nemesis_it_fell_into() -> None:
    (row,), _ = read("event", json.dumps(EVENT))
    assert (
        row.text
        == "(DatabaseLogEvent.NO_SPACE_ERROR ERROR) node=db-node-3 during_nemesis=RepairMonkey No space left on device"
    )
    assert (row.service, row.level) == ("events", "ERROR")
    assert row.at == datetime.fromtimestamp(1778999999.25, UTC)
    assert row.attributes == {
        "event_type": "DatabaseLogEvent.NO_SPACE_ERROR",
        "node": "db-node-3",
        "nemesis": "RepairMonkey",
    }


@pytest.mark.parametrize(
    "line",
    ["not json", "[1]", "{}", '{"datetime": "yesterday", "action": "x"}', "null", '{"subcontext": [1]}'],
)
@pytest.mark.parametrize("stream", ["action", "event"])
def test_a_line_that_does_not_fit_is_kept_as_it_is(stream: Stream, line: str) -> None:
    (row,), counts = read(stream, line)
    assert (row.text, row.level, row.service, row.at) == (line, "UNKNOWN", SERVICES[stream], None)
    assert counts["unparsed"] == 1


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("2026-05-17T04:44:00.123+00:00 ip-10-0-1-5     !ERR | scylla[1]: [shard 0] x", "ERROR", "scylla[1]: [shard 0] x"),
        ("2026-05-17T06:44:00.123+02:00 node !WARNING | y", "WARN", "y"),
        ("2026-05-17T04:44:00.123Z node kernel: Exception: z", "ERROR", "kernel: Exception: z"),
        ("INFO  2026-05-17 04:44:00,123 [shard 0:main] init", "INFO", "[shard 0:main] init"),
        ("< t:2026-05-17 04:44:00,123 f:tester.py      l:12 c:sdcm p:CRITICAL > died", "FATAL", "died"),
    ],
)  # fmt: skip
def test_a_text_line_gives_its_clock_and_its_level(line: str, level: str, text: str) -> None:
    (row,), _ = read("node", line)
    assert (row.level, row.text) == (level, text)
    assert row.at == datetime(2026, 5, 17, 4, 44, 0, 123000, tzinfo=UTC)
    assert (row.service, row.place) == ("db-node-1", "db-node-1/system.log:1")


def test_the_journal_has_no_year_and_gets_the_last_one_it_can_mean() -> None:
    (row,), _ = read("node", "May 17 04:44:00 ip-10-0-1-5 scylla[1]: x")
    assert row.at is not None
    assert (row.at.month, row.at.day) == (5, 17)
    assert row.at <= datetime.now(UTC)


def test_a_stack_trace_belongs_to_the_line_before_it() -> None:
    text = "2026-05-17T04:44:00Z n !ERR | boom\n  at one\n\n  at two\n2026-05-17T04:44:01Z n !INFO | fine\n"
    found, counts = read("node", text)
    assert [row.text for row in found] == ["boom\n  at one\n  at two", "fine"]
    assert [row.place for row in found] == ["db-node-1/system.log:1", "db-node-1/system.log:5"]
    assert counts["joined"] == 2


def test_a_file_without_clocks_has_a_row_for_each_line() -> None:
    found, counts = read("stress", "total, 1, 2\njava.net.SocketException: Too many open files\n")
    assert [row.level for row in found] == ["INFO", "ERROR"]
    assert counts["without_clock"] == 2


def test_ids_depend_on_run_file_and_line_alone() -> None:
    first, _ = read("stress", "a\nb\na\n")
    again, _ = read("stress", "a\nb\na\n")
    other, _ = read("stress", "a\nb\na\n", "run.tar!db-node-2/system.log")
    assert [row.id for row in first] == [row.id for row in again]
    assert len({row.id for row in first + other}) == 6


@given(st.binary(max_size=300))
def test_rows_by_column_are_those_of_valid_log_records(content: bytes) -> None:
    for stream in STREAMS:
        found, _ = read(stream, content)
        records = [
            LogRecord(
                id=row.id,
                timestamp=row.at,
                service=row.service,
                level=row.level,
                message=row.text,
                trace_id=row.trace_id,
                sequence=place,
            )
            for place, row in enumerate(found)
        ]
        wanted = as_columns(records)
        assert [list(column) for column in by_column(found)] == [list(column) for column in wanted]


@given(st.binary(max_size=300))
def test_any_bytes_give_rows_with_names_that_are_safe(content: bytes) -> None:
    for stream in STREAMS:
        found, counts = read(stream, content)
        assert counts["rows"] == len(found)
        assert all(row.service[0].isalnum() and row.service.isascii() for row in found)


@pytest.mark.parametrize(
    ("name", "stream", "why"),
    [
        ("a.tar!run/actions.log", "action", ""),
        ("a.tar!run/raw_events.log", "event", ""),
        ("a.tar!run/events.log", None, "repeats"),
        ("a.tar!run/argus.log", None, "configuration"),
        ("a.tar!node/scylla.yaml", None, "configuration"),
        ("a.tar!node/system.log", "node", ""),
        ("a.tar!loader/cassandra-stress-l0-c0.log", "stress", ""),
        ("sct-12.log", "sct", ""),
        ("m.tar!prometheus_data_1.tar!data/01H/chunks/000001", None, "metrics"),
        ("a.tar!node/core.dump", None, "unknown"),
    ],
)
def test_a_file_is_known_by_its_name(name: str, stream: str | None, why: str) -> None:
    found, reason = stream_of(name)
    assert found == stream
    assert why in reason

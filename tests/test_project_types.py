"""The words of the house: what an incident and its truth may hold, and that old files still read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from project_types import (
    Evidence,
    Incident,
    LogRecord,
    MetricSeries,
    Scenario,
    ScenarioError,
    Span,
    Window,
    read_incident,
    read_scenario,
)
from tests.builders.scenarios import row, scenario, span, write

METRIC = {"service": "orders", "name": "cpu", "points": [["2025-03-04T14:00:00Z", 0.5]]}
EVENT = {
    "id": "e1",
    "timestamp": "2025-03-04T14:00:00Z",
    "service": "orders",
    "object": "Pod/orders-7d9f",
    "reason": "BackOff",
    "type": "Warning",
    "count": 5,
}


def made(**fields: Any) -> Scenario:
    return Scenario.model_validate(scenario("one", [row("a1")], **fields))


def truth(**fields: Any) -> dict[str, Any]:
    return {"service": "orders", "fault_type": "disk_full"} | fields


def incident(**fields: Any) -> dict[str, Any]:
    return {"id": "i1", "description": "slow", "time_hint": "14:00", "services": ["orders"]} | fields


# ------------------------------------------------------------------------------------------------ evidence


def test_evidence_of_an_old_file_is_its_log_lines() -> None:
    old = made(ground_truth=truth(evidence_log_ids=["a1"])).ground_truth
    assert old.evidence == (Evidence(kind="log", id="a1"),)


def test_log_lines_named_as_evidence_are_also_in_the_old_field() -> None:
    both = [{"kind": "log", "id": "a1"}, {"kind": "absence", "id": "orders"}]
    new = made(ground_truth=truth(evidence=both)).ground_truth
    assert new.evidence_log_ids == ("a1",)
    assert [one.kind for one in new.evidence] == ["log", "absence"]
    assert type(new).model_validate_json(new.model_dump_json()) == new


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("log", "a1", "a2"),
        ("span", "s1", "s2"),
        ("metric", "orders/cpu", "orders/memory"),
        ("event", "e1", "e2"),
        ("absence", "orders", "web"),
    ],
)
def test_evidence_of_every_kind_must_be_in_the_data(kind: str, right: str, wrong: str) -> None:
    data = {"spans": [span("s1")], "metrics": [METRIC], "events": [EVENT]}
    made(**data, ground_truth=truth(evidence=[{"kind": kind, "id": right}]))
    with pytest.raises(ValidationError, match=f"has id {wrong}"):
        made(**data, ground_truth=truth(evidence=[{"kind": kind, "id": wrong}]))


def test_a_cause_without_evidence_is_refused_unless_a_source_only_gave_a_label() -> None:
    with pytest.raises(ValidationError, match="evidence_log_ids: is empty"):
        made(ground_truth=truth())
    assert made(ground_truth=truth(), provenance={"source": "a data set"}).ground_truth.evidence == ()


def test_insufficient_evidence_has_the_answer_unknown_and_needs_no_evidence() -> None:
    nothing = made(ground_truth=truth(service="unknown"))
    assert nothing.ground_truth.insufficient
    assert not made().ground_truth.insufficient


def test_a_truth_may_carry_phrases_that_are_right_and_wrong() -> None:
    phrases = {"accepted_causes": ["disk quota exceeded"], "rejected_causes": ["out of memory"]}
    found = made(ground_truth=truth(evidence_log_ids=["a1"], **phrases)).ground_truth
    assert (found.accepted_causes, found.rejected_causes) == (("disk quota exceeded",), ("out of memory",))


# ------------------------------------------------------------------------------------------------ modalities


@pytest.mark.parametrize(
    "data",
    [{"logs": [row("a1")]}, {"spans": [span("s1")]}, {"metrics": [METRIC]}, {"events": [EVENT]}],
    ids=["logs", "spans", "metrics", "events"],
)
def test_one_kind_of_data_is_enough(data: dict[str, Any]) -> None:
    Incident.model_validate(incident(**data))


def test_no_data_at_all_is_refused() -> None:
    with pytest.raises(ValidationError, match="give logs, spans, metrics or events"):
        Incident.model_validate(incident())


def test_an_event_and_a_log_line_do_not_share_an_id() -> None:
    with pytest.raises(ValidationError, match="an event shares its id"):
        Incident.model_validate(incident(logs=[row("e1")], events=[EVENT]))


def test_a_healthy_window_may_come_along() -> None:
    window = {"start": "2025-03-04T13:00:00Z", "end": "2025-03-04T13:30:00Z"}
    assert Incident.model_validate(
        incident(logs=[row("a1")], baseline=window)
    ).baseline == Window.model_validate(window)
    with pytest.raises(ValidationError, match="start is after end"):
        Window.model_validate({"start": window["end"], "end": window["start"]})


def test_levels_and_statuses_may_be_unknown() -> None:
    assert LogRecord.model_validate(row("a1", level="UNKNOWN")).level == "UNKNOWN"
    assert not Span.model_validate(span("s1", status="unknown")).failed
    assert Span.model_validate(span("s1", status="timeout")).failed


# ------------------------------------------------------------------------------------------------ clocks


def test_a_line_without_a_clock_says_so() -> None:
    assert LogRecord.model_validate(row("a1") | {"timestamp": None, "sequence": 4}).timestamp is None
    lost = row("a1")
    del lost["timestamp"]
    with pytest.raises(ValidationError, match="timestamp"):
        LogRecord.model_validate(lost)


@given(st.lists(st.integers(0, 999_999_999), min_size=2, max_size=6, unique=True))
def test_nanoseconds_order_lines(beyond: list[int]) -> None:
    lines = [
        LogRecord.model_validate(row(f"a{n}", f"2025-03-04T14:00:00.{ns:09d}Z"))
        for n, ns in enumerate(beyond)
    ]
    ordered = sorted(lines, key=lambda line: line.sort_key)
    assert [beyond[int(line.id[1:])] for line in ordered] == sorted(beyond)
    again = LogRecord.model_validate_json(lines[0].model_dump_json())
    assert again == lines[0]


@pytest.mark.parametrize("zone", ["Z", "+00", "+00:00", "-00", "+0000"])
def test_a_zone_may_be_hours_only(zone: str) -> None:
    at = LogRecord.model_validate(row("a1", f"2025-03-04T14:00:00.5{zone}")).timestamp
    assert at is not None
    assert at.isoformat() == "2025-03-04T14:00:00.500000+00:00"


# ------------------------------------------------------------------------------------------------ files


def test_an_incident_file_needs_no_answer_and_a_scenario_file_gives_its_answer_to_nobody(
    tmp_path: Path,
) -> None:
    bare = tmp_path / "incident-i1.json"
    bare.write_text(json.dumps(incident(logs=[row("a1")])))
    assert read_incident(bare).logs[0].id == "a1"
    whole = write(tmp_path, scenario("one", [row("a1")]))
    seen = read_incident(whole)
    assert type(seen) is Incident
    assert "secret cause" not in seen.model_dump_json()
    assert seen == Incident.model_validate_json(seen.model_dump_json())


def test_an_incident_is_no_scenario_and_a_bad_file_names_its_field(tmp_path: Path) -> None:
    bare = tmp_path / "incident-i1.json"
    bare.write_text(json.dumps(incident(logs=[row("a1")])))
    with pytest.raises(ScenarioError, match="expected_root_cause"):
        read_scenario(bare)
    bare.write_text(json.dumps(incident(logs=[row("a1", level="LOUD")])))
    with pytest.raises(ScenarioError, match=r"incident-i1\.json: field logs\.0\.level"):
        read_incident(bare)
    bare.write_text("{")
    with pytest.raises(ScenarioError, match="Invalid JSON"):
        read_incident(bare)


def test_a_metric_at_regular_steps_reads_like_one_with_points() -> None:
    points = [["2025-03-04T14:00:00Z", 1], ["2025-03-04T14:00:20Z", 3]]
    steps = {"start": "2025-03-04T14:00:00Z", "step_s": 10, "values": [1, None, 3]}
    named = {"service": "orders", "name": "cpu"}
    given, compact = (MetricSeries.model_validate({**named, **form}) for form in ({"points": points}, steps))
    assert given.points == compact.points
    for one in (given, compact):
        assert MetricSeries.model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize(
    "form",
    [
        {"values": [1, 2]},
        {"start": "2025-03-04T14:00:00Z", "values": [1]},
        {
            "start": "2025-03-04T14:00:00Z",
            "step_s": 10,
            "values": [1],
            "points": [["2025-03-04T14:00:00Z", 1]],
        },
    ],
    ids=["no start", "no step", "both forms"],
)
def test_half_a_regular_metric_is_refused(form: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MetricSeries.model_validate({"service": "orders", "name": "cpu", **form})

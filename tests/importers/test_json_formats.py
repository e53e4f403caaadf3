"""Exports of OpenTelemetry, Jaeger, Loki, Kubernetes and Prometheus become rows,
spans, events and metrics.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importers.counting import ImportTrouble
from importers.json_elements import elements
from tests.builders.examples import examples
from tests.importers.imported import Imported, imported, write

AT = "1772633101500000001"
TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"


def read(
    name: str, tmp_path: Path, content: Any, file: str = "export.json", **options: str | None
) -> Imported:
    text = content if isinstance(content, str | bytes) else json.dumps(content, indent=1)
    return imported(name, write(tmp_path / "in", {file: text}) / file, tmp_path / "out", **options)


# --------------------------------------------------------------------------------------------------- OTLP


def resource(name: str) -> Mapping[str, Any]:
    return {"attributes": [{"key": "service.name", "value": {"stringValue": name}}]}


def log(**fields: Any) -> Mapping[str, Any]:
    return {"timeUnixNano": AT, "severityNumber": 17, "body": {"stringValue": "disk full"}, "traceId": TRACE.upper(),
            "spanId": SPAN} | fields  # fmt: skip


def logs_of(*records: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"resourceLogs": [{"resource": resource("cart"), "scopeLogs": [{"logRecords": list(records)}]}]}


SPANS = {"resourceSpans": [{"resource": resource("cart"), "scopeSpans": [{"spans": [
    {"traceId": TRACE, "spanId": SPAN, "parentSpanId": "", "name": "GET /cart", "startTimeUnixNano": AT,
     "endTimeUnixNano": str(int(AT) + 2_500_000), "status": {"code": "STATUS_CODE_ERROR"},
     "events": [{"timeUnixNano": AT, "name": "exception",
                 "attributes": [{"key": "exception.message", "value": {"stringValue": "no stock"}}]}]}]}]}]}  # fmt: skip
METRICS = {"resourceMetrics": [{"resource": resource("cart"), "scopeMetrics": [{"metrics": [
    {"name": "heap", "gauge": {"dataPoints": [{"timeUnixNano": AT, "asInt": "7",
                                               "attributes": [{"key": "pool", "value": {"stringValue": "old"}}]}]}},
    {"name": "wait", "histogram": {"dataPoints": [{"timeUnixNano": AT, "count": "4", "sum": 10.0}]}}]}]}]}  # fmt: skip


def test_otlp_logs_spans_and_metrics_come_together_and_ids_stay_hexadecimal(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(one) for one in (logs_of(log()), SPANS, METRICS))
    incident = read("otlp", tmp_path, lines, "export.jsonl").incident
    error, exception = incident.logs
    assert (error.service, error.level, error.message, error.nanosecond) == ("cart", "ERROR", "disk full", 1)
    assert (error.trace_id, error.span_id) == (TRACE, SPAN)
    assert exception.message == "exception exception.message=no stock"
    (span,) = incident.spans
    assert (span.trace_id, span.parent_span_id, span.duration_ms, span.status) == (TRACE, None, 2.5, "error")
    points = {series.name: series.points[0][1] for series in incident.metrics}
    assert points == {"heap{pool=old}": 7.0, "wait_count": 4.0, "wait_mean": 2.5}


@pytest.mark.parametrize(
    ("fields", "level"),
    [
        ({"severityNumber": 13}, "WARN"),
        ({"severityNumber": "SEVERITY_NUMBER_FATAL2"}, "FATAL"),
        ({"severityNumber": 0, "severityText": "Information"}, "INFO"),
        ({"severityNumber": 0}, "UNKNOWN"),
    ],
)
def test_an_otlp_severity_is_a_number_a_name_or_a_text(tmp_path: Path, fields: Any, level: str) -> None:
    assert read("otlp", tmp_path, logs_of(log(**fields))).incident.logs[0].level == level


def test_otlp_in_protobuf_gives_the_same_as_json(tmp_path: Path) -> None:
    logs, traces, metrics = (
        pytest.importorskip(f"opentelemetry.proto.{name}.v1.{name}_pb2")
        for name in ("logs", "trace", "metrics")
    )
    about = {"attributes": [{"key": "service.name", "value": {"string_value": "cart"}}]}
    at = int(AT)
    sent = [
        logs.LogsData(resource_logs=[{"resource": about, "scope_logs": [{"log_records": [
            {"time_unix_nano": at, "severity_number": 17, "body": {"string_value": "disk full"},
             "trace_id": bytes.fromhex(TRACE), "span_id": bytes.fromhex(SPAN)}]}]}]),
        traces.TracesData(resource_spans=[{"resource": about, "scope_spans": [{"spans": [
            {"trace_id": bytes.fromhex(TRACE), "span_id": bytes.fromhex(SPAN), "name": "GET /cart",
             "start_time_unix_nano": at, "end_time_unix_nano": at + 2_500_000, "status": {"code": 2},
             "events": [{"time_unix_nano": at, "name": "exception", "attributes": [
                 {"key": "exception.message", "value": {"string_value": "no stock"}}]}]}]}]}]),
        metrics.MetricsData(resource_metrics=[{"resource": about, "scope_metrics": [{"metrics": [
            {"name": "heap", "gauge": {"data_points": [{"time_unix_nano": at, "as_int": 7, "attributes": [
                {"key": "pool", "value": {"string_value": "old"}}]}]}},
            {"name": "wait", "histogram": {"data_points": [{"time_unix_nano": at, "count": 4, "sum": 10.0}]}}]}]}]),
    ]  # fmt: skip
    messages = [one.SerializeToString() for one in sent]
    framed = b"".join(len(message).to_bytes(4, "big") + message for message in messages)
    bodies = {f"{number}.binpb": message for number, message in enumerate(messages)}
    lines = "\n".join(json.dumps(one) for one in (logs_of(log()), SPANS, METRICS))

    def told(found: Imported) -> Any:
        incident = found.incident
        logged = [row.model_dump(exclude={"id"}) for row in incident.logs]
        return logged, incident.spans, incident.metrics

    expected = told(read("otlp", tmp_path / "json", lines))
    assert told(read("otlp", tmp_path / "framed", framed, "export.bin")) == expected
    assert told(imported("otlp", write(tmp_path / "bodies", bodies), tmp_path / "out")) == expected
    with pytest.raises(ImportTrouble, match="middle of a message"):
        read("otlp", tmp_path / "cut", framed[:-3], "export.bin")


# -------------------------------------------------------------------------------------------------- Jaeger


def jaeger_span(span: str, parent: str | None, process: str, **fields: Any) -> Mapping[str, Any]:
    references = [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": parent}] if parent else []
    return {"traceID": TRACE, "spanID": span, "operationName": "GET /cart", "references": references,
            "startTime": 1772633101500000, "duration": 250000, "processID": process, "tags": [], "logs": []} | fields  # fmt: skip


JAEGER = {"data": [{"traceID": TRACE, "processes": {"p1": {"serviceName": "web"}, "p2": {"serviceName": "cart"}}, "spans": [
    jaeger_span("a1", None, "p1"),
    jaeger_span("a2", "a1", "p2", tags=[{"key": "error", "type": "bool", "value": True}], logs=[
        {"timestamp": 1772633101600000, "fields": [{"key": "event", "type": "string", "value": "timeout"},
                                                    {"key": "level", "value": "warn"}]}]),
    jaeger_span("a3", "a2", "p2", tags=[{"key": "otel.status_code", "value": "OK"}])]}]}  # fmt: skip


def test_jaeger_spans_have_their_process_as_service_and_their_tags_as_status(tmp_path: Path) -> None:
    incident = read("jaeger", tmp_path, JAEGER).incident
    assert [(one.service, one.parent_span_id, one.status, one.duration_ms) for one in incident.spans] == [
        ("web", None, "unknown", 250.0), ("cart", "a1", "error", 250.0), ("cart", "a2", "ok", 250.0)]  # fmt: skip
    assert [(edge.caller, edge.callee) for edge in incident.topology] == [("web", "cart")]
    (row,) = incident.logs
    assert (row.service, row.level, row.message, row.trace_id, row.span_id) == (
        "cart",
        "WARN",
        "timeout",
        TRACE,
        "a2",
    )


def test_jaeger_2_answers_in_otlp(tmp_path: Path) -> None:
    incident = read("jaeger", tmp_path, {"result": SPANS}).incident
    assert incident.spans[0].service == "cart"


# ---------------------------------------------------------------------------------------------------- Loki


def loki(*streams: Mapping[str, Any], kind: str = "streams") -> Mapping[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": list(streams), "stats": {}}}


def test_a_loki_stream_names_service_and_level_and_keeps_its_metadata(tmp_path: Path) -> None:
    stream = {"stream": {"app": "cart", "level": "error"}, "values": [
        ["1772633102000000000", "second", {"structuredMetadata": {"trace_id": TRACE, "user": "u1"}, "parsed": {}}],
        [AT, "first"]]}  # fmt: skip
    incident = read("loki", tmp_path, loki(stream)).incident
    second, first = incident.logs
    assert (first.service, first.level, first.message, first.nanosecond) == ("cart", "ERROR", "first", 1)
    assert (second.trace_id, second.attributes) == (TRACE, {"user": "u1"})


def test_a_metric_query_of_loki_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportTrouble, match="the answer to a metric query"):
        read("loki", tmp_path, loki(kind="matrix"))


def test_an_answer_of_exactly_a_usual_limit_is_said_to_be_cut(tmp_path: Path) -> None:
    stream = {"stream": {"app": "cart"}, "values": [[str(int(AT) + n), "tick"] for n in range(100)]}
    assert any(
        "limit has probably cut it" in note for note in read("loki", tmp_path, loki(stream)).counts.notes
    )


# ---------------------------------------------------------------------------------------------- Kubernetes

POD = {"kind": "Pod", "namespace": "shop", "name": "cart-6d5f7c9b4-x2x4z"}
OLD = {"kind": "Event", "apiVersion": "v1", "involvedObject": POD,
       "reason": "BackOff", "message": "Back-off restarting failed container", "type": "Warning", "count": 5,
       "firstTimestamp": "2026-03-04T14:00:00Z", "lastTimestamp": "2026-03-04T14:05:00Z", "eventTime": None}  # fmt: skip
NEW = {"kind": "Event", "apiVersion": "events.k8s.io/v1", "regarding": {"kind": "ReplicaSet", "name": "web-6d5f7c9b4"},
       "reason": "SuccessfulCreate", "note": "Created pod", "type": "Normal", "eventTime": "2026-03-04T14:01:00.000001Z",
       "series": {"count": 2, "lastObservedTime": "2026-03-04T14:02:00.000000Z"}, "deprecatedFirstTimestamp": None}  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"kind": "List", "items": [OLD, NEW]}, id="a list"),
        pytest.param(
            "\n".join(json.dumps({"type": "ADDED", "object": one}) for one in (OLD, NEW)), id="a watch"
        ),
    ],
)
def test_events_of_both_versions_belong_to_their_workload(tmp_path: Path, content: Any) -> None:
    old, new = read("k8s", tmp_path, content, "events.json").incident.events
    assert (old.service, old.object, old.count, old.type) == (
        "cart",
        "Pod/cart-6d5f7c9b4-x2x4z",
        5,
        "Warning",
    )
    assert (str(old.first_timestamp)[11:19], str(old.timestamp)[11:19]) == ("14:00:00", "14:05:00")
    assert (new.service, new.count, new.message) == ("web", 2, "Created pod")
    assert (str(new.first_timestamp)[11:19], str(new.timestamp)[11:19]) == ("14:01:00", "14:02:00")


def test_pod_logs_beside_the_events_are_rows(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "events.json": json.dumps({"kind": "List", "items": [OLD]}),
        "cart-6d5f7c9b4-x2x4z.log": "2026-03-04T14:05:01Z ERROR gone\n",
    }
    incident = imported("k8s", write(tmp_path / "in", files), tmp_path / "out").incident
    assert {incident.events[0].service, incident.logs[0].service} == {"cart"}


# ---------------------------------------------------------------------------------------------- Prometheus


def test_a_range_becomes_series_of_the_service_that_its_labels_name(tmp_path: Path) -> None:
    series = {"metric": {"__name__": "up", "pod": "cart-6d5f7c9b4-x2x4z", "zone": "a"},
              "values": [[1772633100, "1"], [1772633115, "NaN"], [1772633130.5, "0"]]}  # fmt: skip
    found = read("prometheus", tmp_path, loki(series, kind="matrix"))
    (one,) = found.incident.metrics
    assert (one.service, one.name) == ("cart", "up{pod=cart-6d5f7c9b4-x2x4z,zone=a}")
    assert [value for _, value in one.points] == [1.0, 0.0]
    assert found.incident.time_hint == "2026-03-04, 14:05 to 14:05 UTC"
    assert found.counts.dropped == {"metric point that is no finite number": 1}


@pytest.mark.parametrize("server", ["prometheus", "loki"])
def test_a_saved_refusal_tells_what_the_server_said(tmp_path: Path, server: str) -> None:
    answer = {"status": "error", "errorType": "bad_data", "error": "parse error: unclosed brace"}
    with pytest.raises(ImportTrouble, match=r"refusal of .*parse error: unclosed brace.*mend the query"):
        read(server, tmp_path, answer)


def test_an_instant_answer_of_prometheus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportTrouble, match="ask for a range"):
        read("prometheus", tmp_path, loki(kind="vector"))


# --------------------------------------------------------------------------------------------------- JSON

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@examples(50)
@given(st.lists(st.lists(JSON, max_size=4), max_size=3), st.sampled_from([None, 1]))
def test_elements_of_documents_are_those_that_a_whole_parse_gives(
    documents: list[list[Any]], indent: int | None
) -> None:
    text = "\n".join(
        json.dumps({"x": [1, {"items": 2}], "items": one, "y": "]"}, indent=indent) for one in documents
    )
    found = [one.value for one in elements(io.BytesIO(text.encode()), "a.json", [("items",)])]
    assert found == [value for one in documents for value in one]


def test_an_element_larger_than_a_block_is_whole() -> None:
    text = json.dumps({"items": ["x" * 700_000, 1]})
    assert [len(str(one.value)) for one in elements(io.BytesIO(text.encode()), "a.json", [("items",)])] == [
        700_000,
        1,
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [('{"items": [1,\n2', 2), ('{"items": [1,\n\n x]}', 3), ("<html>", 1), ('{"items" 1}', 1)],
)
def test_what_is_no_json_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ImportTrouble, match=rf"^a\.json:{line}: is no whole JSON"):
        list(elements(io.BytesIO(text.encode()), "a.json", [("items",)]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("otlp", {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "noon"}]}]}]}),
        ("jaeger", {"data": [{"spans": [{"spanID": "a"}], "processes": {}}]}),
        ("loki", loki({"stream": {}, "values": [["noon", "x"]]})),
        ("prometheus", loki({"metric": {}, "values": [[1772633100, "many"]]}, kind="matrix")),
    ],
)
def test_an_export_of_another_shape_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str, content: Any
) -> None:
    with pytest.raises(ImportTrouble, match=r"export\.json.*; (?:export|ask)"):
        read(name, tmp_path, content)
    assert list((tmp_path / "out").iterdir()) == []

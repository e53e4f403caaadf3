"""OTLP as protobuf, given as the dicts of OTLP JSON: a request's body, or messages with
their length before them.

The bytes do not say whether they hold logs, spans or metrics. Each is tried, and the one whose records make
sense is taken: ids of 16 and 8 bytes for spans, a clock for logs, a name for metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from importers.counting import ImportTrouble
from importers.reading import SourceFile
from project_types import ConfigurationError

MOST_BYTES = 256 << 20
"""The longest message; it is held in memory."""
_LENGTH_BYTES = 4


def is_protobuf(head: bytes) -> bool:
    """Whether content begins like OTLP in protobuf: field 1 with a length, or a length
    of four bytes before that.
    """
    return head[:1] == b"\x0a" or (len(head) > 4 and head[0] in (0, 1) and head[4:5] == b"\x0a")


def resources(file: SourceFile) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (resourceLogs | resourceSpans | resourceMetrics, the resource as OTLP JSON has it).

    Raises:
        ImportTrouble: the file is cut short or no OTLP.
        ConfigurationError: the library is missing.
    """
    for number, message in enumerate(_messages(file), 1):
        for signal, parse in _parsers().items():
            found = parse(message)
            if found:
                yield from ((signal, one) for one in found)
                break
        else:
            if message:
                raise ImportTrouble(
                    f"{file.name}: message {number} is no OTLP in protobuf; export it as JSON"
                )


def _messages(file: SourceFile) -> Iterator[bytes]:
    first = _exactly(file, 1)
    if first == b"\x0a":
        yield first + _exactly(file, MOST_BYTES)
        return
    head = first + _exactly(file, _LENGTH_BYTES - 1)
    while head:
        size = int.from_bytes(head, "big")
        message = _exactly(file, size) if size <= MOST_BYTES else b""
        if len(head) < _LENGTH_BYTES or len(message) < size:
            raise ImportTrouble(f"{file.name}: ends in the middle of a message; export it again")
        yield message
        head = _exactly(file, _LENGTH_BYTES)


def _exactly(file: SourceFile, size: int) -> bytes:
    """Read so many bytes, fewer at the end only."""
    parts, left = [], size
    while left and (part := file.content.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _parsers() -> Mapping[str, Callable[[bytes], list[Mapping[str, Any]] | None]]:
    try:
        from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
        from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
        from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"OTLP in protobuf needs {missing.name}; run: pip install -e '.[importers]'"
        ) from missing
    return {
        "resourceSpans": lambda data: _spans(_parsed(TracesData, data)),
        "resourceLogs": lambda data: _logs(_parsed(LogsData, data)),
        "resourceMetrics": lambda data: _metrics(_parsed(MetricsData, data)),
    }


def _parsed(kind: Any, data: bytes) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return kind.FromString(data)
    except DecodeError:
        return kind()


def _resource(one: Any, scopes: str, records: str, given: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    return {"resource": {"attributes": _pairs(one.resource.attributes)}, scopes: [{records: given}]}


def _pairs(attributes: Any) -> list[Mapping[str, Any]]:
    return [{"key": pair.key, "value": _value(pair.value)} for pair in attributes]


def _value(value: Any) -> Mapping[str, Any]:
    kind = value.WhichOneof("value")
    if kind is None:
        return {}
    held = getattr(value, kind)
    if kind == "array_value":
        return {"arrayValue": {"values": [_value(one) for one in held.values]}}
    if kind == "kvlist_value":
        return {"kvlistValue": {"values": _pairs(held.values)}}
    names = {
        "string_value": "stringValue",
        "int_value": "intValue",
        "double_value": "doubleValue",
        "bool_value": "boolValue",
    }
    return {names.get(kind, "stringValue"): held.hex() if isinstance(held, bytes) else held}


def _spans(data: Any) -> list[Mapping[str, Any]] | None:
    found = []
    for one in data.resource_spans:
        spans = [span for scope in one.scope_spans for span in scope.spans]
        if any(len(span.trace_id) != 16 or len(span.span_id) != 8 for span in spans):
            return None
        found.append(_resource(one, "scopeSpans", "spans", [_span(span) for span in spans]))
    return found if any(one["scopeSpans"][0]["spans"] for one in found) else None


def _span(span: Any) -> Mapping[str, Any]:
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "parentSpanId": span.parent_span_id.hex(),
        "name": span.name,
        "startTimeUnixNano": span.start_time_unix_nano,
        "endTimeUnixNano": span.end_time_unix_nano,
        "status": {"code": span.status.code},
        "events": [
            {"timeUnixNano": event.time_unix_nano, "name": event.name, "attributes": _pairs(event.attributes)}
            for event in span.events
        ],
    }


def _logs(data: Any) -> list[Mapping[str, Any]] | None:
    found = []
    for one in data.resource_logs:
        records = [record for scope in one.scope_logs for record in scope.log_records]
        if any(not (record.time_unix_nano or record.observed_time_unix_nano) for record in records):
            return None
        found.append(_resource(one, "scopeLogs", "logRecords", [_log(record) for record in records]))
    return found if any(one["scopeLogs"][0]["logRecords"] for one in found) else None


def _log(record: Any) -> Mapping[str, Any]:
    return {
        "timeUnixNano": record.time_unix_nano,
        "observedTimeUnixNano": record.observed_time_unix_nano,
        "severityNumber": record.severity_number,
        "severityText": record.severity_text,
        "body": _value(record.body),
        "attributes": _pairs(record.attributes),
        "traceId": record.trace_id.hex(),
        "spanId": record.span_id.hex(),
    }


def _metrics(data: Any) -> list[Mapping[str, Any]] | None:
    found = []
    for one in data.resource_metrics:
        metrics = [metric for scope in one.scope_metrics for metric in scope.metrics]
        if any(not metric.name or not metric.WhichOneof("data") for metric in metrics):
            return None
        found.append(_resource(one, "scopeMetrics", "metrics", [_metric(metric) for metric in metrics]))
    return found if any(one["scopeMetrics"][0]["metrics"] for one in found) else None


def _metric(metric: Any) -> Mapping[str, Any]:
    kind = metric.WhichOneof("data")
    points = [_point(point) for point in getattr(metric, kind).data_points]
    name = "exponentialHistogram" if kind == "exponential_histogram" else kind
    return {"name": metric.name, name: {"dataPoints": points}}


def _point(point: Any) -> Mapping[str, Any]:
    made: dict[str, Any] = {"timeUnixNano": point.time_unix_nano, "attributes": _pairs(point.attributes)}
    if hasattr(point, "as_double"):
        kind = point.WhichOneof("value")
        return made | ({"asDouble" if kind == "as_double" else "asInt": getattr(point, kind)} if kind else {})
    return made | {"count": point.count, "sum": point.sum}

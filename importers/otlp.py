"""OpenTelemetry's logs, spans and metrics: OTLP as JSON, or as protobuf.

JSON is parsed by hand, because ids are hexadecimal there and the protobuf library would read them as base64.
A file holds one object, or one a line as the collector's file exporter writes it. Protobuf is a request's
body, or messages with their length before them (`otlp_protobuf`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.service_names import UNNAMED, service_name
from importers.clocks import of_number
from importers.counting import ImportTrouble
from importers.draft import Draft, Output
from importers.levels import level_in, level_named, level_of_otlp
from importers.options import Options
from importers.reading import Source, SourceFile, peeked
from importers.rows import LogRow, SpanRow, as_attributes
from project_types import LevelName, Scalar

_SIGNALS = {
    "resourceLogs": ("scopeLogs", "logRecords"),
    "resourceSpans": ("scopeSpans", "spans"),
    "resourceMetrics": ("scopeMetrics", "metrics"),
}
_SERVICE_KEYS = (
    "service.name",
    "k8s.deployment.name",
    "k8s.container.name",
    "container.name",
    "k8s.pod.name",
)
_STATUS = {0: "unknown", 1: "ok", 2: "error", "STATUS_CODE_UNSET": "unknown", "STATUS_CODE_OK": "ok",
           "STATUS_CODE_ERROR": "error"}  # fmt: skip
_MOST_SERIES_NAME = 300


def read(source: Source, output: Output, options: Options) -> None:
    """Write one incident of all files."""
    with output.incident(f"otlp {source.where}") as draft:
        for file in source.files():
            draft.next_file()
            read_file(source, file, draft, options)


def read_file(source: Source, file: SourceFile, draft: Draft, options: Options) -> None:
    """Take the rows of one file into a draft."""
    from importers.otlp_protobuf import is_protobuf, resources

    head, file = peeked(file)
    found: Iterator[tuple[str, Mapping[str, Any]]]
    if is_protobuf(head):
        found = resources(file)
    else:
        wanted = [(name,) for name in _SIGNALS] + [("data", name) for name in _SIGNALS]
        wanted += [("result", "resourceSpans")]  # Jaeger's API version 3
        found = ((one.path[-1], one.value) for one in source.elements(file, wanted))
    number = 0
    for number, (signal, resource) in enumerate(found, 1):
        try:
            take_resource(signal, resource, draft, options)
        except (TypeError, ValueError, AttributeError, LookupError) as trouble:
            raise ImportTrouble(
                f"{file.name}: {signal} number {number} is no OTLP ({type(trouble).__name__}: {trouble}); export it again"
            ) from trouble
    if not number:
        source.counts.drop("file without resourceLogs, resourceSpans or resourceMetrics")


def take_resource(signal: str, resource: Mapping[str, Any], draft: Draft, options: Options) -> None:
    """Take what one resource sent."""
    scopes, records = _SIGNALS[signal]
    about = attributes(resource.get("resource", {}).get("attributes"))
    service = next((str(about[key]) for key in _SERVICE_KEYS if about.get(key)), options.service or UNNAMED)
    take = {"resourceLogs": _log, "resourceSpans": _span, "resourceMetrics": _metric}[signal]
    for scope in resource.get(scopes) or resource.get("instrumentationLibrary" + scopes[5:], ()):
        for record in scope.get(records, ()):
            take(record, service_name(service), draft)


def value_of(held: Any) -> Any:
    """Return the value of OTLP's AnyValue."""
    if not isinstance(held, Mapping) or not held:
        return held if not isinstance(held, Mapping) else None
    kind, value = next(iter(held.items()))
    if kind == "intValue":
        return int(value)
    if kind == "arrayValue":
        return [value_of(one) for one in value.get("values", ())]
    if kind == "kvlistValue":
        return attributes(value.get("values"))
    return value


def attributes(pairs: Any) -> dict[str, Any]:
    """Return OTLP's list of key and value as a dict."""
    return {str(pair["key"]): value_of(pair.get("value")) for pair in pairs or ()}


def _time(record: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        if (value := int(record.get(name) or 0)) > 0:
            return value
    return None


def _id(value: Any) -> str | None:
    """Return a hexadecimal id; one of zeros is none."""
    return value.lower() if isinstance(value, str) and value.strip("0") else None


def _log(record: Mapping[str, Any], service: str, draft: Draft) -> None:
    body = value_of(record.get("body"))
    message = "" if body is None else str(body)
    own = attributes(record.get("attributes"))
    name = record.get("eventName") or own.pop("exception.message", None)
    draft.log(
        LogRow(
            _time(record, "timeUnixNano", "observedTimeUnixNano"),
            service,
            _level(record, message),
            message or str(name or ""),
            _id(record.get("traceId")),
            _id(record.get("spanId")),
            as_attributes(own),
        )
    )


def _level(record: Mapping[str, Any], message: str) -> LevelName:
    number = record.get("severityNumber", 0)
    if isinstance(number, str):  # the enum's name: SEVERITY_NUMBER_WARN2
        named = level_named(number.rpartition("_")[2].rstrip("234"))
        number = 0 if named is None else {"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}[named]
    level = level_of_otlp(int(number))
    return level if level != "UNKNOWN" else level_named(record.get("severityText")) or level_in(message)


def _span(record: Mapping[str, Any], service: str, draft: Draft) -> None:
    start = _time(record, "startTimeUnixNano")
    trace, span = _id(record.get("traceId")), _id(record.get("spanId"))
    if start is None or trace is None or span is None:
        draft.counts.drop("span without a clock or an id")
        return
    end = _time(record, "endTimeUnixNano") or start
    status = _STATUS.get((record.get("status") or {}).get("code", 0), "unknown")
    draft.span(
        SpanRow(
            trace,
            span,
            _id(record.get("parentSpanId")),
            service,
            str(record.get("name", "")),
            start,
            end - start,
            status,
        )
    )
    for event in record.get("events", ()):
        told = attributes(event.get("attributes"))
        text = str(event.get("name", "")) + "".join(f" {key}={value}" for key, value in told.items())
        level: LevelName = "ERROR" if event.get("name") == "exception" else level_in(text)
        draft.log(LogRow(_time(event, "timeUnixNano"), service, level, text, trace, span))


def _metric(record: Mapping[str, Any], service: str, draft: Draft) -> None:
    name = str(record.get("name", "metric"))
    for kind in ("gauge", "sum", "histogram", "exponentialHistogram", "summary"):
        for point in (record.get(kind) or {}).get("dataPoints", ()):
            at_ns = _time(point, "timeUnixNano")
            if at_ns is None or of_number(at_ns) is None:
                draft.counts.drop("metric point without a clock")
                continue
            series = _series(name, attributes(point.get("attributes")))
            for ending, value in _values(point):
                draft.point(service, series + ending, at_ns, value)


def _series(name: str, labels: Mapping[str, Scalar]) -> str:
    told = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return f"{name}{{{told}}}"[:_MOST_SERIES_NAME] if told else name


def _values(point: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the values of a point; of a histogram its count and its mean."""
    for field in ("asDouble", "asInt"):
        if point.get(field) is not None:
            yield "", float(point[field])
            return
    count, total = float(point.get("count") or 0), point.get("sum")
    yield "_count", count
    if count and total is not None:
        yield "_mean", float(total) / count

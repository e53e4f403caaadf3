"""Traces that Jaeger exports as JSON: its own form, and OTLP JSON as its API version 3 answers.

The service of a span is that of its process. A span failed when it is tagged so. What a span logged
becomes log rows of its trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.service_names import UNNAMED, service_name
from importers import otlp
from importers.counting import ImportTrouble
from importers.draft import Draft, Output
from importers.levels import level_in, level_named
from importers.options import Options
from importers.reading import Source, SourceFile
from importers.rows import LogRow, SpanRow
from project_types import LevelName

_MICROSECOND_NS = 1000
_OTLP = ("result", "resourceSpans")


def read(source: Source, output: Output, options: Options) -> None:
    """Write one incident of all files."""
    with output.incident(f"jaeger {source.where}") as draft:
        for file in source.files():
            draft.next_file()
            read_file(source, file, draft, options)


def read_file(source: Source, file: SourceFile, draft: Draft, options: Options) -> None:
    """Take the traces of one file into a draft."""
    found = False
    for element in source.elements(file, [("data",), _OTLP, ("resourceSpans",)]):
        found = True
        try:
            if element.path == ("data",):
                _trace(element.value, draft)
            else:
                otlp.take_resource("resourceSpans", element.value, draft, options)
        except (TypeError, ValueError, AttributeError, LookupError) as trouble:
            raise ImportTrouble(
                f"{file.name}:{element.line}: is no trace as Jaeger exports it ({type(trouble).__name__}: {trouble}); "
                "export it again"
            ) from trouble
    if not found:
        source.counts.drop("file without data of Jaeger")


def _trace(trace: Mapping[str, Any], draft: Draft) -> None:
    services = {
        key: service_name(str(one.get("serviceName") or UNNAMED)) for key, one in trace["processes"].items()
    }
    owner = {span["spanID"]: services.get(span.get("processID"), UNNAMED) for span in trace["spans"]}
    for span in trace["spans"]:
        service = owner[span["spanID"]]
        start_ns = int(span["startTime"]) * _MICROSECOND_NS
        parent = _parent(span)
        if parent in owner and owner[parent] != service:
            draft.edge(owner[parent], service)
        draft.span(
            SpanRow(
                span["traceID"], span["spanID"], parent, service, str(span.get("operationName", "")), start_ns,
                int(span["duration"]) * _MICROSECOND_NS, _status(span.get("tags") or ()),
            )
        )  # fmt: skip
        for entry in span.get("logs") or ():
            draft.log(_logged(entry, service, span))


def _parent(span: Mapping[str, Any]) -> str | None:
    references = [one for one in span.get("references") or () if one.get("refType", "CHILD_OF") == "CHILD_OF"]
    found = references[0]["spanID"] if references else span.get("parentSpanID")
    return str(found) if found and str(found).strip("0") else None


def _status(tags: Sequence[Mapping[str, Any]]) -> str:
    told = {str(tag.get("key")): tag.get("value") for tag in tags}
    if str(told.get("error", "")).lower() == "true" or told.get("otel.status_code") == "ERROR":
        return "error"
    if told.get("otel.status_code") == "OK" or str(told.get("error", "")).lower() == "false":
        return "ok"
    return "unknown"


def _logged(entry: Mapping[str, Any], service: str, span: Mapping[str, Any]) -> LogRow:
    told = {str(field["key"]): field.get("value") for field in entry.get("fields") or ()}
    level: LevelName | None = level_named(told.pop("level", None))
    first = [str(told.pop(key)) for key in ("event", "message") if told.get(key)]
    text = " ".join([*first, *(f"{key}={value}" for key, value in told.items())])
    if level is None:
        level = "ERROR" if first and first[0] in ("error", "exception") else level_in(text)
    at_ns = int(entry["timestamp"]) * _MICROSECOND_NS
    return LogRow(at_ns, service, level, text, span["traceID"], span["spanID"])

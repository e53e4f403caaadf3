"""Logs of Loki: the answer to a range query from a file, or page by page from the server.

A server cuts an answer at its limit and does not say so. So pages are asked for by time, oldest first,
until one is not full; and a file that holds exactly a usual limit is said to be cut. Structured
metadata becomes attributes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from core.service_names import UNNAMED, service_name, workload
from importers.asking import Refused, ask, no_answer_of, read_or_ask, results, seconds_text, window
from importers.counting import Counts, ImportTrouble
from importers.draft import Draft, Output
from importers.levels import level_in, level_named
from importers.options import Options
from importers.reading import Source, SourceFile
from importers.rows import LogRow, as_attributes
from importers.text_formats import Forms, Setting

PAGE = 5000
"""Rows that are asked for at once; what most servers allow."""
USUAL_LIMITS = (100, 1000, 5000)
_SERVICE_KEYS = (
    "service_name",
    "service",
    "app",
    "app_kubernetes_io_name",
    "container",
    "job",
    "component",
    "pod",
)
_LEVEL_KEYS = ("level", "detected_level", "severity", "lvl")
_PATH = "/loki/api/v1/query_range"


def read(source: Source, output: Output, options: Options) -> None:
    """Write one incident."""
    read_or_ask("loki", source, output, options, read_file=read_file, ask_server=_ask_all)


def read_file(source: Source, file: SourceFile, draft: Draft, options: Options) -> None:
    """Take the streams of one answer into a draft."""
    rows = 0
    for element in results(source, file, "Loki", _check_type):
        try:
            rows += _stream(element.value, draft, options)
        except (TypeError, ValueError, AttributeError, LookupError) as trouble:
            raise ImportTrouble(
                f"{file.name}:{element.line}: is no stream of Loki ({type(trouble).__name__}: {trouble}); export it again"
            ) from trouble
    if rows in USUAL_LIMITS:
        _note_cut(draft.counts, f"{file.name}: holds exactly {rows:,} rows, a usual limit")


def _check_type(kind: Any, name: str) -> None:
    if kind != "streams":
        raise ImportTrouble(
            f"{name}: holds a {kind}, the answer to a metric query; ask for log lines: "
            'a query such as {app="cart"} without rate() or count_over_time()'
        )


def _note_cut(counts: Counts, what: str) -> None:
    counts.note(
        f"{what}: the server's limit has probably cut it; ask the server page by page (a URL as SOURCE)"
    )


def _stream(stream: Mapping[str, Any], draft: Draft, options: Options) -> int:
    """Take one stream; returns how many rows it has."""
    labels = {str(key): str(value) for key, value in stream["stream"].items()}
    for at, text, *rest in stream["values"]:
        held = rest[0] if rest and isinstance(rest[0], Mapping) else {}
        known = {
            **labels,
            **held.get("parsed", {}),
            **held.get("structuredMetadata", held if "parsed" not in held else {}),
        }
        draft.log(_row(int(at), str(text), known, labels, options))
    return len(stream["values"])


def _row(
    at_ns: int, text: str, known: Mapping[str, Any], labels: Mapping[str, str], options: Options
) -> LogRow:
    said = _FORMS.read(text)
    level = next((found for key in _LEVEL_KEYS if (found := level_named(known.get(key)))), None)
    trace, span = known.get("trace_id") or known.get("traceID"), known.get("span_id") or known.get("spanID")
    extra = {
        key: value for key, value in known.items() if key not in labels and key not in ("trace_id", "span_id")
    }
    said_trace, said_span = (said.trace_id, said.span_id) if said else (None, None)
    return LogRow(
        at_ns,
        _service(known, options),
        level or (said.level if said else level_in(text)),
        said.message if said else text,
        str(trace) if trace else said_trace,
        str(span) if span else said_span,
        {**(said.attributes if said else {}), **as_attributes(extra)},
    )


_FORMS = Forms(Setting(datetime(1970, 1, 1, tzinfo=UTC)))
"""Reads what a program wrote; the clock is Loki's."""


def _service(known: Mapping[str, Any], options: Options) -> str:
    name = next((str(known[key]) for key in _SERVICE_KEYS if known.get(key)), options.service or UNNAMED)
    return service_name(workload(name.rpartition("/")[2]))


# --------------------------------------------------------------------------------------------------- a server


def _ask_all(url: str, draft: Draft, options: Options) -> None:
    """Ask page by page, oldest first. A page begins in the nanosecond in which the one before ended."""
    if not options.query:
        raise ImportTrouble("--query is missing: say which streams, e.g. --query '{namespace=\"shop\"}'")
    start, end = window(options)
    limit, seen = PAGE, set[tuple[str, str]]()
    while start <= end:
        streams, limit = _page(url, options.query, start, end, limit)
        rows = [
            (int(value[0]), str(one["stream"]), str(value[1])) for one in streams for value in one["values"]
        ]
        draft.counts.lines += len(rows)
        last = max((at for at, _, _ in rows), default=end)
        fresh = [_without(one, start, seen) for one in streams]
        for one in fresh:
            _stream(one, draft, options)
        if len(rows) < limit:
            return
        seen = {(labels, text) for at, labels, text in rows if at == last}
        if last == start and not any(one["values"] for one in fresh):
            draft.counts.note(
                f"more than {limit:,} rows have the clock {seconds_text(last)}: the server's limit cut them; narrow --query"
            )
            last += 1
        start = last


def _without(stream: Mapping[str, Any], start: int, seen: set[tuple[str, str]]) -> Mapping[str, Any]:
    """Leave out what the page before had of the nanosecond in which this one begins."""
    labels = str(stream["stream"])
    kept = [one for one in stream["values"] if not (int(one[0]) == start and (labels, str(one[1])) in seen)]
    return {"stream": stream["stream"], "values": kept}


def _page(url: str, query: str, start: int, end: int, limit: int) -> tuple[Sequence[Mapping[str, Any]], int]:
    """Ask for one page. A server that allows fewer rows is asked for so many, and the limit is returned."""
    asked: dict[str, str | int] = {"query": query, "start": start, "end": end + 1, "direction": "forward"}
    try:
        answer = ask(url, _PATH, {**asked, "limit": limit})
    except Refused as refused:
        allowed = re.search(r"limit.*?\(\d+ > (\d+)\)", refused.said)
        if not allowed:
            raise
        limit = int(allowed[1])
        answer = ask(url, _PATH, {**asked, "limit": limit})
    try:
        data = answer["data"]
        _check_type(data["resultType"], url)
        streams: Sequence[Mapping[str, Any]] = data["result"]
    except (TypeError, LookupError) as trouble:
        raise no_answer_of("Loki", url) from trouble
    return streams, limit

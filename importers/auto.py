"""Anything that a format can be seen of: labelled data sets by their files, everything else file by file.

A folder may hold pod logs, traces, metrics and events together; they become one incident. A file is known by
how it begins, and what no format is known of is read as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from itertools import islice
from pathlib import Path

from core.archives import members
from importers import jaeger, k8s, loki, otlp, prometheus, text
from importers.draft import Draft, Output
from importers.options import Options
from importers.otlp_protobuf import is_protobuf
from importers.reading import LIMITS, Source, SourceFile, files_below, peeked

_MOST_NAMES = 400
"""Names of an archive's files that are looked at."""
DATA_SETS: Mapping[str, re.Pattern[str]] = {
    "nezha": re.compile(r"-fault_list\.json$"),
    "rcaeval": re.compile(r"(?:^|/)inject_time\.txt$"),
    "openrca": re.compile(r"(?:^|/)record\.csv$"),
    "rcabench": re.compile(r"(?:^|/)injection\.json$"),
    "sct": re.compile(r"(?:^|/)(?:actions|raw_events)\.log(?:\.zst)?$|sct-runner-events"),
}
"""A file that only this data set has."""
ReadFile = Callable[[Source, SourceFile, Draft, Options], None]
_BEGINNINGS: tuple[tuple[re.Pattern[bytes], ReadFile], ...] = (
    (re.compile(rb'"resource(?:Logs|Spans|Metrics)"'), otlp.read_file),
    (re.compile(rb'"resultType"\s*:\s*"streams"'), loki.read_file),
    (re.compile(rb'"resultType"'), prometheus.read_file),
    (re.compile(rb'"(?:processID|processes)"\s*:'), jaeger.read_file),
    (re.compile(rb'"(?:involvedObject|regarding)"\s*:|"kind"\s*:\s*"(?:Event|EventList)"'), k8s.read_file),
)
"""Which JSON has such words near its beginning, the more telling ones first."""


def read(source: Source, output: Output, options: Options) -> None:
    """Write what the source is seen to hold."""
    name = data_set(source)
    if name:
        import_module(f"importers.{name}").read(source, output, options)
        return
    with output.incident(f"auto {source.where}") as draft:
        for file in source.files():
            draft.next_file()
            head, file = peeked(file)
            reader_of(head)(source, file, draft, options)


def data_set(source: Source) -> str | None:
    """Return the importer of the data set that the source is, if it is one."""
    if source.is_url:
        return None
    names = list(_names(source.path))
    for name, pattern in DATA_SETS.items():
        if any(pattern.search(one) for one in names):
            return name
    return None


def _names(path: Path) -> Iterable[str]:
    if path.is_dir():
        return [one.relative_to(path).as_posix() for one in files_below(path)]
    with path.open("rb") as stream:
        return [
            path.name,
            *(one.name.partition("!")[2] for one in islice(members(stream, path.name, LIMITS), _MOST_NAMES)),
        ]


def reader_of(head: bytes) -> ReadFile:
    """Return what reads a file that begins so."""
    if is_protobuf(head) and b"\0" in head:
        return otlp.read_file
    if head.lstrip()[:1] in (b"{", b"["):
        for pattern, reader in _BEGINNINGS:
            if pattern.search(head):
                return reader
    return text.read_file

"""Metrics of Prometheus: the answer to a range query, from a file or from the server.

A series belongs to the service that its labels name; the other labels are part of its name. A server is asked
for the time that was given and never for now, in steps that its limit of 11,000 points allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from core.service_names import UNNAMED, service_name, workload
from importers.asking import ask, no_answer_of, read_or_ask, results, window
from importers.clocks import SECOND_NS, of_number
from importers.counting import ImportTrouble
from importers.draft import Draft, Output
from importers.options import Options
from importers.reading import Source, SourceFile

MOST_POINTS = 10_000
"""Of one series; a server refuses more than 11,000."""
SHORTEST_STEP_S = 15
_SERVICE_KEYS = (
    "service",
    "service_name",
    "app",
    "container",
    "deployment",
    "destination_workload",
    "job",
    "pod",
    "instance",
)
_MOST_NAME = 300


def read(source: Source, output: Output, options: Options) -> None:
    """Write one incident."""
    read_or_ask("prometheus", source, output, options, read_file=read_file, ask_server=_ask_server)


def read_file(source: Source, file: SourceFile, draft: Draft, options: Options) -> None:
    """Take the series of one answer into a draft."""
    for element in results(source, file, "Prometheus", _check_type):
        try:
            _series(element.value, draft, options)
        except (TypeError, ValueError, AttributeError, LookupError) as trouble:
            raise ImportTrouble(
                f"{file.name}:{element.line}: is no series of Prometheus ({type(trouble).__name__}: {trouble}); ask again"
            ) from trouble


def _check_type(kind: Any, name: str) -> None:
    if kind != "matrix":
        raise ImportTrouble(
            f"{name}: holds a {kind}; ask for a range: /api/v1/query_range with start, end and step"
        )


def _series(series: Mapping[str, Any], draft: Draft, options: Options) -> None:
    labels = {str(key): str(value) for key, value in series["metric"].items()}
    name = labels.pop("__name__", options.query or "value")
    owner = next((key for key in _SERVICE_KEYS if labels.get(key)), None)
    service = labels.pop(owner) if owner else options.service or UNNAMED
    if owner in ("pod", "instance"):
        labels[owner] = service
    told = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    full = f"{name}{{{told}}}"[:_MOST_NAME] if told else name[:_MOST_NAME]
    for at, value in series["values"]:
        at_ns = of_number(at)
        if at_ns is None:
            draft.counts.drop("metric point without a clock")
        else:
            draft.point(service_name(workload(service)), full, at_ns, float(value))


def _ask_server(url: str, draft: Draft, options: Options) -> None:
    if not options.query:
        raise ImportTrouble(
            "--query is missing: say what to read, e.g. --query 'rate(http_requests_total[1m])'"
        )
    start, end = window(options)
    step = max(SHORTEST_STEP_S, math.ceil((end - start) / SECOND_NS / MOST_POINTS))
    asked: dict[str, str | int] = {
        "query": options.query,
        "start": f"{start / SECOND_NS:.3f}",
        "end": f"{end / SECOND_NS:.3f}",
        "step": step,
    }
    answer = ask(url, "/api/v1/query_range", asked)
    try:
        _check_type(answer["data"]["resultType"], url)
        for series in answer["data"]["result"]:
            draft.counts.lines += 1
            _series(series, draft, options)
    except (TypeError, ValueError, AttributeError, LookupError) as trouble:
        raise no_answer_of("Prometheus", url) from trouble

"""Events of a Kubernetes cluster, of both API versions, and the pod logs beside them.

`kubectl get events -A -o json` gives a List; a watch gives one object a line. A counted event is one
event with a first and a last occurrence. It belongs to the workload of its object, so that it stands
among that service's rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from core.service_names import UNNAMED, service_name, workload
from importers import text
from importers.clocks import moment
from importers.counting import ImportTrouble
from importers.draft import Draft, Output
from importers.options import Options
from importers.reading import Source, SourceFile
from importers.rows import EventRow

_REPLICA_SET = re.compile(r"(?P<name>.+)-(?:[bcdfghjklmnpqrstvwxz2456789]{6,10}|[0-9a-f]{8,10})")
_EVENTS = re.compile(r"events?[^/]*\.(?:json|jsonl|ndjson)$", re.IGNORECASE)


def read(source: Source, output: Output, options: Options) -> None:
    """Write one incident of all files."""
    with output.incident(f"k8s {source.where}") as draft:
        for file in source.files():
            draft.next_file()
            if is_events(file) or source.where.endswith(file.name):
                read_file(source, file, draft, options)
            else:
                text.read_file(source, file, draft, options)


def is_events(file: SourceFile) -> bool:
    """Whether a file's name says that it holds events."""
    return _EVENTS.search(file.name) is not None


def read_file(source: Source, file: SourceFile, draft: Draft, options: Options) -> None:
    """Take the events of one file into a draft."""
    found = False
    # a List, a watch's object by object, or events one by one
    for element in source.elements(file, [("items",), ("object",), ()]):
        one = element.value
        if not isinstance(one, Mapping) or one.get("kind", "Event") != "Event" or not _object(one):
            source.counts.drop("object that is no Event")
            continue
        found = True
        try:
            draft.event(_event(one))
        except (TypeError, ValueError, AttributeError, LookupError) as trouble:
            raise ImportTrouble(
                f"{file.name}:{element.line}: is no Event of Kubernetes ({type(trouble).__name__}: {trouble}); "
                "export again: kubectl get events -A -o json"
            ) from trouble
    if not found:
        source.counts.note(f"{file.name}: holds no Event; export with: kubectl get events -A -o json")


def _object(event: Mapping[str, Any]) -> Mapping[str, Any]:
    found = event.get("involvedObject") or event.get("regarding") or {}
    return found if isinstance(found, Mapping) else {}


def _event(event: Mapping[str, Any]) -> EventRow:
    about, series = _object(event), event.get("series") or {}
    count = event.get("count") or event.get("deprecatedCount") or series.get("count") or 1
    created = (event.get("metadata") or {}).get("creationTimestamp")
    own = event.get("eventTime") or created
    last = (
        event.get("lastTimestamp")
        or series.get("lastObservedTime")
        or event.get("deprecatedLastTimestamp")
        or own
    )
    first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp") or own
    kind, name = str(about.get("kind", "")), str(about.get("name", ""))
    return EventRow(
        moment(last),
        moment(first) if moment(first) != moment(last) else None,
        service_of(kind, name),
        f"{kind}/{name}",
        str(event.get("reason") or ""),
        str(event.get("message") or event.get("note") or ""),
        event.get("type") == "Warning",
        int(count),
    )


def service_of(kind: str, name: str) -> str:
    """Return the service that an object belongs to."""
    if kind == "ReplicaSet" and (found := _REPLICA_SET.fullmatch(name)):
        name = found["name"]
    elif kind in ("Pod", "Job"):
        name = workload(name)
    return service_name(name, UNNAMED)

"""The graph of an incident as one self-contained HTML page: coloured by probability, the
path drawn, a time slider.

Nothing is loaded from anywhere, and a policy in the page forbids it. Names and texts come from logs, so they
are escaped. Services stand in columns by how far they are from the users. The slider shows each service's
furthest metric score at a moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment

from core.files import replace_file
from graph_rca.explain import Reason, clock
from graph_rca.findings import Arrow, Because, Drawing, Finding, Node, Suspect, finding_path
from graph_rca.graph import IncidentGraph
from graph_rca.metrics import grid
from graph_rca.rank import Ranked
from project_types import Incident

COLUMN, ROW, TOP = 210, 58, 40
MOST_STEPS = 90


def finding_of(
    incident: Incident, found: Ranked, why: Mapping[int, Sequence[Reason]], took_ms: float, limit: int = 20
) -> Finding:
    """Return a ranking with its first services, their reasons, and the drawing."""
    graph = found.graph
    suspects = [
        Suspect(service=graph.services[place], probability=round(float(found.probabilities[place]), 4),
                reasons=tuple(map(because, why.get(place, ()))))
        for place in found.order[:limit]
    ]  # fmt: skip
    return Finding(
        incident=graph.id, title=incident.description[:500], at=datetime.now(UTC), noticed=clock(graph.alert),
        ranker=found.ensemble.name, milliseconds=round(took_ms, 1), missing=graph.missing, path=tuple(found.path()),
        services=tuple(suspects), drawing=drawing_of(found),
    )  # fmt: skip


def because(reason: Reason) -> Because:
    """Return a reason as it is written."""
    return Because(without=reason.what, drop=round(reason.drop, 4), text=reason.text, attention=reason.attention,
                   evidence=reason.evidence)  # fmt: skip


def page(finding: Finding) -> str:
    """Return the page as HTML."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("graph_rca").joinpath("page.html").read_text(encoding="utf-8"))
    drawing = finding.drawing
    frames = {"times": drawing.times, "scores": drawing.scores}
    return template.render(finding=finding, drawing=drawing, frames=_script_json(frames))


def write_finding(finding: Finding, folder: Path) -> Path:
    """Write a finding and its page, and return the page. Raises OSError."""
    path = finding_path(folder, finding.incident)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(path, f"{finding.model_dump_json(indent=1)}\n".encode())
    shown = path.with_suffix("").with_suffix(".html")
    replace_file(shown, page(finding).encode())
    return shown


# ------------------------------------------------------------------------------------------- the drawing


def drawing_of(found: Ranked) -> Drawing:
    """Return the graph as a picture."""
    graph, order = found.graph, found.order
    places = layout(graph)
    path = set(pairwise(found.path()))
    nodes = [
        Node(service=graph.services[place], x=x, y=y, probability=float(found.probabilities[place]),
             rank=order.index(place) + 1)
        for place, (x, y) in enumerate(places)
    ]  # fmt: skip
    times, scores = frames(graph)
    return Drawing(
        width=max(x for x, _ in places) + COLUMN, height=max(y for _, y in places) + ROW + TOP, nodes=tuple(nodes),
        arrows=tuple(_arrow(graph, call, places, path) for call in graph.calls), times=times, scores=scores,
    )  # fmt: skip


def _arrow(
    graph: IncidentGraph, call: tuple[int, int], places: Sequence[tuple[int, int]], path: set[tuple[str, str]]
) -> Arrow:
    (x1, y1), (x2, y2) = (places[one] for one in call)
    caller, callee = (graph.services[one] for one in call)
    # trouble travels against the direction of calls
    return Arrow(x1=x1 + 150, y1=y1 + 18, x2=x2, y2=y2 + 18, on_path=(callee, caller) in path)


def layout(graph: IncidentGraph) -> list[tuple[int, int]]:
    """Return (x, y) of each service: columns by calls from an entry, rows by name."""
    callers: dict[int, list[int]] = {}
    for caller, callee in graph.calls:
        callers.setdefault(callee, []).append(caller)
    depth = {place: 0 for place in range(len(graph.services)) if not callers.get(place)} or {0: 0}
    waiting = list(depth)
    callees: dict[int, list[int]] = {}
    for caller, callee in graph.calls:
        callees.setdefault(caller, []).append(callee)
    for here in waiting:  # grows while it is read: breadth first
        for callee in callees.get(here, ()):
            if callee not in depth:
                depth[callee] = depth[here] + 1
                waiting.append(callee)
    taken: dict[int, int] = {}
    found = []
    for place in range(len(graph.services)):
        column = depth.get(place, 0)
        row = taken[column] = taken.get(column, -1) + 1
        found.append((20 + column * COLUMN, TOP + row * ROW))
    return found


def frames(graph: IncidentGraph) -> tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]:
    """Return moments, and the furthest metric score of each service at each of them: (services, moments)."""
    times = grid(graph.windows)
    chosen = np.unique(np.linspace(0, max(0, len(times) - 1), min(MOST_STEPS, len(times))).astype(int))
    scores = np.zeros((len(graph.services), len(times)))
    place = {name: number for number, name in enumerate(graph.services)}
    for one in graph.moved:
        row = scores[place[one.service]]
        np.maximum(row, np.abs(one.scores), out=row)
    shown = np.round(scores[:, chosen], 1)
    return tuple(clock(float(times[step])) for step in chosen), tuple(map(tuple, shown.tolist()))


def _script_json(data: object) -> Any:
    """Return JSON that cannot end a script element."""
    from markupsafe import Markup

    return Markup(json.dumps(data).replace("<", "\\u003c").replace("&", "\\u0026"))

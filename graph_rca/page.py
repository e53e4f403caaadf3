"""The graph of an incident as one self-contained HTML page: coloured by probability, the path drawn, a time slider.

Nothing is loaded from anywhere, and a policy in the page forbids it. Names and texts come from logs, so they are
escaped. Services stand in columns by how far they are from the users. The slider shows each service's furthest metric
score at a moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment

from graph_rca.explain import Reason, clock
from graph_rca.graph import IncidentGraph
from graph_rca.metrics import grid
from graph_rca.rank import Ranked
from project_types import Incident

COLUMN, ROW, TOP = 210, 58, 40
MOST_STEPS = 90
_RED = (200, 45, 45)
_GREY = (228, 231, 235)


def page(incident: Incident, found: Ranked, why: Mapping[int, Sequence[Reason]]) -> str:
    """Return the page as HTML."""
    graph = found.graph
    places = layout(graph)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("graph_rca").joinpath("page.html").read_text(encoding="utf-8"))
    path = set(zip(found.path()[:-1], found.path()[1:], strict=True))
    width = max(x for x, _ in places) + COLUMN
    height = max(y for _, y in places) + ROW + TOP
    return template.render(
        title=incident.description[:200], incident=incident.id, ranker=found.ensemble.name, missing=graph.missing,
        width=width, height=height, path=found.path(), nodes=_nodes(found, places), edges=_edges(graph, places, path),
        rows=_rows(found, why), frames=_script_json(frames(graph)), alert=clock(graph.alert),
    )  # fmt: skip


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


def _nodes(found: Ranked, places: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    order = found.order
    return [
        {"name": found.graph.services[place], "x": x, "y": y, "colour": _colour(float(found.probabilities[place])),
         "share": f"{100 * found.probabilities[place]:.1f} %", "rank": order.index(place) + 1, "place": place}
        for place, (x, y) in enumerate(places)
    ]  # fmt: skip


def _colour(share: float) -> str:
    parts = [round(grey + (red - grey) * share**0.5) for grey, red in zip(_GREY, _RED, strict=True)]
    return f"rgb({parts[0]},{parts[1]},{parts[2]})"


def _edges(
    graph: IncidentGraph, places: Sequence[tuple[int, int]], path: set[tuple[str, str]]
) -> list[dict[str, Any]]:
    found = []
    for caller, callee in graph.calls:
        (x1, y1), (x2, y2) = places[caller], places[callee]
        # trouble travels against the direction of calls
        on_path = (graph.services[callee], graph.services[caller]) in path
        found.append({"x1": x1 + 150, "y1": y1 + 18, "x2": x2, "y2": y2 + 18, "path": on_path})
    return found


def _rows(found: Ranked, why: Mapping[int, Sequence[Reason]]) -> list[dict[str, Any]]:
    return [
        {"name": found.graph.services[place], "share": f"{100 * found.probabilities[place]:.1f} %",
         "reasons": [(f"{100 * one.drop:.0f}", one.what, one.text, ", ".join(f"{e.kind} {e.id}" for e in one.evidence))
                     for one in why.get(place, ())]}
        for place in found.order[:12]
    ]  # fmt: skip


def frames(graph: IncidentGraph) -> dict[str, Any]:
    """Return the furthest metric score of each service at each moment, and the moments."""
    times = grid(graph.windows)
    chosen = np.unique(np.linspace(0, max(0, len(times) - 1), min(MOST_STEPS, len(times))).astype(int))
    scores = np.zeros((len(graph.services), len(times)))
    place = {name: number for number, name in enumerate(graph.services)}
    for one in graph.moved:
        row = scores[place[one.service]]
        np.maximum(row, np.abs(one.scores), out=row)
    return {
        "times": [clock(float(times[step])) for step in chosen],
        "scores": np.round(scores[:, chosen], 1).tolist(),
    }


def _script_json(data: object) -> Any:
    """Return JSON that cannot end a script element."""
    from markupsafe import Markup

    return Markup(json.dumps(data).replace("<", "\\u003c").replace("&", "\\u0026"))

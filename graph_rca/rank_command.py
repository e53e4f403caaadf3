"""The command behind `python -m graph_rca rank`: a table of services, their probabilities and reasons."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from core.command_line import printable
from graph_rca.explain import Reason, reasons
from graph_rca.page import page
from graph_rca.rank import Ranked, ranked
from graph_rca.weights import Ensemble, load_ensemble, shipped
from importers.opening import opened
from importers.options import Options
from project_types import Incident

EXPLAINED = 3
"""Services that get reasons."""


def command(arguments: argparse.Namespace) -> int:
    """Rank and print. Returns 0."""
    incident = incident_of(arguments)
    chosen = chosen_weights(arguments)
    started = time.perf_counter()
    found = ranked(incident, chosen)
    took_ms = 1000 * (time.perf_counter() - started)
    why = {place: reasons(found, place) for place in found.order[:EXPLAINED]}
    if arguments.json:
        print(json.dumps(as_json(found, why, arguments.limit, took_ms), indent=1))
    else:
        print("\n".join(map(printable, table(found, why, arguments.limit, took_ms))))
    if arguments.page:
        arguments.page.write_text(page(incident, found, why), encoding="utf-8")
        print(f"page: {arguments.page}")
    return 0


def incident_of(arguments: argparse.Namespace) -> Incident:
    """Return the incident of a source. Raises InvestigatorError."""
    with opened(arguments.source, arguments.format, Options(), arguments.id, progress=True) as found:
        return found.incident


def chosen_weights(arguments: argparse.Namespace) -> Ensemble:
    """Return the weights that a command names, or the shipped ones."""
    return load_ensemble(arguments.weights) if arguments.weights else shipped()


def table(found: Ranked, why: dict[int, list[Reason]], limit: int, took_ms: float) -> list[str]:
    """Return the ranking as lines."""
    graph = found.graph
    width = max(len(name) for name in graph.services)
    lines = [
        f"{len(graph.services)} services, {len(graph.calls)} calls, {found.ensemble.name}, {took_ms:.0f} ms"
    ]
    lines += [f"missing: {'; '.join(graph.missing)}"] if graph.missing else []
    for number, place in enumerate(found.order[:limit], 1):
        lines.append(
            f"{number:>3}. {graph.services[place]:<{width}}  {100 * found.probabilities[place]:5.1f} %"
        )
        lines += [f"       {told(reason)}" for reason in why.get(place, ())]
    lines.append(f"path: {' -> '.join(found.path())}")
    return lines


def told(reason: Reason) -> str:
    """Return a reason as one line."""
    cited = ", ".join(f"{one.kind} {one.id}" for one in reason.evidence)
    attention = f", attention {reason.attention:.2f}" if reason.attention is not None else ""
    return f"-{100 * reason.drop:.0f} points without {reason.what}: {reason.text}{f' [{cited}]' if cited else ''}{attention}"


def as_json(found: Ranked, why: dict[int, list[Reason]], limit: int, took_ms: float) -> dict[str, Any]:
    """Return the ranking as JSON."""
    graph = found.graph
    return {
        "incident": graph.id, "ranker": found.ensemble.name, "milliseconds": round(took_ms, 1),
        "missing": list(graph.missing), "path": found.path(),
        "services": [
            {"service": graph.services[place], "probability": round(float(found.probabilities[place]), 4),
             "reasons": [reason_json(one) for one in why.get(place, ())]}
            for place in found.order[:limit]
        ],
    }  # fmt: skip


def reason_json(reason: Reason) -> dict[str, Any]:
    """Return a reason as JSON."""
    return {"without": reason.what, "drop": round(reason.drop, 4), "text": reason.text, "attention": reason.attention,
            "evidence": [one.model_dump() for one in reason.evidence]}  # fmt: skip

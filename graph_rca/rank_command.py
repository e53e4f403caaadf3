"""The command behind `python -m graph_rca rank`: a table of services, their probabilities and reasons."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from core.command_line import printable
from core.files import replace_file
from graph_rca.explain import Reason, reasons
from graph_rca.page import finding_of, page, write_finding
from graph_rca.rank import Ranked, ranked
from graph_rca.weights import Ensemble, load_ensemble, shipped
from importers.opening import opened
from importers.options import Options
from project_types import ConfigurationError, Incident

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
        told = finding_of(incident, found, why, took_ms, arguments.limit)
        print(told.model_dump_json(indent=1, exclude={"drawing"}))
    else:
        print("\n".join(map(printable, table(found, why, arguments.limit, took_ms))))
    finding = finding_of(incident, found, why, took_ms)
    if arguments.page:
        _write(arguments.page, page(finding))
        print(f"page: {arguments.page}", file=sys.stderr)
    if arguments.findings:
        shown = write_finding(finding, arguments.findings)
        print(f"finding: {shown}; python -m dashboard serve shows it in Rankings", file=sys.stderr)
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode())
    except OSError as trouble:
        raise ConfigurationError(
            f"--page {path}: cannot be written ({trouble.strerror}); name another file"
        ) from trouble


def incident_of(arguments: argparse.Namespace) -> Incident:
    """Return the incident of a source, and say what an import left out. Raises InvestigatorError."""
    with opened(arguments.source, arguments.format, Options(), arguments.id, progress=True) as found:
        for line in found.told:
            print(printable(line), file=sys.stderr)
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

"""Step 9, the command behind `python -m graph_rca watch`: look, rank what goes wrong,
write a finding, tell people.

A look at a Prometheus ranks only when users suffer now: errors or high latencies of a service far from usual
in the last steps. A file in a folder is an incident that somebody put there, so it is always ranked. A
finding is a JSON file with the page beside it. The same first service is told again only after it was quiet
for half an hour.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from core.command_line import printable, refuse
from core.downloads import shown_url
from core.files import replace_file
from graph_rca.alerting import Outbox, message, people
from graph_rca.explain import reasons
from graph_rca.graph import IncidentGraph, InsufficientEvidence
from graph_rca.live_window import Sources, look
from graph_rca.page import finding_of, write_finding
from graph_rca.rank import Ranked, ranked
from graph_rca.rank_command import EXPLAINED, chosen_weights
from graph_rca.topology import ServiceGraph
from graph_rca.weights import Ensemble
from project_types import Incident, InvestigatorError, read_incident

FAR = 6.0
"""A score from which on errors or latencies mean that users suffer."""
LAST_STEPS = 4
QUIET_S = 1800.0


class Work(NamedTuple):
    """An incident to rank."""

    incident: Incident
    topology: ServiceGraph | None = None
    live: bool = False
    silent: Sequence[str] = ()
    """Which servers did not answer."""
    missing: Sequence[str] = ()
    """What was asked for and not found, or cut."""


class Watcher:
    """Ranks what it is given, writes findings, and tells people once."""

    def __init__(self, findings: Path, ensemble: Ensemble, outbox: Outbox, public_url: str = "") -> None:
        self.findings, self.ensemble, self.outbox = findings, ensemble, outbox
        self.public_url = public_url.rstrip("/")
        self._told: dict[str, float] = {}

    def see(self, work: Work) -> bool:
        """Rank one incident; say whether something is wrong with it."""
        started = time.perf_counter()
        try:
            found = ranked(work.incident, self.ensemble, topology=work.topology)
        except InsufficientEvidence as refusal:
            _say(f"{work.incident.id}: {refusal}")
            return bool(work.silent)
        # without metrics it cannot be said that users are well
        if work.live and work.incident.metrics and not suffers(found.graph):
            _say(f"{work.incident.id}: users do not suffer ({len(found.graph.services)} services)")
            return bool(work.silent)
        found = _with_missing(found, (*work.silent, *work.missing))
        why = {place: reasons(found, place) for place in found.order[:EXPLAINED]}
        took_ms = 1000 * (time.perf_counter() - started)
        path = write_finding(finding_of(work.incident, found, why, took_ms), self.findings)
        if work.live:  # kept, so that a person can confirm it
            kept = self.findings / f"incident-{work.incident.id}.json"
            replace_file(kept, work.incident.model_dump_json().encode())
        first = found.services[0]
        _say(f"{work.incident.id}: {first} {100 * found.probabilities.max():.0f} %, {took_ms:.0f} ms: {path}")
        if time.monotonic() - self._told.get(first, -QUIET_S) >= QUIET_S:
            self.outbox.add(message(found, why[found.order[0]], self._link(found.graph.id, path)))
        self._told[first] = time.monotonic()
        return True

    def _link(self, incident: str, page: Path) -> str:
        if not self.public_url:
            return page.resolve().as_uri()
        return f"{self.public_url}/rankings/{quote(incident, safe='')}"


def _with_missing(found: Ranked, more: Sequence[str]) -> Ranked:
    graph = dataclasses.replace(found.graph, missing=(*found.graph.missing, *more))
    return found._replace(graph=graph)


def suffers(graph: IncidentGraph) -> bool:
    """Say whether errors or high latencies of a service are far from usual in the last steps."""
    felt = [one for one in graph.moved if one.kind in ("errors", "latency_high")]
    return any(float(one.scores[-LAST_STEPS:].mean()) >= FAR for one in felt)


def command(arguments: argparse.Namespace) -> int:
    """Watch. With --once: returns 1 when something is wrong or a source is down, else 0."""
    if arguments.folder and not arguments.folder.is_dir():
        refuse(
            arguments.prog, f"--folder {arguments.folder}: there is no such folder; make it, then watch it"
        )
    _check_sources(arguments)
    if arguments.folder and not incident_files(arguments.folder):
        _say(f"{arguments.folder}: holds no incident file (*.json) yet")
    arguments.findings.mkdir(parents=True, exist_ok=True)
    outbox = Outbox(people(os.environ), once=arguments.once)
    watcher = Watcher(arguments.findings, chosen_weights(arguments), outbox, arguments.public_url or "")
    seen: dict[Path, int] = {}
    while True:
        wrong = _one_look(arguments, watcher, seen)
        if arguments.once:
            return int(wrong)
        time.sleep(arguments.every_s)


def _check_sources(arguments: argparse.Namespace) -> None:
    servers = {
        "--loki": arguments.loki,
        "--victorialogs": arguments.victorialogs,
        "--jaeger": arguments.jaeger,
    }
    given = [flag for flag, url in servers.items() if url]
    if arguments.folder and given:
        refuse(
            arguments.prog, f"{', '.join(given)}: go with --prometheus; files of --folder hold all there is"
        )


def _one_look(arguments: argparse.Namespace, watcher: Watcher, seen: dict[Path, int]) -> bool:
    wrong = False
    for read in _work(arguments, seen):
        try:
            if work := read():
                wrong |= watcher.see(work)
        except (
            InvestigatorError,
            OSError,
        ) as trouble:  # said at each look; the next file or look may be well
            _say(f"cannot see: {trouble}")
            wrong = True
    for trouble_text in watcher.outbox.send():
        _say(trouble_text)
    return wrong


def _work(arguments: argparse.Namespace, seen: dict[Path, int]) -> Iterator[Callable[[], Work | None]]:
    """Yield what reads each incident; None where there is nothing to rank."""
    if not arguments.folder:
        yield partial(_live, arguments)
        return
    for path in incident_files(arguments.folder):
        yield partial(_of_file, path, seen)


def incident_files(folder: Path) -> list[Path]:
    """Return the incident files of a folder; findings that were written there are none."""
    return sorted(path for path in folder.glob("*.json") if not path.name.endswith(".finding.json"))


def _of_file(path: Path, seen: dict[Path, int]) -> Work | None:
    changed = path.stat().st_mtime_ns
    if seen.get(path) == changed:
        return None
    seen[path] = changed
    return Work(read_incident(path))


def _live(arguments: argparse.Namespace) -> Work | None:
    sources = Sources(
        arguments.prometheus, arguments.loki, arguments.loki_query, arguments.jaeger,
        arguments.victorialogs, arguments.victorialogs_query,
    )  # fmt: skip
    found = look(sources, datetime.now(UTC), arguments.window_min)
    if found is None:
        _say(f"{shown_url(arguments.prometheus)}: holds no series of the last {arguments.window_min} minutes")
        return None
    for silent in found.silent:
        _say(f"does not answer: {silent}")
    if found.missing:
        _say(f"missing: {'; '.join(found.missing)}")
    return Work(found.incident, found.topology, live=True, silent=found.silent, missing=found.missing)


def _say(text: str) -> None:
    print(printable(f"{datetime.now(UTC):%H:%M:%S} {text}"), file=sys.stderr, flush=True)

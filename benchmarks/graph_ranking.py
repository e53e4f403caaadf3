"""How long a ranking takes: at 15 services, from a window to a finding at 50, and at 500
services with 5,000 calls.

The incident is in memory. The time is that of the processor, on one thread, because others may use the
machine. At 15 services incidents are those of the simulator; larger ones are drawn: calls, spans, series and
lines in proportion. (a) p50 of a ranking at 15 services, bar 50 ms. (b) p95 of a ranking with reasons and
drawing at 50, bar 1 s. (c) p50 of a ranking at 500 services, bar 1 s.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/graph_ranking.py` works too

from graph_rca.explain import reasons
from graph_rca.page import finding_of, page
from graph_rca.rank import ranked
from graph_rca.slices import generated
from project_types import Edge, Incident, LogRecord, MetricSeries, Span, Window

SMALL_MS, LIVE_MS, LARGE_MS = 50.0, 1000.0, 1000.0
START = datetime(2026, 3, 4, 14, tzinfo=UTC)
HALF = timedelta(minutes=15)
KINDS = ("requests_per_s", "errors_percent", "latency_p95_ms", "cpu_percent", "memory_percent")


def drawn(services: int, calls: int, seed: int) -> Incident:
    """Return an incident: one service becomes slow and fails, and so do calls to it."""
    rng = random.Random(seed)
    names = [f"service-{number:03d}" for number in range(services)]
    culprit = names[-1]
    edges = {(names[rng.randrange(number)], names[number]) for number in range(1, services)}
    while len(edges) < calls:
        caller, callee = sorted(rng.sample(range(services), 2))
        edges.add((names[caller], names[callee]))
    ordered = sorted(edges)
    return Incident(
        id=f"drawn-{services}-{seed}", description="Requests fail.", time_hint="14:15", services=tuple(names),
        logs=tuple(_lines(names, culprit, rng)), spans=tuple(_spans(ordered, culprit, rng)),
        metrics=tuple(_series(names, culprit, rng)),
        topology=tuple(Edge(caller=caller, callee=callee) for caller, callee in ordered),
        baseline=Window(start=START, end=START + HALF),
    )  # fmt: skip


def _series(names: Sequence[str], culprit: str, rng: random.Random) -> list[MetricSeries]:
    found = []
    for name in names:
        for kind in KINDS:
            level = 50 * rng.random() + 10
            values = [
                level * rng.uniform(0.9, 1.1) * (1 + 5 * (name == culprit and step >= 90))
                for step in range(180)
            ]
            found.append(
                MetricSeries(service=name, name=kind, start=START, step_s=10, values=tuple(values), points=())
            )
    return found


def _spans(edges: Sequence[tuple[str, str]], culprit: str, rng: random.Random) -> list[Span]:
    found = []
    for number, (caller, callee) in enumerate(edges):
        for half in (0, 1):
            failed = half == 1 and callee == culprit
            trace, at = f"t{number}-{half}", START + half * HALF + timedelta(seconds=rng.random() * 800)
            for id, above, service in (("a", None, caller), ("b", "a", callee)):
                found.append(
                    Span(trace_id=trace, span_id=f"{trace}{id}", parent_span_id=above and f"{trace}{above}",
                         service=service, operation="handle", start=at, duration_ms=20 + 900 * failed,
                         status="error" if failed else "ok")
                )  # fmt: skip
    return found


def _lines(names: Sequence[str], culprit: str, rng: random.Random) -> list[LogRecord]:
    found = []
    for number in range(20 * len(names)):
        service, at = rng.choice(names), START + timedelta(seconds=rng.random() * 1800)
        bad = service == culprit and at > START + HALF
        text = f"request {number} of shard {rng.randrange(90)} took {rng.randrange(900)} ms"
        text = f"cannot write segment {number}: no space left" if bad else text
        found.append(
            LogRecord(
                id=f"l{number}", timestamp=at, service=service, level="ERROR" if bad else "INFO", message=text
            )
        )
    return found


def _rank(incident: Incident) -> None:
    ranked(incident)


def _find(incident: Incident) -> None:
    found = ranked(incident)
    why = {place: reasons(found, place) for place in found.order[:3]}
    page(finding_of(incident, found, why, 0.0))


def times_ms(incidents: Sequence[Incident], work: Callable[[Incident], None]) -> list[float]:
    """Return how long each takes; a first one, which loads weights, is not counted."""
    work(incidents[0])
    found = []
    for incident in incidents:
        began = time.process_time()
        work(incident)
        found.append(1000 * (time.process_time() - began))
    return sorted(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--count", type=int, default=40, help="incidents of each size (a tenth of the largest)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few incidents: shows that it runs, not whether the bars hold"
    )
    arguments = parser.parse_args(argv)
    count = 2 if arguments.quick else arguments.count
    near = (one.incident for one in generated("seen", 40 * count, 7) if 13 <= len(one.services) <= 17)
    sizes = {
        "15 services": (list(islice(near, count)), _rank),
        "50 services, to the finding": ([drawn(50, 150, seed) for seed in range(count)], _find),
        "500 services, 5,000 calls": ([drawn(500, 5000, seed) for seed in range(max(1, count // 10))], _rank),
    }
    found = {name: times_ms(incidents, work) for name, (incidents, work) in sizes.items()}
    for name, values in found.items():
        p95 = values[int(len(values) * 0.95)]
        print(f"{name:<28} n {len(values):>3}  p50 {statistics.median(values):8.1f} ms  p95 {p95:8.1f} ms")
    small, live, large = found.values()
    ratios = [
        statistics.median(small) / SMALL_MS, live[int(len(live) * 0.95)] / LIVE_MS,
        statistics.median(large) / LARGE_MS,
    ]  # fmt: skip
    for ratio in ratios:
        print(f"ratio={ratio:.2f} bar=1.0")
    return int(max(ratios) > 1)


if __name__ == "__main__":
    sys.exit(main())

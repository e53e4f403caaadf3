"""How fast a log store takes rows in, and how fast it answers, at a million rows and at ten.

Six shapes of queries are asked as `search_logs` begins: how many lines and kinds match, which visits every
match. Each is asked of a small incident, and of a window of time in a large run, both in one file of all
rows. Not measured here: what differs among alike lines, which depends on how many match and not on the file.
Times of SQLite are CPU seconds of this process, because a busy machine would stretch the clock. Those of a
VictoriaLogs server, where one is given, are wall clock.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/store.py` works too

from benchmarks.synthetic import MESSAGES, SERVICES
from core.log_stores.contract import LogQuery, LogStore
from core.log_stores.growing import growing_store
from core.log_stores.victorialogs import victorialogs_store
from project_types import Level, LogRecord

BAR_MS = 5.0
"""p99 of every shape in SQLite."""
BAR_ROWS_S = 50_000
INCIDENT_ROWS, WINDOW_ROWS, RUNS = 5_000, 5_000, 4
"""Rows of the small incident and of a window; large runs that share the file."""
BATCH = 20_000
SAY = 500_000
"""Rows after which the progress is told."""
STEP = timedelta(milliseconds=12)
BEGIN = datetime(2025, 3, 4, tzinfo=UTC)
SHAPES = {
    "a word": LogQuery(words=("deadline",)),
    "two words": LogQuery(words=("cache", "keys")),
    "a service": LogQuery(service="ledger"),
    "a level": LogQuery(min_level=Level.WARN),
    "word, service, level": LogQuery(words=("connection",), service="orders", min_level=Level.WARN),
    "everything": LogQuery(),
}


def records(run: int, rows: int) -> Iterator[LogRecord]:
    """Rows of one run in time order, the same for the same numbers."""
    rng = random.Random(run)
    for place in range(rows):
        level, message = MESSAGES[rng.randrange(len(MESSAGES))]
        yield LogRecord.model_construct(
            id=f"{run:02x}{place:010x}",
            timestamp=BEGIN + place * STEP,
            service=SERVICES[rng.randrange(len(SERVICES))],
            level=level,
            message=message.format(rng.randrange(9000), rng.randrange(90)),
            attributes={},
        )


Clock = Callable[[], float]
"""Seconds."""


def take_in(store: LogStore, run: int, rows: int, clock: Clock) -> tuple[int, float]:
    """Ingest the rows of a run that are not there yet; returns how many, and the
    seconds that the store took.
    """
    there = store.size()
    spent, new = 0.0, 0
    left = itertools.islice(records(run, rows), there, None)
    while batch := list(itertools.islice(left, BATCH)):
        began = clock()
        store.ingest(batch)
        spent += clock() - began
        new += len(batch)
        if new % SAY == 0:
            print(f"run {run}: {there + new:,} of {rows:,} rows", file=sys.stderr, flush=True)
    return new, spent


def windows(rows: int, rng: random.Random) -> tuple[int, int]:
    """A window that holds WINDOW_ROWS rows, in microseconds."""
    first = rng.randrange(max(1, rows - WINDOW_ROWS))
    begin = BEGIN + first * STEP
    ends = (begin, begin + WINDOW_ROWS * STEP)
    start, end = (round(at.timestamp() * 1e6) for at in ends)
    return start, end


def asked_ms(store: LogStore, query: LogQuery, clock: Clock) -> float:
    """How long one search takes."""
    began = clock()
    store.count(query)
    return (clock() - began) * 1e3


def measure(name: str, incident: LogStore, run: LogStore, rows: int, searches: int, clock: Clock) -> float:
    """Print p50 and p99 of every shape; return the largest p99."""
    rng, worst = random.Random(1), 0.0
    for shape, query in SHAPES.items():
        times: dict[str, list[float]] = {"incident": [], "window": []}
        for turn in range(searches):
            # another start each time: an answer that is remembered is no search
            early = round(BEGIN.timestamp() * 1e6) - turn
            times["incident"].append(asked_ms(incident, query.model_copy(update={"start_us": early}), clock))
            start, end = windows(rows, rng)
            within = query.model_copy(update={"start_us": start, "end_us": end})
            times["window"].append(asked_ms(run, within, clock))
        for where, values in times.items():
            p50, p99 = statistics.median(values), sorted(values)[int(len(values) * 0.99)]
            print(f"{name:<8} {rows * RUNS:>11,} {where:<9} {shape:<22} {p50:9.2f} {p99:9.2f}", flush=True)
            worst = max(worst, p99)
    return worst


def stores(endpoint: str | None, folder: Path, total: int) -> Iterator[tuple[str, Clock, Sequence[LogStore]]]:
    """Yield each kind of store by name and with its clock: the small incident, then the large runs."""
    names = ["incident", *(f"run{number}" for number in range(RUNS))]
    yield "sqlite", time.process_time, [growing_store(folder / f"{total}.db", name) for name in names]
    if endpoint:
        runs = [f"bench-{total}-{name}-{time.time_ns()}" for name in names]
        yield "victoria", time.perf_counter, [victorialogs_store(endpoint, run) for run in runs]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000], help="rows in all")
    parser.add_argument("--searches", type=int, default=200, help="searches of each shape")
    parser.add_argument("--endpoint", metavar="URL", help="a VictoriaLogs server to measure as well")
    parser.add_argument(
        "--folder",
        type=Path,
        help="keep the files there and go on where an earlier run stopped (default: temporary)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it runs, not whether the bars hold"
    )
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.rows, arguments.searches = [40_000], 5
    worst, slowest = 0.0, float("inf")
    print(f"{'store':<8} {'rows':>11} {'within':<9} {'asked for':<22} {'p50 ms':>9} {'p99 ms':>9}")
    with tempfile.TemporaryDirectory(prefix="bench-store-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for total in arguments.rows:
            each = total // RUNS
            for name, clock, (incident, *runs) in stores(arguments.endpoint, folder, total):
                taken = [take_in(incident, 99, INCIDENT_ROWS, clock)]
                taken += [take_in(run, number, each, clock) for number, run in enumerate(runs)]
                new, spent = (sum(column) for column in zip(*taken, strict=True))
                speed = new / spent if new else BAR_ROWS_S  # all was there: nothing to measure
                said = f"{speed:,.0f} rows/s" if new else "was done before"
                print(f"{name:<8} {total:>11,} ingest    {said}", flush=True)
                p99 = measure(name, incident, runs[1], each, arguments.searches, clock)
                if name == "sqlite":
                    worst, slowest = max(worst, p99), min(slowest, speed)
    print(f"ratio={worst / BAR_MS:.2f} bar=1.0")
    print(f"ratio={BAR_ROWS_S / slowest:.2f} bar=1.0")
    return int(worst > BAR_MS or slowest < BAR_ROWS_S)


if __name__ == "__main__":
    sys.exit(main())

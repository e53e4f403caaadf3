"""How fast `build_logs` is, against the least work that could fill the same tables.

The floor is one `executemany` of the same rows, which are ready in memory, and one FTS5 `rebuild` over them with the same
tokenizer and the same pragmas. The build also reads and validates JSON, masks messages, numbers kinds, adds spans, hashes files
and makes the result durable. Both are repeated in turn and the best time of each counts, so that a busy machine disturbs neither.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/build.py` works too

from benchmarks.synthetic import write_scenarios
from build_logs import build

BAR = 2.0
_FLOOR = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;
CREATE TABLE logs(row INTEGER PRIMARY KEY, scenario, id, at_ms, service, level, text, trace_id, span_id, kind);
CREATE VIRTUAL TABLE log_words USING fts5(
    service, text, content='logs', content_rowid='row', columnsize=0, tokenize='porter unicode61');
BEGIN;
"""


def floor_s(database: Path, rows: Sequence[tuple[Any, ...]]) -> float:
    """Seconds the floor takes for these rows."""
    began = time.perf_counter()
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.executescript(_FLOOR)
        connection.executemany("INSERT INTO logs VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
        connection.execute("INSERT INTO log_words(log_words) VALUES ('rebuild')")
        connection.execute("COMMIT")
    return time.perf_counter() - began


def measure(folder: Path, scenarios: int, rows_each: int, repeats: int) -> float:
    """Print the table; return how many times the floor's time the build takes."""
    write_scenarios(folder / "files", scenarios, rows_each)
    rows: list[tuple[Any, ...]] = []
    times: dict[str, list[float]] = {"build_logs": [], "executemany + rebuild": []}
    for repeat in range(repeats):
        database = folder / f"built-{repeat}.db"
        began = time.perf_counter()
        build(folder / "files", database)
        times["build_logs"].append(time.perf_counter() - began)
        if not rows:
            with closing(sqlite3.connect(database)) as connection:
                rows = connection.execute("SELECT * FROM logs").fetchall()
        times["executemany + rebuild"].append(floor_s(folder / f"floor-{repeat}.db", rows))
    print(f"{scenarios} scenarios x {rows_each} rows, best of {repeats}\n\n{'':<24} {'s':>8} {'rows/s':>10}")
    for name, spent in times.items():
        print(f"{name:<24} {min(spent):8.2f} {len(rows) / min(spent):10.0f}")
    return min(times["build_logs"]) / min(times["executemany + rebuild"])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--scenarios", type=int, default=1000, help="scenarios to build")
    parser.add_argument("--rows", type=int, default=400, help="log lines a scenario")
    parser.add_argument("--repeats", type=int, default=3, help="times each side is run")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, not whether the bar holds")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.scenarios, arguments.rows, arguments.repeats = 20, 100, 2
    with tempfile.TemporaryDirectory(prefix="bench-build-") as folder:
        ratio = measure(Path(folder), arguments.scenarios, arguments.rows, arguments.repeats)
    print(f"ratio={ratio:.2f} bar={BAR}")
    return int(ratio > BAR)


if __name__ == "__main__":
    sys.exit(main())

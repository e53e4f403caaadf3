"""How fast `build_logs` is, against the least anybody would write to fill the same tables.

The floor is sqlite3 as it comes: `executemany` of the same rows, which lie ready in memory, into tables like
ours, and one `rebuild` of an FTS5 index over them, in one transaction. A second floor has our pragmas and
index options, for comparison. The build also finds, hashes, reads and validates the JSON files, cleans the
text, numbers kinds and makes the result durable. Times are CPU seconds of this process, the best of several
runs taken in turn: a busy machine would stretch either side's clock.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/build.py` works too

from benchmarks.synthetic import write_scenarios
from build_logs import build
from project_types import Level

BAR = 2.0
_TABLES = """
CREATE TABLE logs(row INTEGER PRIMARY KEY, scenario, id, at_us, has_clock, service, level, text, trace_id, span_id, kind);
CREATE TABLE spans(row INTEGER PRIMARY KEY, scenario, trace_id, span_id, parent, service, operation, start_us, took, status);
CREATE VIRTUAL TABLE log_words USING fts5(service, level, text, content='logs', content_rowid='row'{options});
"""
_PRAGMAS = "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;"
FLOORS = {
    "executemany + rebuild": ("", ""),
    "with our options": (_PRAGMAS, ", columnsize=0, tokenize='porter unicode61'"),
}
Rows = Sequence[tuple[Any, ...]]


def floor(database: Path, pragmas: str, options: str, logs: Rows, spans: Rows) -> None:
    """Fill the tables the plain way."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(pragmas + _TABLES.format(options=options))
        connection.executemany("INSERT INTO logs VALUES (?,?,?,?,?,?,?,?,?,?,?)", logs)
        connection.executemany("INSERT INTO spans VALUES (?,?,?,?,?,?,?,?,?,?)", spans)
        connection.execute("INSERT INTO log_words(log_words) VALUES ('rebuild')")
        connection.commit()


def _stored(database: Path) -> tuple[Rows, Rows]:
    """The log lines, their level as a word, and the spans."""
    names = {level.value: level.name for level in Level}
    with closing(sqlite3.connect(database)) as connection:
        logs = connection.execute("SELECT * FROM logs").fetchall()
        return [(*log[:6], names[log[6]], *log[7:]) for log in logs], connection.execute(
            "SELECT * FROM spans"
        ).fetchall()


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(folder: Path, scenarios: int, rows_each: int, repeats: int) -> float:
    """Print the table; return how many times the floor's time the build takes."""
    files, database = folder / "files", folder / "logs.db"
    write_scenarios(files, scenarios, rows_each)
    build(files, database)
    logs, spans = _stored(database)
    times: dict[str, list[float]] = {"build_logs": [], **{name: [] for name in FLOORS}}
    for _ in range(repeats):
        database.unlink()
        times["build_logs"].append(_cpu_s(lambda: build(files, database)))
        for name, (pragmas, options) in FLOORS.items():
            plain = folder / "plain.db"
            times[name].append(_cpu_s(partial(floor, plain, pragmas, options, logs, spans)))
            plain.unlink()
    print(f"{len(logs)} log lines and {len(spans)} spans in {scenarios} files, best of {repeats}\n")
    print(f"{'':<24} {'CPU s':>8} {'lines/s':>10}")
    for name, spent in times.items():
        print(f"{name:<24} {min(spent):8.2f} {len(logs) / min(spent):10.0f}")
    return min(times["build_logs"]) / min(times["executemany + rebuild"])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--scenarios", type=int, default=1000, help="scenarios to build")
    parser.add_argument("--rows", type=int, default=400, help="log lines a scenario")
    parser.add_argument("--repeats", type=int, default=5, help="times each side is run")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it runs, not whether the bar holds"
    )
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.scenarios, arguments.rows, arguments.repeats = 20, 100, 2
    with tempfile.TemporaryDirectory(prefix="bench-build-") as folder:
        ratio = measure(Path(folder), arguments.scenarios, arguments.rows, arguments.repeats)
    print(f"ratio={ratio:.2f} bar={BAR}")
    return int(ratio > BAR)


if __name__ == "__main__":
    sys.exit(main())

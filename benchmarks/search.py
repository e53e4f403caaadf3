"""How fast `search_logs` is, and whether that depends on how many scenarios share the file.

(a) The median search at many scenarios over the median search at few: the cost of a search must not grow with
the file. (b) The plain way (match the words in the whole file, then keep the scenario's rows) over the tool,
on the large file, for the same words. The tool also groups, sorts, counts and prints; the plain way only
fetches. Searches go through the real tool on a real database built from scenario files in a temporary folder,
removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/search.py` works too

from benchmarks.synthetic import SERVICES, write_scenarios
from build_logs import build
from log_search_tools import log_tools
from project_types import EpisodeConfig

SCALING_BAR = 1.6
PLAIN_BAR = 200.0
WORDS = ("deadline", "ledger failed", "cache refresh", "connection busy", "shipping attempt", "segment")


def _arguments(rng: random.Random) -> dict[str, Any]:
    """What agents ask: words, a service, a level, a window, or several."""
    start = rng.randrange(40, 59)
    return rng.choice(
        [
            {"keywords": rng.choice(WORDS)},
            {"keywords": rng.choice(WORDS), "min_level": "WARN"},
            {"keywords": rng.choice(WORDS), "service": rng.choice(SERVICES)},
            {"service": rng.choice(SERVICES), "min_level": "ERROR"},
            {"min_level": "WARN", "start_time": f"13:{start}", "end_time": f"13:{start + 1}"},
            {},
        ]
    )


async def _search_ms(database: Path, scenarios: int, arguments: dict[str, Any], rng: random.Random) -> float:
    search = log_tools(database, f"s{rng.randrange(scenarios):06d}", EpisodeConfig())[0]
    asked = search.arguments.model_validate(arguments)
    await search.run(search.arguments())  # an episode's first search also reads the scenario's ids
    began = time.perf_counter()
    await search.run(asked)
    return (time.perf_counter() - began) * 1e3


def _plain_ms(connection: sqlite3.Connection, scenarios: int, words: str, rng: random.Random) -> float:
    began = time.perf_counter()
    connection.execute(
        "SELECT logs.id, at_us, service, level, logs.text, trace_id FROM log_words CROSS JOIN logs ON logs.row = log_words.rowid "
        "WHERE log_words MATCH ? AND scenario = ?",
        (words, rng.randrange(scenarios) + 1),
    ).fetchall()
    return (time.perf_counter() - began) * 1e3


def _row(name: str, times: Sequence[float]) -> str:
    p50, p95 = statistics.median(times), sorted(times)[int(len(times) * 0.95)]
    return f"{name:<44} {p50:10.3f} {p95:10.3f} {len(times):8d}"


def _built(folder: Path, scenarios: int, rows: int) -> Iterator[str]:
    """Builds the database; yields what was done."""
    began = time.perf_counter()
    write_scenarios(folder / "files", scenarios, rows)
    result = build(folder / "files", folder / "logs.db")
    size = (folder / "logs.db").stat().st_size / 1e6
    spent = time.perf_counter() - began
    yield f"{scenarios} scenarios x {rows} rows: {result.rows} rows, {size:.0f} MB, ready after {spent:.0f} s"


async def measure(folder: Path, few: int, many: int, rows: int, searches: int) -> tuple[float, float]:
    """Print the table; return the two ratios."""
    sizes = {"few": few, "many": many}
    for name, scenarios in sizes.items():
        for line in _built(folder / name, scenarios, rows):
            print(line, flush=True)
    rng = random.Random(1)
    times: dict[str, list[float]] = {"few": [], "many": [], "words": [], "plain": []}
    for turn in range(searches + searches // 10):
        arguments = _arguments(rng)
        for name, scenarios in sizes.items():  # alternately, so that a busy machine slows both
            spent = await _search_ms(folder / name / "logs.db", scenarios, arguments, rng)
            if turn >= searches // 10:
                times[name].append(spent)
    with closing(
        sqlite3.connect(f"{(folder / 'many' / 'logs.db').as_uri()}?mode=ro", uri=True)
    ) as connection:
        for turn in range(max(12, searches // 20)):
            words = WORDS[turn % len(WORDS)]
            times["plain"].append(_plain_ms(connection, many, words, rng))
            times["words"].append(
                await _search_ms(folder / "many" / "logs.db", many, {"keywords": words}, rng)
            )
    print(f"\n{'search_logs':<44} {'p50 ms':>10} {'p95 ms':>10} {'searches':>8}")
    print(_row(f"{few} scenarios", times["few"]))
    print(_row(f"{many} scenarios", times["many"]))
    print(_row(f"{many} scenarios, words only", times["words"]))
    print(_row(f"{many} scenarios, words only, the plain way", times["plain"]))
    p50 = {name: statistics.median(values) for name, values in times.items()}
    return p50["many"] / p50["few"], p50["plain"] / p50["words"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--few", type=int, default=50, help="scenarios in the small database")
    parser.add_argument("--many", type=int, default=5000, help="scenarios in the large one")
    parser.add_argument("--rows", type=int, default=400, help="log lines a scenario")
    parser.add_argument("--searches", type=int, default=1000, help="searches on each database")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it runs, not whether the bars hold"
    )
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.few, arguments.many, arguments.rows, arguments.searches = 5, 50, 100, 60
    with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
        scaling, plain = asyncio.run(
            measure(Path(folder), arguments.few, arguments.many, arguments.rows, arguments.searches)
        )
    print(f"ratio={scaling:.2f} bar={SCALING_BAR}")
    print(f"ratio={plain:.0f} bar={PLAIN_BAR:.0f}")
    return int(scaling > SCALING_BAR or plain < PLAIN_BAR)


if __name__ == "__main__":
    sys.exit(main())

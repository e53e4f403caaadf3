"""`python -m failure_analysis repair`: saves what can be read of a damaged failures.db.

Rows are copied one by one, from the front until the damage and from the back until the damage, into a new
file that takes the old one's place; the damaged file is kept beside it. How far runs had been read is
forgotten, so that the next capture reads them again and brings back what was lost of them.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from failure_analysis.records import StoreError
from failure_analysis.store import TABLES, FailureStore, address

CAPTURED_AGAIN = "sources"


def repair(path: Path) -> tuple[Path, Counter[str]]:
    """Replace a damaged file; where it is kept now, and how many rows of each table were saved. Raises
    StoreError.
    """
    if not path.exists():
        raise StoreError(f"{path}: no such file; make it: python -m failure_analysis capture RUN_DIR")
    kept = next(
        name for n in range(1, 10_000) if not (name := path.with_name(f"{path.name}.damaged-{n}")).exists()
    )
    fresh = FailureStore(path.with_name(f"{path.name}.{os.getpid()}.new"))
    saved: Counter[str] = Counter()
    with fresh.writing():
        pass  # makes the tables
    with closing(sqlite3.connect(fresh.path, isolation_level=None)) as new:
        new.execute("BEGIN")
        for table in TABLES:
            width = len(new.execute(f"PRAGMA table_info({table})").fetchall())
            for row in _readable(path, table) if table != CAPTURED_AGAIN else ():
                with suppress(sqlite3.Error):
                    saved[table] += new.execute(
                        f"INSERT OR IGNORE INTO {table} VALUES ({','.join('?' * width)})", row
                    ).rowcount
        new.execute("DELETE FROM failures WHERE id NOT IN (SELECT id FROM experiments)")
        new.execute("DELETE FROM episodes WHERE id NOT IN (SELECT id FROM experiments)")
        new.execute("COMMIT")
    os.replace(path, kept)
    for rest in ("-journal", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.replace(path.with_name(path.name + rest), kept.with_name(kept.name + rest))
    os.replace(fresh.path, path)
    return kept, saved


def _readable(path: Path, table: str) -> Iterator[tuple[Any, ...]]:
    """Rows of a table from both ends, as far as they can be read; some may come twice."""
    for order in ("ASC", "DESC"):
        try:
            with closing(sqlite3.connect(address(path), uri=True)) as old:
                old.text_factory = lambda raw: raw.decode("utf-8", "replace")
                yield from old.execute(f"SELECT * FROM {table} ORDER BY 1 {order}")
                return
        except sqlite3.Error:
            continue


def command(arguments: argparse.Namespace) -> int:
    """Repair and say what was saved."""
    kept, saved = repair(arguments.database)
    rows = ", ".join(f"{saved[table]} {table}" for table in TABLES if table != CAPTURED_AGAIN)
    print(f"{arguments.database}: saved {rows}; the old file is {kept}")
    print("next: python -m failure_analysis capture RUN_DIR brings back what was lost of a run")
    return 0

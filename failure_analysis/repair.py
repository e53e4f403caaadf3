"""`python -m failure_analysis repair`: puts a damaged failures.db aside and captures
the runs beside it again.

The damaged file is kept. What was ingested from elsewhere (JUnit files, logs) has to be ingested again.
"""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from itertools import count
from pathlib import Path

from core.episode_store.lines import EpisodesError
from failure_analysis.capture import capture
from failure_analysis.capture_command import analyzer
from failure_analysis.records import StoreError
from failure_analysis.store import FailureStore


def set_aside(path: Path) -> Path:
    """Rename a database with what SQLite keeps beside it. Return its new name. Raises StoreError."""
    if not path.exists():
        raise StoreError(f"{path}: no such file; make it: python -m failure_analysis capture RUN_DIR")
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in count(1))
    kept = next(name for name in names if not name.exists())
    os.replace(path, kept)
    for rest in ("-journal", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.replace(path.with_name(path.name + rest), kept.with_name(kept.name + rest))
    return kept


def command(arguments: argparse.Namespace) -> int:
    """Repair, and say what was captured and what to do about the rest."""
    kept = set_aside(arguments.failures)
    store = FailureStore(arguments.failures)
    print(f"{arguments.failures}: the old file is {kept}")
    with store.writing():
        pass  # an empty one, also where there is no run to capture
    try:
        done = capture(store.folder, store, analyzer(arguments))
    except EpisodesError as no_run:
        print(no_run)
        return 0
    print(f"captured again: {done.experiments} experiments, {done.failures} of them failed")
    print("next: ingest again what came from JUnit files and logs: python -m failure_analysis ingest FILE")
    return 0

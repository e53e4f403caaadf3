"""The command behind `python -m failure_analysis ingest`."""

from __future__ import annotations

import argparse
import sys

from core.command_line import printable
from failure_analysis.capture_command import analyzer
from failure_analysis.history import before
from failure_analysis.logs.ingest import ingest
from failure_analysis.store import FailureStore
from failure_analysis.texts import FOLDER

SHOWN = 20


def command(arguments: argparse.Namespace) -> int:
    """Take in, print each failure, its fix and where it failed like this before.

    Returns 1 with --exit-code when there was a failure.
    """
    store = FailureStore(arguments.failures)
    done = ingest(arguments.files, store, analyzer(arguments), arguments.type, arguments.error)
    for note in done.notes:
        print(printable(note), file=sys.stderr)
    for experiment in done.experiments[:SHOWN]:
        if experiment.failure is None:
            continue
        why = experiment.failure.analysis
        print(printable(f"{why.severity} {why.failure_category} {experiment.name}: {why.root_cause[:300]}"))
        print(printable(f"    fix: {why.fix_suggestion[:300]}"))
        for one in before(store, experiment.id, but=experiment.id)[:1]:
            print(printable(f"    before: {one.words()[:300]}"))
    if done.total > SHOWN:
        print(f"... and {done.total - SHOWN} more")
    known = f", {done.known} of them known before" if done.known else ""
    print(f"{store.path}: {done.total} failures taken in{known}; texts in {store.folder / FOLDER}")
    return 1 if arguments.exit_code and done.total else 0

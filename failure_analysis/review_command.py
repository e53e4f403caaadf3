"""The command behind `python -m failure_analysis review`: what has failed before, before it runs again."""

from __future__ import annotations

import argparse
import json

from core.command_line import printable
from failure_analysis.reviewing import review
from failure_analysis.store import FailureStore


def command(arguments: argparse.Namespace) -> int:
    """Print what was found. Returns 1 when something counts: it failed before and is not marked as fixed."""
    store = FailureStore(arguments.failures)
    counts = False
    for path in arguments.files:
        found = review(path, store)
        counts = counts or any(not one.fixed for one in found)
        if arguments.json:
            print(json.dumps([{"file": str(path), **one.model_dump()} for one in found], indent=2))
            continue
        for one in found:
            print(printable(f"{path}: {one.words()}"))
        if not found:
            print(printable(f"{path}: nothing in it has failed before"))
    return int(counts)

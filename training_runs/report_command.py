"""The command behind `python -m training_runs report`."""

from __future__ import annotations

import argparse

from core.episode_store.runs import find_run
from training_runs.headline import table
from training_runs.report import write_report


def command(arguments: argparse.Namespace) -> int:
    """Write the report of a run again and print its headline. Returns 0."""
    path, _ = find_run(arguments.run)
    print(table(write_report(path)))
    print(f"report: {path / 'report.html'}")
    return 0

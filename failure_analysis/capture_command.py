"""The command behind `python -m failure_analysis capture`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from core.command_line import printable
from core.episode_store.runs import find_run, is_run
from failure_analysis.aggregates import groups
from failure_analysis.capture import capture
from failure_analysis.logs.analyzer import MODEL_VARIABLE, NO_MODEL, LogAnalyzer
from failure_analysis.store import DATABASE, FailureStore, Wanted
from failure_analysis.texts import FOLDER
from project_types import InvestigatorError


def command(arguments: argparse.Namespace) -> int:
    """Capture, print what was taken in. Returns 0, also when something could not be read: that is said."""
    from tqdm import tqdm

    path, _ = find_run(arguments.run)
    store = FailureStore(arguments.failures or beside(path))
    with tqdm(unit="line", desc="capture", leave=False, disable=None) as bar:

        def moved(lines: int) -> None:
            bar.update(lines)

        done = capture(path, store, analyzer(arguments), moved)
    for note in done.notes:
        print(printable(note), file=sys.stderr)
    if not arguments.quiet:
        print(
            f"{store.path}: {done.experiments} new, {done.failures} of them failed; texts in {store.folder / FOLDER}"
        )
    return 0


def explain(run: Path) -> str:
    """Capture a run that has just ended, and say so in one line; what stands in the way is said too, and
    stops nobody.
    """
    try:
        store = FailureStore(beside(run))
        done = capture(run, store, LogAnalyzer(os.environ.get(MODEL_VARIABLE) or NO_MODEL))
        failed = groups(store, Wanted(run=os.path.relpath(run.resolve(), store.folder.resolve())), limit=1)
    except InvestigatorError as trouble:
        return f"failures   not explained: {trouble}"
    if not failed.total:
        return f"failures   none in {run}"
    worst = failed.rows[0]
    largest = f"the largest of {failed.total} groups: {worst.template} ({worst.failures})"
    return f"failures   {done.failures} explained in {store.path}, {largest}"


def beside(run: Path) -> Path:
    """Where the failures of a run are kept unless told otherwise: one file for all runs of a folder."""
    return (run if run.is_dir() and not is_run(run) else run.resolve().parent) / DATABASE


def analyzer(arguments: argparse.Namespace) -> LogAnalyzer:
    """What the flags ask for. Money is spent only where a model is named: without one, rules."""
    model = arguments.model or os.environ.get(MODEL_VARIABLE) or NO_MODEL
    return LogAnalyzer(
        model, max_tokens=arguments.max_tokens, timeout_s=arguments.timeout_s, api_base=arguments.api_base
    )

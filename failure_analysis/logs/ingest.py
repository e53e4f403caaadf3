"""Takes in failures that no run folder holds: JUnit XML of any test runner, and logs of anything.

A log is explained from its end, whatever its size. The same file taken in twice is stored once: an experiment
is named by its file, its test and the time. Files of alike failures share a group, as everything in
failures.db does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from core.episode_store.lines import last_text
from core.redaction import READ_BACK
from failure_analysis.explaining import Explainer
from failure_analysis.logs.analyzer import LogAnalyzer
from failure_analysis.logs.junit import JUnitTrouble, failed_cases, looks_like_junit
from failure_analysis.logs.rules import READ_CHARACTERS, error_line
from failure_analysis.records import Experiment, ExperimentType, Status, StoreError, experiment_id
from failure_analysis.store import FailureStore
from failure_analysis.texts import write_texts

END = READ_CHARACTERS + READ_BACK
BATCH = 100
STANDARD_INPUT = "-"


class Ingested(NamedTuple):
    """What one call took in."""

    experiments: tuple[Experiment, ...]
    """The latest 1,000 at most."""
    total: int
    notes: tuple[str, ...]


def ingest(
    files: list[str], store: FailureStore, analyzer: LogAnalyzer, log_type: str = "", error: str = ""
) -> Ingested:
    """Take in files; a file that cannot be read is a note, and the others are taken in all the same.

    Raises:
        StoreError: failures.db cannot be used, or none of the files can be read.
    """
    notes, found, total, unread = list[str](), list[Experiment](), 0, 0
    explainer = Explainer(analyzer, store)
    for name in files:
        try:
            for batch in _batches(_of_file(name, store, explainer, log_type, error, notes)):
                with store.writing() as writer:
                    for experiment in batch:
                        writer.put(experiment)
                found, total = [*found, *batch][-1000:], total + len(batch)
        except OSError as trouble:
            notes.append(f"{name}: cannot be read ({trouble.strerror}); check the path and its permissions")
            unread += 1
    if unread == len(files):
        raise StoreError("\n".join(notes))
    write_texts(store, {experiment.failure.signature for experiment in found if experiment.failure})
    return Ingested(tuple(found), total, tuple(notes))


def _of_file(
    name: str, store: FailureStore, explainer: Explainer, log_type: str, error: str, notes: list[str]
) -> Iterator[Experiment]:
    if name == STANDARD_INPUT:
        now = datetime.now(UTC)
        yield from _of_log("standard input", standard_input(), now, explainer, log_type, error, notes)
        return
    path = Path(name)
    at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    run = os.path.relpath(path.resolve(), store.folder.resolve())
    if not looks_like_junit(path):
        yield from _of_log(run, last_text(path, END), at, explainer, log_type, error, notes)
        return
    try:
        for case in failed_cases(path):
            when = case.at or at
            logs = f"{case.text}\n(flaky: it passed when it was run again)" if case.flaky else case.text
            yield Experiment(
                id=(id := experiment_id("junit", case.name, when)),
                type=ExperimentType.CI_TEST,
                name=case.name,
                run=run,
                status=Status.FAILED,
                at=when,
                source=run,
                failure=explainer.error(id, "ci_test", case.message, logs),
            )
    except JUnitTrouble as trouble:
        notes.append(str(trouble))


def _of_log(
    run: str, end: str, at: datetime, explainer: Explainer, log_type: str, error: str, notes: list[str]
) -> Iterator[Experiment]:
    message = error or error_line(end)
    if not message:
        notes.append(f"{run}: no failure found; give --error TEXT to store one all the same")
        return
    id = experiment_id("log", run, at, message)
    failure = explainer.error(id, log_type or "log", message, end)
    yield Experiment(
        id=id,
        type=ExperimentType.LOG,
        name=run,
        run=run,
        status=Status.FAILED,
        at=at,
        source=run,
        failure=failure,
    )


def standard_input() -> str:
    """The end of standard input, whatever its size."""
    kept = b""
    while piece := sys.stdin.buffer.read(1 << 16):
        kept = (kept + piece)[-4 * END :]
    return kept.decode("utf-8", "replace").replace("\0", "")[-END:]


def _batches(experiments: Iterator[Experiment]) -> Iterator[list[Experiment]]:
    batch: list[Experiment] = []
    for experiment in experiments:
        batch.append(experiment)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch

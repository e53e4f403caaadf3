"""Takes in failures that no run folder holds: JUnit XML of any test runner, and logs of anything.

A log is explained from its end, whatever its size. The same file taken in twice is stored once, also when it
was touched in between. Alike failures share a group, as everything in failures.db does.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from core.episode_store.lines import last_text
from core.files import sha256_of
from core.redaction import READ_BACK
from failure_analysis.batches import batches
from failure_analysis.explaining import Explainer
from failure_analysis.logs.analyzer import LogAnalyzer
from failure_analysis.logs.junit import JUnitTrouble, failed_cases, looks_like_junit
from failure_analysis.logs.rules import READ_CHARACTERS, error_line
from failure_analysis.records import Experiment, ExperimentType, Failure, Status, StoreError, experiment_id
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
    """Failures in the files."""
    known: int
    """Those of them that were stored before."""
    notes: tuple[str, ...]


class _Asked(NamedTuple):
    """What is the same for every file."""

    store: FailureStore
    explainer: Explainer
    log_type: str
    error: str
    notes: list[str]


def ingest(
    files: list[str], store: FailureStore, analyzer: LogAnalyzer, log_type: str = "", error: str = ""
) -> Ingested:
    """Take in files; a file that cannot be read is a note, and the others are taken in all the same.

    A JUnit file that cannot be read to its end is a failure of its own: it may hide others.

    Raises:
        StoreError: failures.db cannot be used, or none of the files can be read.
    """
    asked = _Asked(store, Explainer(analyzer, store), log_type, error, [])
    found, total, known, unread = list[Experiment](), 0, 0, 0
    for name in files:
        try:
            for batch in batches(_of_file(name, asked), BATCH):
                known += _put(store, batch)
                found, total = [*found, *batch][-1000:], total + len(batch)
        except OSError as trouble:
            asked.notes.append(
                f"{name}: cannot be read ({trouble.strerror}); check the path and its permissions"
            )
            unread += 1
    if unread == len(files):
        raise StoreError("\n".join(asked.notes))
    write_texts(store, {experiment.failure.signature for experiment in found if experiment.failure})
    return Ingested(tuple(found), total, known, tuple(asked.notes))


def _put(store: FailureStore, batch: list[Experiment]) -> int:
    """Store a batch. Return how many were known; those keep the time at which they were first seen."""
    known = 0
    with store.writing() as writer:
        for experiment in batch:
            first_seen = writer.stored_at(experiment.id)
            if first_seen is not None:
                known, experiment = known + 1, experiment.model_copy(update={"at": first_seen})
            writer.put(experiment)
    return known


def _of_file(name: str, asked: _Asked) -> Iterator[Experiment]:
    if name == STANDARD_INPUT:
        yield from _of_log("standard input", standard_input(), datetime.now(UTC), asked)
        return
    path = Path(name)
    at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    run = os.path.relpath(path.resolve(), asked.store.folder.resolve())
    if looks_like_junit(path):
        yield from _of_junit(path, run, at, asked)
    else:
        yield from _of_log(run, last_text(path, END), at, asked)


def _of_junit(path: Path, run: str, at: datetime, asked: _Asked) -> Iterator[Experiment]:
    """The failed cases. Their ids hold file, suite, name, place and time, where the file says none
    its content: the same test may fail in another suite, file or run, and a file that was only
    touched says nothing new.
    """
    content = sha256_of(path)
    try:
        for case in failed_cases(path):
            id = experiment_id("junit", run, case.suite, case.name, case.place, case.at or content)
            logs = f"{case.text}\n(flaky: it passed when it was run again)" if case.flaky else case.text
            failure = asked.explainer.error(id, "ci_test", case.message, logs)
            source = f"{run}:{case.line}"
            yield _failed(ExperimentType.CI_TEST, id, case.name, run, case.at or at, source, failure)
    except JUnitTrouble as trouble:
        asked.notes.append(str(trouble))
        id = experiment_id("junit", run, "unreadable", content)
        failure = asked.explainer.error(
            id, "ci_build", f"JUnit file cannot be read to its end: {trouble}", ""
        )
        yield _failed(ExperimentType.CI_TEST, id, f"{run}: unreadable", run, at, run, failure)


def _of_log(run: str, end: str, at: datetime, asked: _Asked) -> Iterator[Experiment]:
    message = asked.error or error_line(end)
    if not message:
        asked.notes.append(f"{run}: no failure found; give --error TEXT to store one all the same")
        return
    id = experiment_id("log", run, hashlib.sha256(end.encode("utf-8", "replace")).hexdigest(), message)
    failure = asked.explainer.error(id, asked.log_type or "log", message, end)
    yield _failed(ExperimentType.LOG, id, run, run, at, run, failure)


def _failed(
    type: ExperimentType, id: str, name: str, run: str, at: datetime, source: str, failure: Failure
) -> Experiment:
    return Experiment(
        id=id, type=type, name=name, run=run, status=Status.FAILED, at=at, source=source, failure=failure
    )


def standard_input() -> str:
    """The end of standard input, whatever its size."""
    kept = b""
    while piece := sys.stdin.buffer.read(1 << 16):
        kept = (kept + piece)[-4 * END :]
    return kept.decode("utf-8", "replace").replace("\0", "")[-END:]

"""The dashboard over a folder of runs, served to a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from core.serving.guard import Door
from core.serving.listening import in_background
from dashboard.app import build_app
from dashboard.shelf import Shelf
from dashboard.testruns import TestRuns
from failure_analysis.capture import capture
from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.store import DATABASE, FailureStore
from failure_analysis.watching import Watcher
from testrun_investigator.settings import Settings, read_settings

visitor = httpx.Client(timeout=60.0)
"""A client for one question, which logs in nowhere. A busy machine may answer late."""


def captured(root: Path) -> FailureStore:
    """Capture every run of a folder."""
    store = FailureStore(root / DATABASE)
    capture(root, store, LogAnalyzer(NO_MODEL))
    return store


def settings_beside(root: Path) -> Settings:
    """The settings of a Test Run Investigator whose cache lies beside the runs."""
    return read_settings({"TESTRUN_CACHE_DIR": str(root.parent / "testruns")}, root)


@contextmanager
def dashboard(root: Path, door: Door | None = None, *, watching: bool = False) -> Iterator[str]:
    """The dashboard over a folder of runs, capturing what is new if `watching`; gives its address."""
    store = FailureStore(root / DATABASE)
    watcher = Watcher(root, store, LogAnalyzer(NO_MODEL), every_s=0.1)
    shelf = Shelf(root, store, watcher if watching else None, TestRuns(settings_beside(root)))
    with in_background(build_app(shelf, door or Door())) as url:
        if not watching:
            yield url
        else:
            with watcher:
                yield url

"""Keeps failures.db up with the runs: looks at the folders every few seconds and captures the ones that
changed.

One thread, for as long as the dashboard is open. A run that did not change costs a few stat calls. What goes
wrong is kept as a sentence for the page and tried again; nothing is lost, because a capture goes on from
where the last one stopped.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from core.episode_store.lines import EpisodesError
from core.episode_store.run_folder import RunFolder
from core.episode_store.runs import find_runs
from failure_analysis.capture import capture
from failure_analysis.logs.analyzer import LogAnalyzer
from failure_analysis.store import FailureStore
from project_types import InvestigatorError

log = logging.getLogger(__name__)
Facts = tuple[object, ...]


class Watcher:
    """Captures what changes under a folder of runs: `with Watcher(...):`."""

    def __init__(
        self,
        folder: Path,
        store: FailureStore,
        analyzer: LogAnalyzer,
        *,
        every_s: float = 3.0,
        after: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.folder, self.store, self._analyzer, self._every_s, self._after = (
            folder,
            store,
            analyzer,
            every_s,
            after,
        )
        self.reading: tuple[str, int] | None = None
        """The run that is being captured now and the lines read of it so far."""
        self.passes = 0
        """How often it has looked."""
        self._seen: dict[Path, Facts] = {}
        self._trouble = ""
        self._ended = threading.Event()
        self._looked = threading.Condition()
        self._thread = threading.Thread(target=self._watch, name="capture", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=30)

    def trouble(self) -> str:
        """What keeps failures from being captured now; empty when nothing does."""
        if self._thread.is_alive() or self._ended.is_set() or not self.passes:
            return self._trouble
        return "Capturing stopped because of a bug; its traceback is in the server's output. Start the server again."

    def wait_for_pass(self, number: int, timeout_s: float) -> bool:
        """Wait until it has looked so often."""
        with self._looked:
            return self._looked.wait_for(lambda: self.passes >= number, timeout_s)

    def look(self) -> None:
        """One pass."""
        troubles: dict[str, None] = {}
        for run in self._runs():
            if self._ended.is_set():
                return
            try:
                facts = _facts(run)
                if self._seen.get(run.path) != facts:
                    self._capture(run.path)
                    self._seen[run.path] = facts
            except (InvestigatorError, OSError) as trouble:  # the next run may be whole
                troubles[str(trouble)] = None
        self.reading = None
        for then in self._after:
            try:
                then()
            except InvestigatorError as trouble:
                troubles[str(trouble)] = None
        said = "; ".join(list(troubles)[:5])
        if said and said != self._trouble:
            log.warning("capture: %s", said)
        self._trouble = said

    def _capture(self, path: Path) -> None:
        name, read = os.path.relpath(path.resolve(), self.store.folder.resolve()), 0
        self.reading = name, read

        def progress(lines: int) -> None:
            nonlocal read
            read += lines
            self.reading = name, read

        done = capture(path, self.store, self._analyzer, progress)
        self.reading = None
        log.info("%s: %d new, %d of them failed", path, done.experiments, done.failures)

    def _runs(self) -> list[RunFolder]:
        try:
            return find_runs(self.folder)
        except EpisodesError:  # no run yet
            return []

    def _watch(self) -> None:
        while True:
            self.look()
            with self._looked:
                self.passes += 1
                self._looked.notify_all()
            if self._ended.wait(self._every_s):
                return


def _facts(run: RunFolder) -> Facts:
    """What changes when there is something new in a run."""
    files = [*sorted(run.path.glob("*.json*")), *sorted(run.path.glob("episodes/*.jsonl"))]
    stats = []
    for path in files:
        try:
            facts = path.stat()
        except OSError:
            continue
        stats.append((path.name, facts.st_size, facts.st_mtime_ns))
    return run.being_written(), *stats

"""Take the logs of a run into its store, in the background: have them read, store them,
verify, tell how far it is.

A task is known by its id at once. Its progress is kept on disk, so that a server that was killed can say what
became of it, and the same call starts it again: rows have the same ids, so nothing is stored twice. Files
that are no logs, hold configuration or are unknown are listed with the reason. It decides nothing about what
may be downloaded (`core.downloads`) or how a row is read (`reading`, `core.sct_logs`).
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from core.downloads import Access, shown_url
from core.files import replace_file
from core.log_stores.contract import LogStore
from core.processes import runs
from core.redaction import redact
from project_types import Frozen, InvestigatorError, Timestamp
from testrun_investigator.metrics import FOLDER
from testrun_investigator.reading import Batch, Begun, Ended, Message, NextFile, Request, Skipped, messages

_SAVE_S = 0.5
_MOST_LISTED = 200

State = Literal["running", "done", "failed", "interrupted"]


class SkippedFile(Frozen):
    """A file of the archive that was not stored."""

    name: str
    why: str


class Task(Frozen):
    """An ingestion and how far it is."""

    id: str
    run_id: str
    source: str
    """The address without what makes it open, or the path."""
    state: State = "running"
    began: Timestamp
    ended: Timestamp | None = None
    pid: int = 0
    bytes_read: int = 0
    bytes_total: int | None = None
    file: str = ""
    """The file that is being read."""
    counts: Mapping[str, int] = {}
    """lines, rows, stored, duplicates, joined, repaired_clocks, without_clock, unparsed, cut."""
    streams: Mapping[str, int] = {}
    """Rows by stream."""
    services: tuple[str, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()
    error: str = ""

    @property
    def share(self) -> float | None:
        """Return how much of the source is read, 0 to 1; None when its size is unknown."""
        if self.state == "done":
            return 1.0
        return min(1.0, self.bytes_read / self.bytes_total) if self.bytes_total else None


class Tasks:
    """Every ingestion of this cache folder, and the threads that do them."""

    def __init__(self, cache: Path, access: Access, store: Callable[[str], LogStore]) -> None:
        self._folder, self._runs = cache / "tasks", cache / "runs"
        self._access, self._store = access, store
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()

    def start(self, url: str, run_id: str) -> Task:
        """Begin to ingest and return the task. The same source of a run has one task: a second call while it
        runs returns the first, later ones do it again.
        """
        task_id = task_id_of(run_id, url)
        with self._lock:
            running = self._running.get(task_id)
            if running is not None and running.task.state == "running":
                return running.task
            task = Task(
                id=task_id, run_id=run_id, source=shown(url), began=datetime.now(UTC), pid=os.getpid()
            )
            running = _Running(task, url, self._path(task_id), self._access, self._store, self._runs)
            self._running[task_id] = running
        running.start()
        return task  # as it begins

    def note(self, task: Task) -> None:
        """Keep how far a task is that somebody else does."""
        _write(self._path(task.id), task)

    def task(self, task_id: str) -> Task | None:
        """Return a task of this or of an earlier process; None when there is none."""
        running = self._running.get(task_id)
        return running.task if running else self._read(self._path(task_id))

    def of_run(self, run_id: str) -> list[Task]:
        """Return the tasks of a run, the oldest first."""
        found = [self.task(path.stem) for path in self._folder.glob(f"{run_id[:8]}-*.json")]
        return sorted((task for task in found if task and task.run_id == run_id), key=lambda task: task.began)

    def wait(self, task_id: str, seconds: float) -> Task | None:
        """Wait until a task of this process has ended, at most so long, and return it."""
        running = self._running.get(task_id)
        if running is not None:
            running.join(seconds)
        return self.task(task_id)

    def _path(self, task_id: str) -> Path:
        return self._folder / f"{Path(task_id).name}.json"

    def _read(self, path: Path) -> Task | None:
        try:
            task = Task.model_validate_json(path.read_bytes())
        except (OSError, ValueError):
            return None
        if task.state == "running" and not _alive(task.pid):
            hint = "it was stopped before its end; call ingest_logs again, nothing is stored twice"
            return task.model_copy(update={"state": "interrupted", "error": hint})
        return task


def _alive(pid: int) -> bool:
    # a task of this process would be among the running ones
    return pid != os.getpid() and runs(pid)


class _Running(threading.Thread):
    """One ingestion under way."""

    def __init__(
        self,
        task: Task,
        url: str,
        path: Path,
        access: Access,
        store: Callable[[str], LogStore],
        runs: Path,
    ) -> None:
        super().__init__(name=f"ingest-{task.id}", daemon=True)
        self.task, self._url, self._path = task, url, path
        self._access, self._open_store, self._runs = access, store, runs
        self._counts: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()
        self._services: dict[str, None] = {}
        self._skipped: list[SkippedFile] = []
        self._saved = 0.0
        self._save(force=True)

    def run(self) -> None:
        try:
            self._ingest()
        except InvestigatorError as trouble:
            self._end("failed", redact(str(trouble))[:1000])
        except Exception as bug:
            self._end(
                "failed", f"{type(bug).__name__} in the ingestion; this is a bug: {redact(str(bug))[:300]}"
            )
            raise
        else:
            self._end("done", "")

    def _ingest(self) -> None:
        folder = self._runs / self.task.run_id / FOLDER
        with messages(Request(self._url, self.task.run_id, str(folder), self._access)) as found:
            begun = next(found)
            assert isinstance(begun, Begun)
            self._update(bytes_total=begun.total)
            if begun.is_logs:
                self._store_all(found, self._open_store(self.task.run_id))
            else:
                for message in found:
                    self._take(message)

    def _store_all(self, found: Iterator[Message], store: LogStore) -> None:
        before = store.size()
        for message in found:
            if isinstance(message, Batch):
                store.ingest(message.columns)
            self._take(message)
        if self._skipped and not self._counts["rows"]:
            why = "; ".join(dict.fromkeys(one.why for one in self._skipped))[:200]
            raise InvestigatorError(f"it holds no log that can be used: {why}")
        self._counts["stored"] = store.size() - before
        self._counts["duplicates"] = self._counts["rows"] - self._counts["stored"]

    # ------------------------------------------------------------------------------------------- progress

    def _take(self, message: Message) -> None:
        """Remember how far it is."""
        match message:
            case NextFile(name, bytes_read):
                self._update(file=_inner(name), bytes_read=bytes_read)
            case Skipped(name, why):
                if len(self._skipped) < _MOST_LISTED:
                    self._skipped.append(SkippedFile(name=_inner(name)[-200:], why=why))
            case Batch(columns, stream, counts, bytes_read):
                self._counts = Counter(counts)
                self._streams[stream] += len(columns.ids)
                self._services.update(dict.fromkeys(columns.services))
                self._update(bytes_read=bytes_read)
            case Ended(counts):
                self._counts = Counter(counts)

    def _update(self, **changes: Any) -> None:
        known = {
            "counts": {name: number for name, number in self._counts.items() if number},
            "streams": dict(self._streams),
            "services": tuple(self._services),
            "skipped": tuple(self._skipped),
        }
        self.task = self.task.model_copy(update={**known, **changes})
        self._save()

    def _end(self, state: State, error: str) -> None:
        self._update(state=state, error=error, ended=datetime.now(UTC), file="")
        self._save(force=True)

    def _save(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._saved < _SAVE_S:
            return
        self._saved = now
        _write(self._path, self.task)


def _write(path: Path, task: Task) -> None:
    with suppress(OSError):  # a full disk must not hide what the store says about it
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, task.model_dump_json().encode())


def shown(source: str) -> str:
    """Return a source as it may be kept and shown: an address without what makes it open, or the path."""
    return shown_url(source) if "://" in source else source


def task_id_of(run_id: str, url: str) -> str:
    """Return the id of the one task that a source of a run has."""
    return f"{run_id[:8]}-{blake2b(f'{run_id} {url}'.encode(), digest_size=5).hexdigest()}"


def _inner(name: str) -> str:
    """The path of a file inside its archive."""
    return name.rpartition("!")[2]

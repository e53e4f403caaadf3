"""The logs of test runs, wherever they are stored: take them in, ask for them, say whether the store is well.

With `VICTORIA_LOGS_ENDPOINT` set the rows go to VictoriaLogs; without it into a SQLite file per run in the
cache folder. Callers see no difference. Downloading and reading are `ingestion`; what a store answers is
`core.log_stores`.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from core.log_stores import victorialogs
from core.log_stores.contract import Line, LogQuery, LogStore
from core.log_stores.growing import growing_store
from core.log_stores.query import known_service, words
from core.log_stores.times import window
from core.sct_logs import SERVICES, STREAMS, Stream
from project_types import InvestigatorError, Level, ToolInputError
from testrun_investigator.argus import run_id_of
from testrun_investigator.ingestion import Task, Tasks
from testrun_investigator.settings import Settings, read_settings

EMBEDDED = "logs.db"
_ANSWER_S = 20.0
"""Less than the deadline of a tool call. One query after another is made on a run."""


class LogsError(InvestigatorError):
    """The logs of a run cannot be read; the text says why and what to do."""


class Health(NamedTuple):
    """Whether the store of logs can be used."""

    well: bool
    says: str


class _Reader(NamedTuple):
    file: int
    store: LogStore


class LogPage(NamedTuple):
    """Rows of a run, in time order."""

    rows: Sequence[Line]
    matched: int
    """All rows that match."""


class VictoriaLogsHandler:
    """The logs of every run. Safe to use from several threads."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or read_settings()
        self.tasks = Tasks(self.settings.cache, self.settings.access, self.open_store)
        self._readers: dict[str, _Reader] = {}
        self._lock = threading.Lock()

    # --------------------------------------------------------------------------------------------- taking in

    def ingest_logs(self, url: str, run_id: str) -> str:
        """Begin to take in an archive (tar.zst) or a bare log, from http(s) or a
        file, and return a task id.
        """
        return self.tasks.start(url, run_id_of(run_id)).id

    def status(self, task_id: str) -> Task | None:
        """Return how far a task is; None for an unknown one."""
        return self.tasks.task(task_id)

    def open_store(self, run_id: str, answer_within_s: float = math.inf) -> LogStore:
        """Open a store of the run, for writing unless it must answer in time. Each
        has a connection of its own.
        """
        if self.settings.victoria_logs:
            return victorialogs.victorialogs_store(self.settings.victoria_logs, run_id)
        path = self._file(run_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        return growing_store(path, run_id, answer_within_s)

    # --------------------------------------------------------------------------------------------- asking

    def store(self, run_id: str) -> LogStore:
        """Return the run's store for reading.

        Raises:
            LogsError: nothing of the run was ingested.
        """
        run_id = run_id_of(run_id)
        file = self._file_number(run_id)
        with self._lock:
            known = self._readers.get(run_id)
            if known is None or known.file != file:  # a cache that was cleared has another file
                known = self._readers[run_id] = _Reader(file, self.open_store(run_id, _ANSWER_S))
            return known.store

    def _file_number(self, run_id: str) -> int:
        """Return what tells the run's file from an earlier one of the same name."""
        if self.settings.victoria_logs:
            return 0
        try:
            return self._file(run_id).stat().st_ino
        except OSError:
            raise LogsError(
                f"run {run_id}: no logs were ingested yet; call ingest_logs(url, run_id) first"
            ) from None

    def query_actions_log(
        self,
        run_id: str,
        start_time: str | None = None,
        end_time: str | None = None,
        keywords: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> LogPage:
        """Return what the test did, in time order."""
        return self.page(run_id, "action", start_time, end_time, keywords, limit=limit, offset=offset)

    def query_raw_events_log(
        self,
        run_id: str,
        start_time: str | None = None,
        end_time: str | None = None,
        keywords: str | None = None,
        severity: Level | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> LogPage:
        """Return SCT's own events, in time order."""
        return self.page(
            run_id, "event", start_time, end_time, keywords, severity, limit=limit, offset=offset
        )

    def page(
        self,
        run_id: str,
        stream: Stream,
        start_time: str | None = None,
        end_time: str | None = None,
        keywords: str | None = None,
        min_level: Level | None = None,
        node: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> LogPage:
        """Return rows of one stream of a run, in time order.

        Raises:
            LogsError: nothing of the run was ingested.
            ToolInputError: a time or keywords that cannot be used.
            NoSuchService: the node has no rows.
        """
        store = self.store(run_id)
        start_us, end_us = window(start_time, end_time, store.stretch())
        query = LogQuery(words=words(keywords), min_level=min_level, start_us=start_us, end_us=end_us)
        queries = [query.model_copy(update={"service": one}) for one in _services(store, stream, node)]
        parts = [store.lines(one, 0, offset + limit) for one in queries]
        rows = islice(merge(*parts, key=lambda line: line.at_us), offset, offset + limit)
        return LogPage(list(rows), sum(store.count(one).lines for one in queries))

    # --------------------------------------------------------------------------------------------- the store

    def health(self) -> Health:
        """Say whether the store can be used, and what to type when not."""
        cache = self.settings.cache
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=cache):
                free = shutil.disk_usage(cache).free
        except OSError as trouble:
            return Health(False, f"{cache}: cannot be used ({trouble.strerror}); set TESTRUN_CACHE_DIR")
        if self.settings.victoria_logs:
            return Health(*victorialogs.health(self.settings.victoria_logs))
        return Health(True, f"embedded SQLite in {cache}, {free >> 30} GB free")

    def _file(self, run_id: str) -> Path:
        return self.settings.run_folder(run_id) / EMBEDDED


def _services(store: LogStore, stream: Stream, node: str | None) -> Sequence[str]:
    """Return the services whose rows belong to a stream: one for the runner's logs, else the nodes."""
    if stream in SERVICES:
        if node is not None:
            raise ToolInputError(f"node: stream {stream} has no nodes; use keywords={node[:80]!r}")
        return [SERVICES[stream]]
    loaders, nodes = loaders_and_nodes(store)
    found = loaders if stream == "stress" else nodes
    if node is None:
        return found
    chosen = known_service(node, store)
    if chosen not in found:
        raise ToolInputError(f"node: {chosen} writes no stream {stream}; use one of {', '.join(found[:40])}")
    return [chosen]


def loaders_and_nodes(store: LogStore) -> tuple[list[str], list[str]]:
    """Return the loaders of a run, which send the load, and its other nodes."""
    nodes = [one for one in store.services() if one not in SERVICES.values()]
    loaders = [one for one in nodes if "loader" in one]
    return loaders, [one for one in nodes if one not in loaders]


def clock(at_us: int) -> str:
    """Write a moment of the store."""
    return (
        datetime.fromtimestamp(at_us / 1_000_000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


__all__ = ["STREAMS", "Health", "LogPage", "LogsError", "VictoriaLogsHandler", "clock", "loaders_and_nodes"]

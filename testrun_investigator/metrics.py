"""The metrics of runs: from the Prometheus that is configured, or from a run's own snapshot served here.

A snapshot lies in the run's cache folder once its monitor archive was ingested. Its Prometheus is started at
the first question and ends with this process. What the configured Prometheus says of the past is kept in the
same folder: the same question is not sent twice. Asking a server is `prometheus`.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path

from pydantic import TypeAdapter

from core.files import replace_file
from core.log_stores.contract import Stretch
from core.log_stores.times import window
from project_types import ToolInputError, Window
from testrun_investigator.local_prometheus import served
from testrun_investigator.prometheus import Metrics, PrometheusError, query_range
from testrun_investigator.settings import Settings

FOLDER = "metrics"
ANSWERS = "metric_answers"
_SETTLED = timedelta(minutes=10)
"""Until then points may still come for a moment that is past."""
_METRICS = TypeAdapter(Metrics)
_READY = "ready"
"""Holds the path of the unpacked blocks; written when a snapshot is complete."""


def mark_ready(folder: Path, blocks: Path) -> None:
    """Note that a run's snapshot is unpacked."""
    (folder / _READY).write_text(str(blocks.relative_to(folder)), encoding="utf-8")


class RunMetrics:
    """Answers range queries about runs. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._urls: dict[str, str] = {}
        self._stack = ExitStack()
        self._lock = threading.Lock()

    def close(self) -> None:
        """End every Prometheus that was started here."""
        with self._lock:
            self._stack.close()
            self._urls.clear()

    def ready(self, run_id: str) -> bool:
        """Say whether metrics of the run can be asked for."""
        return bool(self._settings.prometheus) or self._blocks(run_id) is not None

    def says(self, run_id: str) -> str:
        """Say where the run's metrics come from."""
        if self._settings.prometheus:
            return f"Prometheus at {self._settings.prometheus}"
        return "snapshot of the run's monitor" if self._blocks(run_id) else "none yet"

    def _blocks(self, run_id: str) -> Path | None:
        folder = self._settings.run_folder(run_id) / FOLDER
        note = folder / _READY
        return folder / note.read_text(encoding="utf-8") if note.is_file() else None

    async def query(
        self,
        run_id: str,
        promql: str,
        whole_us: tuple[int, int],
        start_time: str | None,
        end_time: str | None,
        deadline_s: float,
    ) -> Metrics:
        """Ask about the run, or a part of its time.

        Raises:
            PrometheusError: there are no metrics, or the server fails.
            ToolInputError: a time that cannot be used.
        """
        chosen = _within(whole_us, start_time, end_time)
        if self._settings.prometheus:
            return await self._kept(run_id, promql, chosen, deadline_s)
        return await query_range(await asyncio.to_thread(self._local, run_id), promql, chosen, deadline_s)

    async def _kept(self, run_id: str, promql: str, chosen: Window, deadline_s: float) -> Metrics:
        """Return what the configured server said before about the same, or ask it and keep the answer."""
        url = self._settings.prometheus
        asked = f"{url} {promql} {chosen.start.isoformat()} {chosen.end.isoformat()}"
        folder = self._settings.run_folder(run_id) / ANSWERS
        path = folder / f"{blake2b(asked.encode(), digest_size=16).hexdigest()}.json"
        with suppress(OSError, ValueError):
            return _METRICS.validate_json(path.read_bytes())
        found = await query_range(url, promql, chosen, deadline_s)
        if found.series and datetime.now(UTC) - chosen.end > _SETTLED:
            with suppress(OSError):  # a full disk keeps nobody from the answer
                folder.mkdir(parents=True, exist_ok=True)
                replace_file(path, _METRICS.dump_json(found))
        return found

    def _local(self, run_id: str) -> str:
        with self._lock:
            if run_id not in self._urls:
                blocks = self._blocks(run_id)
                if blocks is None:
                    raise PrometheusError(
                        f"run {run_id}: no metrics at hand; ingest its monitor-set archive with ingest_logs, "
                        "or set PROMETHEUS_URL"
                    )
                self._urls[run_id] = self._stack.enter_context(served(blocks))
            return self._urls[run_id]


def _within(whole_us: tuple[int, int], start_time: str | None, end_time: str | None) -> Window:
    """Return the part of the run that is asked about. Raises ToolInputError for a time outside of it."""
    first_us, last_us = whole_us
    start_us, end_us = window(start_time, end_time, Stretch(*whole_us))
    start_us = first_us if start_us is None else max(start_us, first_us)
    end_us = last_us if end_us is None else min(end_us, last_us)
    if start_us > end_us:
        run = f"{_at(first_us):%Y-%m-%dT%H:%M:%SZ} to {_at(last_us):%Y-%m-%dT%H:%M:%SZ}"
        raise ToolInputError(f"start_time, end_time: name a part of the run, which lasted from {run}")
    return Window(start=_at(start_us), end=_at(end_us))


def _at(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)

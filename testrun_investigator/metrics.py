"""The metrics of runs: from the Prometheus that is configured, or from a run's own snapshot served here.

A snapshot lies in the run's cache folder once its monitor archive was ingested. Its Prometheus is started at
the first question and ends with this process. Asking a server is `prometheus`.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from core.log_stores.contract import Stretch
from core.log_stores.times import window
from project_types import Window
from testrun_investigator.local_prometheus import served
from testrun_investigator.prometheus import Metrics, PrometheusError, query_range
from testrun_investigator.settings import Settings

FOLDER = "metrics"
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
        start_us, end_us = window(start_time, end_time, Stretch(*whole_us))
        chosen = Window(
            start=_at(whole_us[0] if start_us is None else start_us),
            end=_at(whole_us[1] if end_us is None else end_us),
        )
        url = self._settings.prometheus or await asyncio.to_thread(self._local, run_id)
        return await query_range(url, promql, chosen, deadline_s)

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


def _at(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)

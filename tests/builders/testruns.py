"""Findings about test runs, and sessions of an assistant, in a cache folder of the Test Run Investigator."""

from __future__ import annotations

from datetime import UTC, datetime

from project_types import LogRecord
from testrun_investigator.history import Finding, History
from testrun_investigator.sessions import SESSIONS, McpSessions
from testrun_investigator.settings import Settings
from testrun_investigator.victoria_logs import VictoriaLogsHandler

RUN = "3c1a8a2e-5d1f-4c0e-9d47-6a1f0b2c3d4e"
OTHER_RUN = "7b2e9c10-8a4d-4f3b-b1c6-0d5e4f3a2b1c"
ROW = "4a6d6c36dc000007"


def save_finding(settings: Settings, run_id: str, cause: str) -> Finding:
    """Keep a finding that cites the one row of its run."""
    store = VictoriaLogsHandler(settings).open_store(run_id)
    row = LogRecord(
        id=ROW,
        timestamp=datetime(2026, 5, 17, 4, 44, tzinfo=UTC),
        service="db-node-4",
        level="ERROR",
        message="commitlog - No space left on device",
    )
    store.ingest([row])
    versions = {"scylla": "2026.1.0"}
    return History(settings.findings).save(store, run_id, cause, "db-node-4", [ROW], versions=versions)


def save_session(settings: Settings, run_id: str, cause: str | None, shown: str) -> None:
    """Keep what an assistant did: a search, and a finding where there is a cause."""
    sessions = McpSessions(settings.cache / SESSIONS, "ask the knowledge base first")
    sessions.called("search_logs", {"run_id": run_id, "keywords": "space"}, shown, failed=False)
    if cause is not None:
        said = {"run_id": run_id, "cause": cause, "service": "db-node-4", "log_ids": [ROW]}
        sessions.called("save_finding", said, "kept", failed=False)
    sessions.close()

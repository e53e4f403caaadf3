"""What one transaction writes into failures.db: experiments, and how far each file has been read."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from failure_analysis.records import Experiment
from failure_analysis.stored_rows import episode_row, experiment_row, failure_row, plain
from project_types import Frozen


class Source(Frozen):
    """How far a file has been read, so that the next capture goes on from there."""

    path: str
    offset: int = 0
    line: int = 0
    head: str = ""
    """A hash of how the file begins: a file that was replaced is read again from its start."""
    trouble: str = ""
    """What could not be read, in words for a person; empty when all could."""


class Writer:
    """What one transaction writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, experiment: Experiment) -> None:
        """Store an experiment with its episode facts and its failure, replacing
        what was stored under its id.
        """
        self._put("experiments", experiment_row(experiment))
        if experiment.episode is not None:
            self._put("episodes", episode_row(experiment.id, experiment.episode))
        failure = experiment.failure
        if failure is None:
            self._connection.execute("DELETE FROM failures WHERE id = ?", [experiment.id])
            return
        self._put("failures", failure_row(experiment.id, failure))
        self._put("templates", (failure.signature, failure.template))

    def forget(self, id: str) -> None:
        """Remove one experiment."""
        for table in ("experiments", "episodes", "failures"):
            self._connection.execute(f"DELETE FROM {table} WHERE id = ?", [id])

    def forget_file(self, file: str) -> None:
        """Remove every episode of a JSONL file."""
        ids = self._connection.execute("SELECT id FROM episodes WHERE file = ?", [file]).fetchall()
        for (id,) in ids:
            self.forget(id)

    def stored_at(self, id: str) -> datetime | None:
        """When the stored experiment of this id happened; None when there is none."""
        row = self._connection.execute("SELECT at_ms FROM experiments WHERE id = ?", [id]).fetchone()
        return datetime.fromtimestamp(row[0] / 1000, UTC) if row else None

    def source(self, path: str) -> Source | None:
        """How far a file has been read."""
        row = self._connection.execute(
            "SELECT path, offset, line, head, trouble FROM sources WHERE path = ?", [path]
        ).fetchone()
        return Source(path=row[0], offset=row[1], line=row[2], head=row[3], trouble=row[4]) if row else None

    def put_source(self, source: Source) -> None:
        """Remember how far a file has been read."""
        self._put("sources", (source.path, source.offset, source.line, source.head, source.trouble))

    def _put(self, table: str, values: Sequence[Any]) -> None:
        self._connection.execute(
            f"INSERT OR REPLACE INTO {table} VALUES ({','.join('?' * len(values))})", [*map(plain, values)]
        )

"""What the service remembers: models, checkpoints, jobs and their events, in one SQLite file.

One connection, one lock, synchronous commits: a row that was answered to a client survives a kill. A finished
job is a single transaction (checkpoint row, job state, last event), so a step either happened or did not. The
folders that hold weights are `folders.py`; this module never touches them.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from project_types import ConfigurationError
from training_service.engine import RequestError
from training_service.wire import Json, PageQuery, to_json

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE model (
    id TEXT PRIMARY KEY, entity TEXT NOT NULL, project TEXT NOT NULL, name TEXT NOT NULL,
    base_model TEXT NOT NULL, created_at TEXT NOT NULL, UNIQUE (entity, project, name));
CREATE TABLE checkpoint (
    model_id TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL, created_at TEXT NOT NULL,
    PRIMARY KEY (model_id, step)) WITHOUT ROWID;
CREATE TABLE job (
    id TEXT PRIMARY KEY, model_id TEXT NOT NULL, state TEXT NOT NULL, step INTEGER, created_at TEXT NOT NULL, ended_at TEXT);
CREATE INDEX job_by_state ON job (state);
CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX event_by_job ON event (job_id, seq);
"""
MAX_PAGE = 100


@dataclass(frozen=True)
class Model:
    """A registered model. Step 0 is its base; it is never listed and never deleted."""

    id: str
    entity: str
    project: str
    name: str
    base_model: str

    @property
    def full_name(self) -> str:
        return f"{self.entity}/{self.project}/{self.name}"


class ModelExists(Exception):
    """Another model has this entity, project and name."""


class ModelGone(Exception):
    """The model was deleted while its job ran."""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Store:
    """The database of one data folder. Methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            self._db.close()
            raise ConfigurationError(
                f"{path}: made by another version of the service (schema {version}); choose another --data"
            )
        if version == 0:
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # --------------------------------------------------------------------------------------------------------
    # models

    def add_model(self, model: Model) -> None:
        """Raises ModelExists."""
        try:
            with self._lock, self._db:
                self._db.execute(
                    "INSERT INTO model VALUES (?, ?, ?, ?, ?, ?)",
                    (model.id, model.entity, model.project, model.name, model.base_model, now()),
                )
        except sqlite3.IntegrityError as trouble:
            raise ModelExists(model.full_name) from trouble

    def models(self, **where: str) -> list[Model]:
        """Models whose columns equal `where`, oldest first."""
        condition = " AND ".join(f"{column} = ?" for column in where) or "1"
        sql = f"SELECT id, entity, project, name, base_model FROM model WHERE {condition} ORDER BY rowid"
        with self._lock:
            return [Model(*row) for row in self._db.execute(sql, tuple(where.values()))]

    def model(self, model_id: str) -> Model:
        """Raises RequestError 404."""
        found = self.models(id=model_id)
        if not found:
            raise RequestError(
                404,
                f"no model has id {model_id!r}; register it first: POST /preview/models",
                "model_not_found",
            )
        return found[0]

    def delete_model(self, model_id: str) -> list[int]:
        """Forget a model and its checkpoints; its jobs stay readable. Returns the steps it had."""
        with self._lock, self._db:
            steps = self.steps(model_id)
            self._db.execute("DELETE FROM checkpoint WHERE model_id = ?", (model_id,))
            self._db.execute("DELETE FROM model WHERE id = ?", (model_id,))
        return steps

    # ---------------------------------------------------------------------------------------------------
    # checkpoints

    def steps(self, model_id: str) -> list[int]:
        """Steps with a checkpoint, ascending; step 0 is not among them."""
        with self._lock:
            rows = self._db.execute(
                "SELECT step FROM checkpoint WHERE model_id = ? ORDER BY step", (model_id,)
            )
            return [step for (step,) in rows]

    def latest_step(self, model_id: str) -> int:
        with self._lock:
            (step,) = self._db.execute(
                "SELECT max(step) FROM checkpoint WHERE model_id = ?", (model_id,)
            ).fetchone()
        return int(step or 0)

    def checkpoints(self, model_id: str, query: PageQuery) -> tuple[list[Json], bool]:
        """One page of checkpoints and whether there are more."""
        rows, more = self._page(
            "SELECT step, metrics FROM checkpoint WHERE model_id = ?", "step", model_id, query
        )
        return [
            {"id": f"{model_id}:{step}", "step": step, "metrics": json.loads(metrics)}
            for step, metrics in rows
        ], more

    def delete_checkpoints(self, model_id: str, steps: Iterable[int]) -> tuple[list[int], list[int]]:
        """Forget steps: (deleted, not found). Raises RequestError 409 when the latest is among them."""
        wanted = sorted(set(steps))
        with self._lock, self._db:
            existing = set(self.steps(model_id))
            if existing and max(existing) in wanted:
                raise RequestError(
                    409,
                    f"step {max(existing)} is the latest, and training goes on from it; leave it out of steps, "
                    f"or delete the whole model: DELETE /preview/models/{model_id}",
                    "latest_checkpoint",
                )
            deleted = [step for step in wanted if step in existing]
            self._db.executemany(
                "DELETE FROM checkpoint WHERE model_id = ? AND step = ?", [(model_id, s) for s in deleted]
            )
        return deleted, [step for step in wanted if step not in existing]

    # ---------------------------------------------------------------------------------------------- jobs and
    # events

    def add_job(self, model_id: str) -> str:
        job_id = f"job-{uuid.uuid4().hex}"
        with self._lock, self._db:
            self._db.execute(
                "INSERT INTO job VALUES (?, ?, 'queued', NULL, ?, NULL)", (job_id, model_id, now())
            )
        return job_id

    def job(self, job_id: str) -> Json:
        """Raises RequestError 404."""
        columns = ("id", "model_id", "state", "step", "created_at", "ended_at")
        with self._lock:
            row = self._db.execute(f"SELECT {', '.join(columns)} FROM job WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise RequestError(
                404,
                f"no training job has id {job_id!r}; submit one: POST /preview/training-jobs",
                "job_not_found",
            )
        return dict(zip(columns, row, strict=True))

    def start_job(self, job_id: str) -> None:
        with self._lock, self._db:
            self._db.execute("UPDATE job SET state = 'running' WHERE id = ?", (job_id,))

    def add_event(self, job_id: str, kind: str, data: Mapping[str, Any]) -> None:
        with self._lock, self._db:
            self._event(job_id, kind, data)

    def finish_job(self, job_id: str, model_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """The step, the job's success and its last event, all or nothing. Raises ModelGone."""
        with self._lock, self._db:
            if not self.models(id=model_id):
                raise ModelGone(model_id)
            row = (model_id, step, to_json(dict(metrics)), now())
            self._db.execute("INSERT INTO checkpoint VALUES (?, ?, ?, ?)", row)
            self._db.execute(
                "UPDATE job SET state = 'succeeded', step = ?, ended_at = ? WHERE id = ?",
                (step, now(), job_id),
            )
            self._event(job_id, "training_ended", {"step": step})

    def fail_job(self, job_id: str, reason: str) -> None:
        with self._lock, self._db:
            self._db.execute("UPDATE job SET state = 'failed', ended_at = ? WHERE id = ?", (now(), job_id))
            self._event(job_id, "training_failed", {"error_message": reason})

    def unfinished_jobs(self) -> list[Json]:
        with self._lock:
            rows = self._db.execute(
                "SELECT id FROM job WHERE state IN ('queued', 'running') ORDER BY rowid"
            ).fetchall()
        return [self.job(job_id) for (job_id,) in rows]

    def events(self, job_id: str, query: PageQuery) -> tuple[list[Json], bool]:
        """One page of a job's events and whether there are more."""
        rows, more = self._page("SELECT seq, type, data FROM event WHERE job_id = ?", "seq", job_id, query)
        return [
            {"id": f"{job_id}:{seq}", "type": kind, "data": json.loads(data)} for seq, kind, data in rows
        ], more

    def _event(self, job_id: str, kind: str, data: Mapping[str, Any]) -> None:
        self._db.execute(
            "INSERT INTO event (job_id, type, data) VALUES (?, ?, ?)", (job_id, kind, to_json(dict(data)))
        )

    def _page(self, select: str, key: str, owner: str, query: PageQuery) -> tuple[list[Any], bool]:
        ascending, limit = query.order == "asc", min(query.limit, MAX_PAGE)
        sql = select
        values: list[str | int] = [owner]
        for cursor, comparison in (
            (query.after, ">" if ascending else "<"),
            (query.before, "<" if ascending else ">"),
        ):
            if cursor is not None:
                sql += f" AND {key} {comparison} ?"
                values.append(_cursor(owner, cursor))
        backwards = query.before is not None and query.after is None
        direction = "ASC" if ascending != backwards else "DESC"
        with self._lock:
            rows = self._db.execute(
                f"{sql} ORDER BY {key} {direction} LIMIT ?", (*values, limit + 1)
            ).fetchall()
        kept = rows[:limit]
        return (kept[::-1] if backwards else kept), len(rows) > limit


def _cursor(owner: str, cursor: str) -> int:
    """The number in a cursor, which is the id of a row: '<owner>:<number>'. It need not exist any more."""
    stem, _, number = cursor.rpartition(":")
    if stem != owner or not number.isascii() or not number.isdigit() or len(number) > 18:
        message = f"cursor {cursor!r} is not the id of a row in this list; take first_id or last_id of a page"
        raise RequestError(400, message, "bad_cursor")
    return int(number)

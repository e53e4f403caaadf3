"""failures.db: everything that was captured, in one SQLite file beside the runs, and what a page or an API
reads from it.

`runs/failures.db` holds every run of `runs/`; `runs/failures/SIGNATURE.txt` says the same for people, one
file per group of alike failures (`texts`). Episodes themselves stay in their JSONL files: the database keeps
where each one lies.

Reading (`FailureStore(path)`; every call opens and closes its own connection, so any thread may call; nothing is written):
    store.experiments(Wanted(...), order=, offset=, limit=)  -> Page[Experiment]; each failed one carries .failure_analysis
    store.experiment(id)                                     -> Experiment or None, with its Failure (claims, excerpt)
    store.runs()                                             -> the training runs and evaluations, latest first
    store.transcript(experiment)                             -> the project_types.Episode, read from its JSONL file
    store.values("fault_type")                               -> what a filter can be set to
    aggregates.counts(store, by, bucket, wanted)             -> numbers by category, severity or kind over time
    aggregates.groups(store, wanted)                         -> groups of alike failures, first and last seen, trend
    aggregates.similar(store, experiment_id or text)        -> nearest stored failures by message template
    comparing.compare(store, Side(run), Side(run, step=40))   -> which scenarios a training run fixed or broke
"Episodes" are `experiments(Wanted(types=(ExperimentType.EPISODE,)))`; each has `.episode` (ending, reward, turns, ...).

Writing is one `with store.writing() as writer:` per batch: one transaction, one writer at a time, all or
nothing. The same experiment written twice is one row. A file that SQLite cannot read raises StoreError, which
says how to put it aside and capture again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from core.episode_store.episodes import EpisodesError, read_at
from failure_analysis.records import Experiment, ExperimentType, Page, StoreError
from failure_analysis.store_writer import Source, Writer
from failure_analysis.stored_rows import experiment_of, milliseconds
from failure_analysis.tables import MIGRATIONS, check_version, make_tables
from failure_analysis.wanted import EVERYTHING, JOINED, ORDERS, Column, Order, Wanted
from project_types import Episode

__all__ = [
    "DATABASE",
    "EVERYTHING",
    "JOINED",
    "LARGEST_PAGE",
    "FailureStore",
    "Order",
    "Source",
    "Wanted",
    "Writer",
    "milliseconds",
]

DATABASE = "failures.db"
BUSY_S = 30.0
LARGEST_PAGE = 1000


class FailureStore:
    """One failures.db; see the module for what can be asked of it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def folder(self) -> Path:
        """The folder that stored paths are relative to."""
        return self.path.parent

    # -- reading

    def experiments(
        self, wanted: Wanted = EVERYTHING, *, order: Order = "newest", offset: int = 0, limit: int = 100
    ) -> Page[Experiment]:
        """A page of experiments; `limit` is at most LARGEST_PAGE."""
        condition, values = wanted.sql()
        limit, offset = max(1, min(limit, LARGEST_PAGE)), max(0, offset)
        with self.reading() as database:
            total = database.execute(f"SELECT count(*) FROM {JOINED} WHERE {condition}", values).fetchone()[0]
            query = f"SELECT * FROM {JOINED} WHERE {condition} ORDER BY {ORDERS[order]} LIMIT ? OFFSET ?"
            rows = [experiment_of(row) for row in database.execute(query, [*values, limit, offset])]
        return Page(rows=tuple(rows), total=total, offset=offset, limit=limit)

    def experiment(self, id: str) -> Experiment | None:
        """One experiment, or None when there is none of that id."""
        with self.reading() as database:
            row = database.execute(f"SELECT * FROM {JOINED} WHERE e.id = ?", [id]).fetchone()
        return experiment_of(row) if row else None

    def runs(self) -> tuple[Experiment, ...]:
        """Training runs and evaluations, latest first."""
        whole = Wanted(types=(ExperimentType.TRAINING_RUN, ExperimentType.EVALUATION))
        return self.experiments(whole, limit=LARGEST_PAGE).rows

    def values(self, column: Column) -> tuple[str | int, ...]:
        """The different values of a column, for filters; the empty one is left out."""
        table = {"ending": "episodes", "kind": "failures"}.get(column, "experiments")
        query = f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY 1"
        with self.reading() as database:
            return tuple(value for (value,) in database.execute(query) if value != "")

    def transcript(self, experiment: Experiment) -> Episode:
        """The stored episode of an experiment, read from its JSONL file. Raises StoreError when it is not
        there any more.
        """
        facts = experiment.episode
        if facts is None:
            raise StoreError(f"{experiment.name} is no episode; only episodes have a transcript")
        path = self.folder / facts.file
        again = f"python -m failure_analysis capture {self.folder / experiment.run}"
        try:
            found = read_at(path, facts.offset)
        except EpisodesError as trouble:
            raise StoreError(str(trouble)) from trouble
        except ValueError as trouble:
            raise StoreError(f"{path}: changed since it was captured; run: {again}") from trouble
        if (found.scenario_id, found.sample) != (experiment.scenario_id, experiment.sample):
            raise StoreError(f"{path}: changed since it was captured; run: {again}")
        return found

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection, for queries over the tables of SCHEMA. Raises StoreError for a file
        that is missing or damaged.
        """
        if not self.path.exists():
            raise StoreError(
                f"{self.path}: no such file; make it: python -m failure_analysis capture RUN_DIR"
            )
        with self._errors(), closing(self._opened()) as opened:
            yield opened

    def _opened(self) -> sqlite3.Connection:
        """A read-only connection to a file of this version; an older one is brought up to it first."""
        opened = sqlite3.connect(address(self.path), uri=True, timeout=BUSY_S)
        if check_version(opened, self.path) in MIGRATIONS:
            opened.close()
            with self.writing():
                pass
            opened = sqlite3.connect(address(self.path), uri=True, timeout=BUSY_S)
        opened.row_factory = sqlite3.Row
        return opened

    # -- writing

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """A transaction: committed when the block ends, undone when it raises. Makes the file when there is
        none.
        """
        with self._errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)) as opened:
                opened.execute("BEGIN IMMEDIATE")
                try:
                    make_tables(opened, self.path)
                    yield Writer(opened)
                except BaseException:
                    opened.rollback()
                    raise
                opened.commit()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as trouble:
            raise StoreError(
                f"{self.path}: cannot be used now ({trouble}); try again, or give another --failures"
            ) from trouble
        except sqlite3.DatabaseError as trouble:
            fix = f"run: python -m failure_analysis repair --failures {self.path}"
            raise StoreError(f"{self.path}: damaged, or no SQLite file ({trouble}); {fix}") from trouble
        except OSError as trouble:
            raise StoreError(
                f"{self.path}: cannot be written ({trouble.strerror}); give another --failures"
            ) from trouble


def address(path: Path) -> str:
    """To read from: read-only, unless a writer was killed half-way; then SQLite has to undo what that one
    wrote.
    """
    half_written = path.with_name(f"{path.name}-journal").exists()
    return f"{path.resolve().as_uri()}?mode={'rw' if half_written else 'ro'}"

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

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from core.episode_store.episodes import EpisodesError, read_at
from failure_analysis.records import (
    Claim,
    EpisodeFacts,
    Experiment,
    ExperimentType,
    Failure,
    FailureAnalysis,
    FailureCategory,
    InvestigationKind,
    Page,
    RulesVerdict,
    Severity,
    Status,
    StoreError,
)
from project_types import Episode, Frozen

DATABASE = "failures.db"
VERSION = 3
BUSY_S = 30.0
LARGEST_PAGE = 1000

SCHEMA = """
CREATE TABLE IF NOT EXISTS experiments (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, name TEXT NOT NULL, run TEXT NOT NULL, status TEXT NOT NULL, at_ms INTEGER NOT NULL,
    source TEXT NOT NULL, split TEXT NOT NULL, sampling TEXT NOT NULL, step INTEGER, policy TEXT NOT NULL,
    scenario_id TEXT NOT NULL, sample INTEGER, fault_type TEXT NOT NULL, topology TEXT NOT NULL, unseen INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS experiments_by_time ON experiments (at_ms DESC, id);
CREATE INDEX IF NOT EXISTS experiments_by_run ON experiments (run, type, split, step);
CREATE TABLE IF NOT EXISTS episodes (
    id TEXT PRIMARY KEY, file TEXT NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, ending TEXT NOT NULL,
    correct INTEGER NOT NULL, grounded INTEGER NOT NULL, reward REAL, turns INTEGER NOT NULL, seconds REAL NOT NULL,
    tokens INTEGER NOT NULL, cost_usd REAL NOT NULL, blamed TEXT NOT NULL,
    question TEXT NOT NULL DEFAULT '', answer TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
    id TEXT PRIMARY KEY, signature TEXT NOT NULL, category TEXT NOT NULL, severity TEXT NOT NULL, kind TEXT,
    root_cause TEXT NOT NULL, fix TEXT NOT NULL, method TEXT NOT NULL, why_method TEXT NOT NULL, model TEXT,
    analysis_cost_usd REAL NOT NULL, claims TEXT NOT NULL, error_message TEXT NOT NULL, excerpt TEXT NOT NULL,
    times INTEGER NOT NULL, rules_category TEXT, rules_severity TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS failures_by_signature ON failures (signature);
CREATE TABLE IF NOT EXISTS templates (signature TEXT PRIMARY KEY, template TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
    path TEXT PRIMARY KEY, offset INTEGER NOT NULL, line INTEGER NOT NULL, head TEXT NOT NULL, trouble TEXT NOT NULL
) WITHOUT ROWID;
"""
MIGRATIONS = {
    1: (
        "ALTER TABLE failures ADD COLUMN rules_category TEXT",
        "ALTER TABLE failures ADD COLUMN rules_severity TEXT",
    ),
    2: (
        "ALTER TABLE episodes ADD COLUMN question TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE episodes ADD COLUMN answer TEXT NOT NULL DEFAULT ''",
        "DELETE FROM sources WHERE path LIKE '%.jsonl'",  # so that the next capture reads question and answer
    ),
}
"""What makes a file of an older version one of the next."""
JOINED = "experiments e LEFT JOIN episodes p USING (id) LEFT JOIN failures f USING (id) LEFT JOIN templates t USING (signature)"

SEARCHED = (
    "e.name", "e.run", "e.scenario_id", "e.fault_type", "p.question", "p.answer", "p.blamed", "f.kind", "f.category",
    "f.error_message", "f.root_cause", "f.fix", "t.template",
)  # fmt: skip
"""Columns that a search looks at."""

Order = Literal["newest", "oldest", "severity", "reward", "turns"]
ORDERS: dict[Order, str] = {
    "newest": "e.at_ms DESC, e.id",
    "oldest": "e.at_ms, e.id",
    "severity": "CASE f.severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 WHEN 'low' THEN 3 ELSE 4 END, "
    "e.at_ms DESC, e.id",
    "reward": "p.reward, e.id",
    "turns": "p.turns DESC, e.id",
}
Column = Literal[
    "type", "status", "run", "split", "sampling", "step", "policy", "fault_type", "topology", "ending", "kind"
]


class Wanted(Frozen):
    """Which experiments; what is left out is not asked. Everything given must hold."""

    types: tuple[ExperimentType, ...] = ()
    statuses: tuple[Status, ...] = ()
    categories: tuple[FailureCategory, ...] = ()
    severities: tuple[Severity, ...] = ()
    kinds: tuple[InvestigationKind, ...] = ()
    signature: str | None = None
    run: str | None = None
    split: str | None = None
    sampling: str | None = None
    step: int | None = None
    policy: str | None = None
    scenario_id: str | None = None
    sample: int | None = None
    fault_type: str | None = None
    topology: str | None = None
    ending: str | None = None
    correct: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    """Occurs in one of the columns SEARCHED; case does not matter."""
    also: tuple[str, ...] = ()
    """Ids of experiments in whose transcripts the text occurs (`transcript_search`)."""

    @property
    def tried(self) -> Wanted:
        """What was tried, failed or not: the same without what only failures have."""
        return self.model_copy(
            update={"categories": (), "severities": (), "kinds": (), "signature": None, "statuses": ()}
        )

    def sql(self) -> tuple[str, list[Any]]:
        """A condition over JOINED, and its parameters."""
        parts, values = ["1"], list[Any]()
        lists = {"e.type": self.types, "e.status": self.statuses, "f.category": self.categories}
        for column, choices in (lists | {"f.severity": self.severities, "f.kind": self.kinds}).items():
            if choices:
                parts.append(f"{column} IN ({','.join('?' * len(choices))})")
                values += map(str, choices)
        same = {"f.signature": self.signature, "p.ending": self.ending, "p.correct": self.correct}
        for name in (
            "run",
            "split",
            "sampling",
            "step",
            "policy",
            "scenario_id",
            "sample",
            "fault_type",
            "topology",
        ):
            same[f"e.{name}"] = getattr(self, name)
        for column, value in same.items():
            if value is not None:
                parts.append(f"{column} = ?")
                values.append(value)
        for sign, moment in ((">=", self.since), ("<", self.until)):
            if moment is not None:
                parts.append(f"e.at_ms {sign} ?")
                values.append(milliseconds(moment))
        if self.text:
            searched = [f"instr(lower(replace({column}, '_', ' ')), ?) > 0" for column in SEARCHED]
            parts.append(f"({' OR '.join(searched)} OR e.id IN (SELECT value FROM json_each(?)))")
            values += [self.text.lower().replace("_", " ")] * len(SEARCHED) + [json.dumps(self.also)]
        return " AND ".join(parts), [_plain(value) for value in values]


EVERYTHING = Wanted()


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
            rows = [_experiment(row) for row in database.execute(query, [*values, limit, offset])]
        return Page(rows=tuple(rows), total=total, offset=offset, limit=limit)

    def experiment(self, id: str) -> Experiment | None:
        """One experiment, or None when there is none of that id."""
        with self.reading() as database:
            row = database.execute(f"SELECT * FROM {JOINED} WHERE e.id = ?", [id]).fetchone()
        return _experiment(row) if row else None

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
        """A read-only connection, for queries over the tables of SCHEMA. Raises StoreError for a file that is missing or
        damaged.
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
        if _check_version(opened, self.path) in MIGRATIONS:
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
                    _make_tables(opened, self.path)
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


class Writer:
    """What one transaction writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, experiment: Experiment) -> None:
        """Store an experiment with its episode facts and its failure, replacing what was stored under its id."""
        e, facts, failure = experiment, experiment.episode, experiment.failure
        place = (
            e.source,
            e.split,
            e.sampling,
            e.step,
            e.policy,
            e.scenario_id,
            e.sample,
            e.fault_type,
            e.topology,
            e.unseen,
        )
        self._put("experiments", (e.id, e.type, e.name, e.run, e.status, milliseconds(e.at), *place))
        if facts is not None:
            came_to = (
                facts.ending,
                facts.correct,
                facts.grounded,
                facts.reward,
                facts.turns,
                facts.seconds,
                facts.tokens,
            )
            self._put(
                "episodes",
                (
                    e.id,
                    facts.file,
                    facts.offset,
                    facts.length,
                    *came_to,
                    facts.cost_usd,
                    facts.blamed,
                    facts.question,
                    facts.answer,
                ),
            )
        if failure is None:
            self._connection.execute("DELETE FROM failures WHERE id = ?", [e.id])
            return
        why, claims = (
            failure.analysis,
            json.dumps([claim.model_dump(mode="json") for claim in failure.claims]),
        )
        found = (why.failure_category, why.severity, failure.kind, why.root_cause, why.fix_suggestion)
        how = (why.method, why.why_method, why.model, why.cost_usd)
        self._put(
            "failures",
            (
                e.id,
                failure.signature,
                *found,
                *how,
                claims,
                failure.error_message,
                failure.excerpt,
                failure.times,
                why.rules.failure_category if why.rules else None,
                why.rules.severity if why.rules else None,
            ),
        )
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
            f"INSERT OR REPLACE INTO {table} VALUES ({','.join('?' * len(values))})", [*map(_plain, values)]
        )


class Source(Frozen):
    """How far a file has been read, so that the next capture goes on from there."""

    path: str
    offset: int = 0
    line: int = 0
    head: str = ""
    """A hash of how the file begins: a file that was replaced is read again from its start."""
    trouble: str = ""
    """What could not be read, in words for a person; empty when all could."""


def address(path: Path) -> str:
    """To read from: read-only, unless a writer was killed half-way; then SQLite has to undo what that one
    wrote.
    """
    half_written = path.with_name(f"{path.name}-journal").exists()
    return f"{path.resolve().as_uri()}?mode={'rw' if half_written else 'ro'}"


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def _plain(value: Any) -> Any:
    """What SQLite stores: an enum member as its text, and no half of a surrogate pair."""
    if isinstance(value, str):
        return str(value).encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
    return value


def _make_tables(database: sqlite3.Connection, path: Path) -> None:
    version = _check_version(database, path)
    if version == VERSION:
        return
    older = range(version, VERSION) if version else ()
    for statement in (
        *(SCHEMA.split(";") if not version else ()),
        *(one for each in older for one in MIGRATIONS[each]),
    ):
        database.execute(statement)
    database.execute(f"PRAGMA user_version = {VERSION}")


def _check_version(database: sqlite3.Connection, path: Path) -> int:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION, *MIGRATIONS):
        raise StoreError(
            f"{path}: written by another version ({version}, this one reads {VERSION}); give another --failures"
        )
    return version


def _experiment(row: sqlite3.Row) -> Experiment:
    """A row of JOINED as an Experiment."""
    return Experiment.model_construct(
        **{
            name: row[name]
            for name in ("id", "name", "run", "source", "split", "sampling", "step", "policy", "scenario_id")
        },
        **{name: row[name] for name in ("sample", "fault_type", "topology")},
        type=ExperimentType(row["type"]),
        status=Status(row["status"]),
        at=datetime.fromtimestamp(row["at_ms"] / 1000, UTC),
        unseen=bool(row["unseen"]),
        episode=_facts(row) if row["file"] is not None else None,
        failure=_failure(row) if row["signature"] is not None else None,
    )


def _facts(row: sqlite3.Row) -> EpisodeFacts:
    names = (
        "file",
        "offset",
        "length",
        "ending",
        "reward",
        "turns",
        "seconds",
        "tokens",
        "cost_usd",
        "blamed",
        "question",
        "answer",
    )
    flags: dict[str, Any] = {"correct": bool(row["correct"]), "grounded": bool(row["grounded"])}
    return EpisodeFacts.model_construct(**{name: row[name] for name in names}, **flags)


def _rules_verdict(row: sqlite3.Row) -> RulesVerdict | None:
    if row["rules_category"] is None:
        return None
    return RulesVerdict(failure_category=row["rules_category"], severity=row["rules_severity"])


def _failure(row: sqlite3.Row) -> Failure:
    analysis = FailureAnalysis(
        failure_category=row["category"],
        severity=row["severity"],
        root_cause=row["root_cause"],
        fix_suggestion=row["fix"],
        method=row["method"],
        why_method=row["why_method"],
        model=row["model"],
        cost_usd=row["analysis_cost_usd"],
        rules=_rules_verdict(row),
    )
    return Failure.model_construct(
        signature=row["signature"],
        template=row["template"] or "",
        analysis=analysis,
        kind=InvestigationKind(row["kind"]) if row["kind"] else None,
        claims=tuple(Claim.model_validate(claim) for claim in json.loads(row["claims"])),
        error_message=row["error_message"],
        excerpt=row["excerpt"],
        times=row["times"],
    )

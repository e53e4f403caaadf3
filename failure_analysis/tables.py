"""The tables of failures.db: what they hold, their version, and how an older file becomes one of today.

What is written into them is `store_writer`, what is asked of them `wanted` and `store`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from failure_analysis.records import StoreError

VERSION = 3

SCHEMA = """
CREATE TABLE IF NOT EXISTS experiments (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, name TEXT NOT NULL, run TEXT NOT NULL, status TEXT NOT NULL,
    at_ms INTEGER NOT NULL, source TEXT NOT NULL, split TEXT NOT NULL, sampling TEXT NOT NULL, step INTEGER,
    policy TEXT NOT NULL, scenario_id TEXT NOT NULL, sample INTEGER, fault_type TEXT NOT NULL,
    topology TEXT NOT NULL, unseen INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS experiments_by_time ON experiments (at_ms DESC, id);
CREATE INDEX IF NOT EXISTS experiments_by_run ON experiments (run, type, split, step);
CREATE TABLE IF NOT EXISTS episodes (
    id TEXT PRIMARY KEY, file TEXT NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    ending TEXT NOT NULL, correct INTEGER NOT NULL, grounded INTEGER NOT NULL, reward REAL,
    turns INTEGER NOT NULL, seconds REAL NOT NULL, tokens INTEGER NOT NULL, cost_usd REAL NOT NULL,
    blamed TEXT NOT NULL,
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
    path TEXT PRIMARY KEY, offset INTEGER NOT NULL, line INTEGER NOT NULL, head TEXT NOT NULL,
    trouble TEXT NOT NULL
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


def make_tables(database: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or bring those of an older version up to this one."""
    version = check_version(database, path)
    if version == VERSION:
        return
    older = range(version, VERSION) if version else ()
    for statement in (
        *(SCHEMA.split(";") if not version else ()),
        *(one for each in older for one in MIGRATIONS[each]),
    ):
        database.execute(statement)
    database.execute(f"PRAGMA user_version = {VERSION}")


def check_version(database: sqlite3.Connection, path: Path) -> int:
    """Return the version of a file, 0 for an empty one. Raises StoreError for a version unknown here."""
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION, *MIGRATIONS):
        raise StoreError(
            f"{path}: written by another version ({version}, this one reads {VERSION}); give another --failures"
        )
    return version

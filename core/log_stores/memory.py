"""The embedded log store without a file: one incident in memory, for whoever has its records at hand.

It is the SQLite store over `:memory:`, so it answers exactly what the tools answer on a built file.
"""

from __future__ import annotations

import sqlite3

from core.log_stores.sqlite import LogFile, SqliteStore
from core.log_stores.tables import add_incident, block, create, index_words
from project_types import Incident


def memory_store(incident: Incident) -> SqliteStore:
    """Return a store that holds what an agent may see of the incident."""
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    create(connection)
    parts = {name: getattr(incident, name) for name in Incident.model_fields}
    for field in ("logs", "spans"):
        parts[field] = [vars(row) for row in parts[field]]
    connection.execute("BEGIN")
    add_incident(connection, 1, parts, source="memory", digest="")
    index_words(connection, block(1))
    connection.execute("COMMIT")
    return SqliteStore(LogFile("memory", connection), incident.id)

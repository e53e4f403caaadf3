"""A database that must stay as it is while a run reads it.

A build replaces the file under its name, so the next episode would see other rows under the same ids. A run
that compares episodes with one another pins the file, and stops when it is another one.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from project_types import DatabaseError


class _Mark(NamedTuple):
    """What changes when a file is replaced or edited."""

    device: int
    inode: int
    size: int
    changed_ns: int


class PinnedDatabase:
    """A database as it was when a run began."""

    def __init__(self, database: Path) -> None:
        """Remember the file as it is. Raises DatabaseError when it is not there."""
        self.database = database
        self._mark = _mark(database)

    def check(self) -> None:
        """Raise DatabaseError when the file is gone, or is no longer the one that was pinned."""
        if _mark(self.database) != self._mark:
            raise DatabaseError(
                f"{self.database}: was replaced or changed while this run reads it, so later episodes would see "
                "other rows than earlier ones; build another run's logs into another --database. This run goes "
                "on with --resume (an evaluation: with the same command), which builds its own logs again"
            )


def _mark(database: Path) -> _Mark:
    try:
        found = database.stat()
    except OSError as trouble:
        raise DatabaseError(
            f"{database}: is gone or cannot be read ({trouble.strerror}); run: python build_logs.py"
        ) from trouble
    return _Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

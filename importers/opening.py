"""A source as something to ask: imported if need be, built, and opened, for as long as somebody asks.

An incident file, a scenario file or a folder of them is taken as it is, a database too. Everything else is
imported into a temporary folder first. Where there are several incidents, one is named.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from build_logs import build, far_clocks_told
from core.log_stores.sqlite import SqliteStore, open_store
from importers.auto import reader_of
from importers.command import import_source
from importers.counting import Counts, ImportTrouble
from importers.draft import Output
from importers.options import Options
from importers.reading import Source
from importers.text import read_file as read_text
from project_types import Incident, InvestigatorError, read_incident

_SQLITE = b"SQLite format 3\0"
_NAMES = ("scenario-*.json", "incident-*.json", "*/scenario-*.json", "*/incident-*.json")
_MOST_TOLD = 12
_BEGINNING = 4096


class Opened(NamedTuple):
    """An incident that can be asked."""

    database: Path
    incident_id: str
    path: Path | None
    """Its file; None where only a database was given."""
    told: Sequence[str]
    """What the import has to say."""

    @property
    def store(self) -> SqliteStore:
        """Return its log store."""
        return open_store(self.database, self.incident_id)

    @property
    def incident(self) -> Incident:
        """Read the file; an answer that it holds is left out."""
        if self.path is None:
            raise ImportTrouble(
                f"{self.database}: a database has no description; give the incident's file or its logs"
            )
        return read_incident(self.path)


@contextmanager
def opened(
    where: str, name: str, options: Options, wanted: str | None, *, progress: bool
) -> Iterator[Opened]:
    """Give the incident of a source.

    Args:
        where: a file, folder, archive, URL or database.
        name: the importer, or auto.
        options: for the importer.
        wanted: the beginning of an incident's id, where there are several.
        progress: show how far the import is.

    Raises:
        InvestigatorError: it cannot be read or imported, or several incidents are there and none is named.
    """
    path = Path(where)
    if path.is_file() and _begins(path) == _SQLITE:
        yield Opened(path, _one(_ids(path), wanted, where), None, ())
        return
    with tempfile.TemporaryDirectory(prefix="incident-") as scratch:
        files, told = _files(path, name), list[str]()
        if not files:
            counts = Counts()
            files = import_source(
                name,
                Source(where, counts, progress=progress),
                Output(Path(scratch) / "files", counts),
                options,
            )
            told = list(counts.told())
        if not files:
            what = "; ".join(told) if counts.files else "there is no file in it"
            raise ImportTrouble(f"{where}: no row was kept; {what}; give logs, traces, metrics or events")
        by_id = {one.stem.partition("-")[2] or one.stem: one for one in files}
        chosen = by_id[_one(list(by_id), wanted, where)]
        yield _built(chosen, Path(scratch), told)


def _built(file: Path, scratch: Path, told: Sequence[str]) -> Opened:
    """Make one incident searchable."""
    folder = scratch / "one"
    folder.mkdir()
    name = file.name if _is_named(file) else f"incident-{file.stem}.json"
    (folder / name).symlink_to(file.resolve())
    database = scratch / "logs.db"
    try:
        far = build(folder, database).far_clocks
    except InvestigatorError as trouble:
        raise ImportTrouble(str(trouble).replace(str(folder / name), str(file))) from trouble
    with closing(sqlite3.connect(database)) as connection:
        (incident_id,) = connection.execute("SELECT id FROM scenarios").fetchone()
    told = [*told, *map(far_clocks_told, far.values())]
    return Opened(database, incident_id, file, told)


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_SQLITE))


def _files(path: Path, name: str) -> list[Path]:
    """Return incident and scenario files that are there already."""
    if name != "auto":
        return []
    if path.is_dir():
        named = [file for pattern in _NAMES for file in sorted(path.glob(pattern))]
        return [file for file in named if _is_incident(file)]
    return [path] if path.is_file() and _is_incident(path) else []


def _is_named(path: Path) -> bool:
    return path.match("scenario-*.json") or path.match("incident-*.json")


def _is_incident(path: Path) -> bool:
    """Say whether a file begins as an incident file does, or is named as one and is
    of no other known format.
    """
    with path.open("rb") as file:
        begin = file.read(_BEGINNING).lstrip()
    if begin.startswith(b"{") and b'"description"' in begin and b'"time_hint"' in begin:
        return True  # whatever its name: no other format has a time hint
    return _is_named(path) and reader_of(begin) is read_text


def _ids(database: Path) -> list[str]:
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return [id for (id,) in connection.execute("SELECT id FROM scenarios ORDER BY id")]
        except sqlite3.DatabaseError as trouble:
            raise ImportTrouble(
                f"{database}: is no database of logs ({trouble}); run: python build_logs.py"
            ) from trouble


def _one(ids: Sequence[str], wanted: str | None, where: str) -> str:
    """Return the only id, or the one that is wanted."""
    found = [one for one in ids if one.startswith(wanted or "")]
    if wanted in ids:
        return str(wanted)
    if len(found) == 1:
        return found[0]
    known = ", ".join(ids[:_MOST_TOLD]) + (
        f" and {len(ids) - _MOST_TOLD} more" if len(ids) > _MOST_TOLD else ""
    )
    if wanted:
        raise ImportTrouble(
            f"{where}: --id {wanted}: {'several begin so' if found else 'no such incident'}; there are: {known}"
        )
    raise ImportTrouble(f"{where}: holds {len(ids)} incidents; name one with --id: {known}")

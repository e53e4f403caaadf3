"""Scenario files in, one searchable `logs.db` out: SQLite with a full-text index, replaced as a whole and
never edited in place.

The rows of a scenario lie next to each other, in time order, so a search reads one range of rows whatever
else is in the file. A build writes `<database>.building` beside the target and renames it at the end: whoever
reads the old file keeps reading it, and a build that dies leaves it intact. Files whose content has not
changed are copied over, not parsed again. The database holds only what an agent may see; ground truth, gold
reports, distractors, provenance and the incident's description stay in the files. How a file becomes rows is
`core.log_stores.scenario_rows`, the tables are `core.log_stores.tables`; searching is `log_search_tools`.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from core import command_line
from core.log_stores.masks import masked
from core.log_stores.printing import count
from core.log_stores.scenario_rows import read_rows
from core.log_stores.tables import (
    APPLICATION_ID,
    INGESTED,
    SCHEMA_VERSION,
    add_incident,
    block,
    create,
    index_words,
    next_number,
    remove_incident,
)
from project_types import DatabaseError, Frozen, ScenarioError

__all__ = [
    "APPLICATION_ID",
    "SCHEMA_VERSION",
    "BuildResult",
    "build",
    "far_clocks_told",
    "is_stale",
    "main",
    "masked",
]


class BuildResult(Frozen):
    """What one build did. `rows` counts the log lines the database now holds."""

    built: int
    unchanged: int
    removed: int
    rows: int
    seconds: float
    far_clocks: dict[str, int] = Field(default_factory=dict)
    """Lines whose clock is far from the rest of their incident, such as the year 1754, by incident. They can
    be searched, and do not decide what a time of day means.
    """


class _File(NamedTuple):
    path: Path
    source: str
    digest: str


# ----------------------------------------------------------------------------------------- what the files say


_PATTERNS = ("scenario-*.json", "incident-*.json", "*/scenario-*.json", "*/incident-*.json")


def _files(root: Path) -> list[_File]:
    """Every scenario or incident file below `root`: its split folders, or the folder
    itself when it holds the files.
    """
    paths = [path for pattern in _PATTERNS for path in sorted(root.glob(pattern))]
    if not paths:
        raise ScenarioError(
            f"{root}: holds no scenario-*.json or incident-*.json, nor does a folder in it; give --scenarios "
            "the folder that does"
        )
    return [_File(path, path.relative_to(root).as_posix(), _digest(path)) for path in paths]


def _digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as trouble:
        raise ScenarioError(
            f"{path}: cannot be read ({trouble.strerror}); check the path and its permissions"
        ) from trouble


# ------------------------------------------------------------------------------------- what the database says


def _connect_to_read(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def _known(database: Path) -> dict[str, tuple[str, str]] | None:
    """source → (digest, scenario id) of an undamaged database of this version; None when it has to be built
    from nothing.
    """
    if not database.is_file():
        return None
    try:
        with closing(_connect_to_read(database)) as connection:
            found = [
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version")
            ]
            if found != [APPLICATION_ID, SCHEMA_VERSION]:
                return None
            if (
                connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok"
            ):  # reads every page: 2 ms per MB
                return None
            rows = connection.execute("SELECT source, digest, id FROM scenarios").fetchall()
    except sqlite3.Error:
        return None
    return {source: (digest, scenario_id) for source, digest, scenario_id in rows}


def is_stale(scenarios_root: Path, database: Path) -> bool:
    """Whether `build` would change anything: a missing, foreign or damaged database, or files added, edited
    or removed.

    Raises:
        ScenarioError: `scenarios_root` holds no scenario file, or one cannot be read.
    """
    known = _known(database)
    return known is None or {source: digest for source, (digest, _) in known.items()} != {
        file.source: file.digest for file in _files(scenarios_root)
    }


# --------------------------------------------------------------------------------------------------- building


def build(
    scenarios_root: Path, database: Path, *, progress: bool = False, wait_s: float = 600.0
) -> BuildResult:
    """Make `database` mirror the scenario files of `scenarios_root`, doing only the work that changed files
    ask for.

    Another build of the same database is waited for, up to `wait_s`.

    Raises:
        ScenarioError: a file is bad or two share a scenario id; the database is left as it was.
        DatabaseError: another build holds the lock, or the folder cannot be written.
    """
    began = time.monotonic()
    with _only_builder(database, wait_s):
        files = _files(scenarios_root)
        known = _known(database)
        _refuse_ingested(database, known or {})
        wanted = {file.source: file.digest for file in files}
        gone = [source for source, (digest, _) in (known or {}).items() if wanted.get(source) != digest]
        changed = [file for file in files if (known or {}).get(file.source, ("", ""))[0] != file.digest]
        removed = sum(source not in wanted for source in gone)
        afresh = known is None or len(gone) > len(known) // 2  # mostly new: quicker, and leaves no holes
        if not afresh and (changed or gone):
            try:
                _replace(database, changed, gone, copy=True, progress=progress)
            except sqlite3.DatabaseError:  # the old file is damaged inside a page
                afresh = True
        if afresh:
            changed = files
            _replace(database, changed, [], copy=False, progress=progress)
        with closing(_connect_to_read(database)) as connection:
            rows = connection.execute(
                "SELECT coalesce(sum(last_row - first_row + 1), 0) FROM scenarios"
            ).fetchone()[0]
            far = connection.execute("SELECT id, far_clocks FROM scenarios WHERE far_clocks > 0 ORDER BY id")
            far_clocks = dict(far.fetchall())
    return BuildResult(
        built=len(changed),
        unchanged=len(files) - len(changed),
        removed=removed,
        rows=rows,
        seconds=time.monotonic() - began,
        far_clocks=far_clocks,
    )


def _refuse_ingested(database: Path, known: Mapping[str, object]) -> None:
    """A build makes the file mirror a folder, so it would delete what came from elsewhere."""
    if other := [source for source in known if source.startswith(INGESTED)]:
        name = other[0].removeprefix(INGESTED)
        raise DatabaseError(
            f"{database}: holds {name}, which came from no scenario file; give --database another file"
        )


@contextmanager
def _only_builder(database: Path, wait_s: float) -> Iterator[None]:
    """Hold the build lock: SQLite's own file lock, which the system drops when its owner dies."""
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(
            database.with_name(database.name + ".lock"), timeout=wait_s, isolation_level=None
        )
        with closing(lock):
            lock.execute("BEGIN EXCLUSIVE")
            yield
    except (OSError, sqlite3.OperationalError) as trouble:
        raise DatabaseError(
            f"{database}: cannot be built ({trouble}); check that the folder is writable, the disk has room and no other "
            "build_logs.py is running, then run: python build_logs.py"
        ) from trouble


def _replace(
    database: Path, changed: Sequence[_File], gone: Sequence[str], *, copy: bool, progress: bool
) -> None:
    building = database.with_name(database.name + ".building")
    building.unlink(missing_ok=True)
    try:
        if copy:
            shutil.copyfile(database, building)
        with closing(sqlite3.connect(building, isolation_level=None)) as connection:
            connection.executescript(
                "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;"
            )
            if not copy:
                create(connection)
            connection.execute("BEGIN")
            for source in gone:
                remove_incident(connection, source)
            first_row = block(next_number(connection))
            with _no_garbage_collection():
                for file in _shown(changed, progress):
                    _add(connection, file)
            index_words(connection, first_row)
            connection.execute("COMMIT")
        with building.open("rb") as finished:
            os.fsync(finished.fileno())
        os.replace(building, database)
    finally:
        building.unlink(missing_ok=True)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A scenario is thousands of objects without a cycle; looking for cycles among them took a fifth of a
    build.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _shown(files: Sequence[_File], progress: bool) -> Iterable[_File]:
    if not progress:
        return files
    from tqdm import tqdm

    return tqdm(files, desc="building logs.db", unit="scenario")


def _add(connection: sqlite3.Connection, file: _File) -> None:
    incident = read_rows(file.path)
    number = next_number(connection)
    try:
        add_incident(connection, number, incident, source=file.source, digest=file.digest)
    except sqlite3.IntegrityError:
        found = connection.execute("SELECT source FROM scenarios WHERE id = ?", (incident["id"],)).fetchone()
        problem = f"field id: {incident['id']!r} is also the id of {found[0]}; give one of the two a new id"
        raise ScenarioError(f"{file.path}: {problem}") from None


PROGRAM = "python build_logs.py"
EPILOG = """examples:
  python build_logs.py
  python build_logs.py --scenarios my_scenarios --database my.db
  python build_logs.py --check                      is logs.db up to date?"""


def _flags() -> argparse.ArgumentParser:
    flags = command_line.parser(PROGRAM, (__doc__ or "").split("\n\n")[0], EPILOG)
    flags.add_argument(
        "--scenarios",
        type=Path,
        default=Path("log_scenarios"),
        metavar="DIR",
        help="folder that holds split folders or files (default %(default)s)",
    )
    command_line.database_flag(flags, "the file to write (default logs.db)", Path("logs.db"))
    flags.add_argument(
        "--check",
        action="store_true",
        help="build nothing; exit 1 when the database is missing or out of date",
    )
    return flags


def far_clocks_told(lines: int) -> str:
    """Say what was made of lines whose clock is far from the rest."""
    return f"{count(lines, 'line')} with a clock far from the rest: that clock does not say when it was"


def main(argv: Sequence[str] | None = None) -> int:
    """Build the database, or say whether it has to be built."""
    return command_line.run(PROGRAM, lambda: _build_or_check(_flags().parse_args(argv)))


def _build_or_check(arguments: argparse.Namespace) -> int:
    scenarios, database = arguments.scenarios, arguments.database
    if arguments.check:
        stale = is_stale(scenarios, database)
        command = f"{PROGRAM} --scenarios {scenarios} --database {database}"
        print(f"{database}: {f'out of date; run: {command}' if stale else 'up to date'}")
        return int(stale)
    result = build(scenarios, database, progress=True)
    print(
        f"{database}: {result.built} built, {result.unchanged} unchanged, {result.removed} removed; "
        f"{result.rows} log lines in {result.seconds:.1f} s"
    )
    for incident, lines in result.far_clocks.items():
        print(command_line.printable(f"{incident}: {far_clocks_told(lines)}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

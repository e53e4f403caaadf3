"""One scenario's part of logs.db as the tools read and print it: its range of rows, its ids, a printed row, a
token count.

A `Scene` is bound to one scenario and reads only that scenario's rows. Every tool on the same file shares one
read-only connection, so an episode's tools cost microseconds. An id is printed as its shortest unique prefix,
and a text that would break its budget is cut with a mark that says how much is missing. What the tools are
and what they answer is `log_search_tools` and `core.log_stores.traces`; the file is written by `build_logs`.
"""

from __future__ import annotations

import difflib
import json
import re
import sqlite3
import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict

from project_types import DatabaseError, Level, ToolInputError, ToolResult

READS_SCHEMA = (0x6C6F6773, 2)
"""The application id and version of the databases this code can read; a test keeps them equal to what
build_logs writes.
"""

_EPOCH, _DAY_MS = datetime(1970, 1, 1, tzinfo=UTC), 86_400_000
_REBUILD = "run: python build_logs.py"

# -------------------------------------------------------------------------------------------- counting tokens

_CLASSES = bytes(
    97 if chr(c).isalpha() else 48 if chr(c).isdigit() else 32 if c == 32 else 46 for c in range(128)
) + bytes(128)
_LONG_WORD = re.compile(rb"a{9,}")
_TOKEN = re.compile(r"[A-Za-z]{1,8}(?![A-Za-z])|[A-Za-z]{1,6}|[0-9]{1,2}|  |[^A-Za-z0-9 ]")


def estimate_tokens(text: str) -> int:
    """How many tokens a byte-pair tokenizer is expected to make of `text`, rather too many than too few.

    A word of up to 8 letters counts 1, a longer one 1 more per 6 letters begun; a number 1 per 2 digits
    begun; each punctuation mark and newline 1; other scripts 2 a character (3 outside the basic plane); a
    single space nothing, more spaces 1 per 2. It is never below the number of pieces of GPT-2's pre-tokenizer
    (words, numbers, runs of punctuation, runs of spaces), and the estimate of lines joined by newlines is the
    sum of their estimates plus the newlines. A tokenizer that spends a token on every digit can exceed it.
    """
    if text.isascii():
        return _ascii_tokens(text.encode().translate(_CLASSES))
    return len(_TOKEN.findall(text)) + sum(1 if char <= "\uffff" else 2 for char in text if char > "\x7f")


def _ascii_tokens(classes: bytes) -> int:
    """What `_TOKEN` finds in a text of these classes, counted without a match object each: every row printed
    is counted.
    """
    words = classes.count(b" a") + classes.count(b".a") + classes.count(b"0a") + classes.startswith(b"a")
    if b"aaaaaaaaa" in classes:
        words += sum((len(word) - 3) // 6 for word in _LONG_WORD.findall(classes))
    pairs = classes.replace(b"00", b"1")
    return words + pairs.count(b"1") + pairs.count(b"0") + classes.count(b".") + classes.count(b"  ")


def clip(text: str, budget_tokens: int) -> str:
    """`text` when it fits, else its beginning and a mark that says how many characters are left out."""
    if estimate_tokens(text) <= budget_tokens:
        return text
    room = budget_tokens - estimate_tokens(f" [+{len(text)} chars]")
    kept = 0
    for match in _TOKEN.finditer(text):
        room -= estimate_tokens(match[0])
        if room < 0:
            break
        kept = match.end()
    return f"{text[:kept].rstrip()} [+{len(text) - kept} chars]".strip()


def as_room_allows(parts: Iterable[str], budget_tokens: int) -> str:
    """The parts joined by spaces: the first one cut to fit, later ones only when they fit whole."""
    text = ""
    for part in parts:
        longer = f"{text} {part}" if text else clip(part, budget_tokens)
        if estimate_tokens(longer) <= budget_tokens:
            text = longer
    return text


# ------------------------------------------------------------------------------------------- reading the file


class _Reader:
    """One read-only connection, shared by every tool on the same file; a lock makes it safe from any thread."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.scenes: dict[str, Scene] = {}
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        try:  # immutable: a build replaces the file and never edits it
            self._connection = sqlite3.connect(
                f"{database.as_uri()}?mode=ro&immutable=1",
                uri=True,
                check_same_thread=False,
                isolation_level=None,
            )
            self._connection.execute("PRAGMA query_only=1")
            found = tuple(
                self._connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version")
            )
        except sqlite3.Error as trouble:
            raise DatabaseError(
                f"{database}: is not a logs database ({trouble}); move it away and {_REBUILD}"
            ) from trouble
        if found != READS_SCHEMA:
            raise DatabaseError(f"{database}: was not written by this version of build_logs.py; {_REBUILD}")

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        assert self._connection is not None
        try:
            with self._lock:
                return self._connection.execute(query, parameters).fetchall()
        except sqlite3.DatabaseError as trouble:
            if trouble.sqlite_errorcode & 0xFF not in (
                sqlite3.SQLITE_CORRUPT,
                sqlite3.SQLITE_NOTADB,
                sqlite3.SQLITE_IOERR,
            ):
                raise
            raise DatabaseError(
                f"{self.database}: is damaged ({trouble}); delete it and {_REBUILD}"
            ) from trouble

    def __del__(self) -> None:
        if self._connection is not None:
            self._connection.close()


@lru_cache(maxsize=8)
def _reader(database: Path, device: int, inode: int, changed_ns: int) -> _Reader:
    """A rebuilt database is another file under the same name, hence the rest of the key."""
    return _Reader(database)


def open_scene(database: Path, scenario_id: str) -> Scene:
    """The scenario's part of the database.

    Raises:
        DatabaseError: the database is missing, damaged, of another version, or lacks the scenario; says what
        to run.
    """
    try:
        path = database.resolve()
        found = path.stat()
    except OSError as trouble:
        raise DatabaseError(f"{database}: cannot be opened ({trouble.strerror}); {_REBUILD}") from trouble
    reader = _reader(path, found.st_dev, found.st_ino, found.st_mtime_ns)
    if scenario_id not in reader.scenes:
        reader.scenes[scenario_id] = Scene(reader, scenario_id)
    return reader.scenes[scenario_id]


IdKind = Literal["log", "trace"]


class Scene:
    """The part of the database that belongs to one scenario, and the ids in it. Nothing in it changes after
    it is made.
    """

    def __init__(self, reader: _Reader, scenario_id: str) -> None:
        found = reader.rows(
            "SELECT services, first_row, last_row, first_span, last_span, first_ms, last_ms FROM scenarios WHERE id = ?",
            scenario_id,
        )
        if not found:
            near = difflib.get_close_matches(
                scenario_id, [row[0] for row in reader.rows("SELECT id FROM scenarios")], n=1
            )
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise DatabaseError(
                f"{reader.database}: has no scenario {scenario_id!r}{hint}; if its file is new, {_REBUILD}"
            )
        self.rows = reader.rows
        self.services: list[str] = json.loads(found[0][0])
        self.log_range: tuple[int, int] = found[0][1:3]
        self.span_range: tuple[int, int] = found[0][3:5]
        self.first_ms, self.last_ms = found[0][5:7]
        self.one_day = self.first_ms // _DAY_MS == self.last_ms // _DAY_MS

    @cached_property
    def _ids(self) -> dict[IdKind, list[str]]:
        logs = self.rows("SELECT id FROM logs WHERE row BETWEEN ? AND ?", *self.log_range)
        traces = self.rows(
            "SELECT trace_id FROM logs WHERE row BETWEEN ? AND ? AND trace_id IS NOT NULL "
            "UNION SELECT trace_id FROM spans WHERE row BETWEEN ? AND ?",
            *self.log_range,
            *self.span_range,
        )
        return {"log": sorted(row[0] for row in logs), "trace": sorted(row[0] for row in traces)}

    @cached_property
    def _short(self) -> dict[IdKind, dict[str, str]]:
        return {kind: _shortest(ids) for kind, ids in self._ids.items()}

    def short(self, kind: IdKind, full: str) -> str:
        """The shortest prefix of an even length, at least 4, that no other id of the scenario has."""
        return self._short[kind][full]

    def candidates(self, kind: IdKind, shown: str) -> list[str]:
        """The ids that `shown` can stand for: itself, or those that begin with it (given 4 characters or
        more).
        """
        ids = self._ids[kind]
        place = end = bisect_left(ids, shown)
        if ids[place : place + 1] == [shown]:
            return [shown]
        while end < len(ids) and ids[end].startswith(shown):
            end += 1
        return ids[place:end] if len(shown) >= 4 else []

    def clock(self, at_ms: int) -> str:
        """The time of day, with the date when it is not the one date of all lines."""
        if not self.one_day or at_ms // _DAY_MS != self.first_ms // _DAY_MS:
            return f"{when(at_ms):%Y-%m-%dT%H:%M:%S}"
        minutes, seconds = divmod(at_ms // 1000, 60)
        return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}:{seconds:02d}"


def _shortest(ids: Sequence[str]) -> dict[str, str]:
    """Each of the sorted ids with its shortest unique prefix; an id that another one begins with stays whole."""
    short: dict[str, str] = {}
    before = ""
    for one, after in zip(ids, [*ids[1:], ""], strict=False):
        length, start = 4, one[:4]
        while before.startswith(start) or after.startswith(start):
            length += 2
            start = one[:length]
            if len(start) < length:
                break
        short[one] = start
        before = one
    return short


def when(at_ms: float) -> datetime:
    """The moment, in UTC."""
    return _EPOCH + timedelta(milliseconds=at_ms)


# ---------------------------------------------------------------------------------------------- rows in print


class Line(NamedTuple):
    """A log line of the database, and how many alike it stands for."""

    row: int
    id: str
    at_ms: int
    service: str
    level: int
    text: str
    trace_id: str | None
    times: int


def one_line(text: str) -> str:
    """The text with a space for whatever cannot be printed, so that it cannot end its row."""
    return (
        text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
    ).strip()


_LEVEL_NAMES = {level.value: level.name for level in Level}


def printed(scene: Scene, line: Line, room_tokens: int, *, trace: bool) -> tuple[str, int]:
    """One row and its tokens; its message is cut when the row would take more than `room_tokens`.

    The ids come last: a model that repeats what it read of a row then only has to read on (docs/adr/0003).
    """
    head = f"{scene.clock(line.at_ms)} {_LEVEL_NAMES[line.level]} {line.service}"
    head += f" x{line.times}" if line.times > 1 else ""
    tail = f" trace {scene.short('trace', line.trace_id)}" if trace and line.trace_id else ""
    tail += f" log {scene.short('log', line.id)}"
    text = one_line(line.text)
    row = f"{head} {text}{tail}"
    tokens = estimate_tokens(row)
    if tokens > room_tokens:
        row = f"{head} {clip(text, room_tokens - estimate_tokens(head + tail))}{tail}"
        tokens = estimate_tokens(row)
    return row, tokens


_PRINTED_ROW = re.compile(
    r"(?P<time>(?:\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d) (?P<level>[A-Z]+) (?P<service>\S+)(?: x(?P<times>\d+))? "
    r"(?P<message>.*?)(?: trace (?P<trace_id>\S+))? log (?P<id>\S+)",
    re.ASCII,
)


class PrintedRow(NamedTuple):
    """A row as a tool printed it; ids are the short ones."""

    id: str
    time: str
    level: str
    service: str
    times: int
    message: str
    trace_id: str | None


def printed_rows(text: str) -> list[PrintedRow]:
    """The rows in a tool's result, for scripts that play an agent: what they know is what was printed."""
    found = (_PRINTED_ROW.fullmatch(line) for line in text.split("\n"))
    return [
        PrintedRow(
            row["id"],
            row["time"],
            row["level"],
            row["service"],
            int(row["times"] or 1),
            row["message"],
            row["trace_id"],
        )
        for row in found
        if row
    ]


def count(number: int, thing: str) -> str:
    """'1 line', '2 lines'."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


# ------------------------------------------------------------------------------------------- what tools share


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


OptionalText = Annotated[str | None, BeforeValidator(_blank_is_none)]
OptionalNumber = Annotated[int | None, BeforeValidator(_blank_is_none)]


class Arguments(BaseModel):
    """Arguments as models write them: numbers may be text and text numbers, blank is left out, an unknown
    name is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class SceneTool:
    """What the tools of one episode have in common."""

    def __init__(self, scene: Scene, budget_tokens: int) -> None:
        self.scene, self.budget_tokens = scene, budget_tokens

    def resolve(self, kind: IdKind, shown: str) -> str | None:
        """The full id that `shown` (an id or a unique prefix of one) stands for in this scenario, or None."""
        found = self.scene.candidates(kind, shown)
        return found[0] if len(found) == 1 else None

    def most(self, rows: int) -> int:
        """The tokens one of so many rows may take: a long one leaves room for others, unless it is alone."""
        return max(self.budget_tokens // 3, 40) if rows > 1 else self.budget_tokens

    def answer(self, *parts: str) -> ToolResult:
        """A result that shows no row."""
        return ToolResult(text=as_room_allows(parts, self.budget_tokens))

    def result(
        self, lines: Sequence[str], room_left: int, log_ids: Iterable[str], trace_ids: Iterable[str]
    ) -> ToolResult:
        """The lines. When one row breaks the budget, because of very long names, it is cut and nothing is
        claimed as shown.
        """
        text = "\n".join(lines)
        if room_left < 0:
            return ToolResult(text=clip(text, self.budget_tokens))
        return ToolResult(text=text, log_ids=frozenset(log_ids), trace_ids=frozenset(trace_ids))


def page_start(cursor: int | None) -> int:
    """The place a cursor stands for. Raises ToolInputError for a negative one."""
    if cursor is not None and cursor < 0:
        raise ToolInputError(
            f"cursor={clip(str(cursor), 8)}: use the number that an earlier result gave as cursor="
        )
    return cursor or 0

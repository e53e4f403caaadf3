"""What an agent can do with the logs of one incident: `search_logs` and `read_trace`, over the file `build_logs` wrote.

A tool is bound to one scenario when it is made and reads only that scenario's range of rows, so no argument can reach another
one. Searching groups lines that are alike and shows one of each kind, ids are printed as their shortest unique prefix, and a
result never takes more tokens than the episode allows; what is left out is counted, and a cursor gets it.
Arguments that make no sense raise ToolInputError; "nothing matches", "no such service" and "no such trace" are answers.
The text of a log line is somebody else's: it is printed on one line and never read as an instruction or a query.
Building the database is `build_logs`; other stores offer the same contract in their own room.
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

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from project_types import DatabaseError, EpisodeConfig, Level, Tool, ToolInputError, ToolResult

READS_SCHEMA = 1
"""The `user_version` of the databases this module can read; a test keeps it equal to build_logs.SCHEMA_VERSION."""

_REBUILD = "run: python build_logs.py"
_MOST_KINDS = 1000
_ROOMY_TOKENS = 400
"""From this budget on a search says its date even when the scenario has only one."""

# ------------------------------------------------------------------------------------------------------- counting tokens

_PIECE = re.compile(r"[A-Za-z]+|[0-9]+|  +|[^A-Za-z0-9 ]")


def _piece_tokens(piece: str) -> int:
    if piece[0] == " " or (piece[0].isdigit() and piece[0].isascii()):
        return (len(piece) + 1) // 2
    if piece.isascii():
        return 1 if len(piece) <= 8 else -(-len(piece) // 6)
    return 2 if ord(piece) <= 0xFFFF else 3


def estimate_tokens(text: str) -> int:
    """How many tokens a byte-pair tokenizer is expected to make of `text`, rather too many than too few.

    A word of up to 8 letters counts 1, a longer one a token per 6 letters; a number 1 per 2 digits; each punctuation mark and
    newline 1; other scripts 2 a character (3 outside the basic plane); a single space nothing, more spaces 1 per 2. It is
    never below the number of pieces of the GPT-2 pre-tokenizer's kind of split (letters, digits, punctuation runs), and the
    estimate of lines joined by a newline is the sum of their estimates plus the newlines. A tokenizer that spends a token on
    every digit can exceed it.
    """
    return sum(_piece_tokens(match[0]) for match in _PIECE.finditer(text))


def clip(text: str, budget_tokens: int) -> str:
    """`text` when it fits, else its beginning and a mark that says how many characters are left out."""
    if estimate_tokens(text) <= budget_tokens:
        return text
    room = budget_tokens - estimate_tokens(f" [+{len(text)} chars]")
    kept = 0
    for match in _PIECE.finditer(text):
        room -= _piece_tokens(match[0])
        if room < 0:
            break
        kept = match.end()
    return f"{text[:kept].rstrip()} [+{len(text) - kept} chars]".strip()


# ------------------------------------------------------------------------------------------------------ reading the file


class _Reader:
    """One read-only connection, shared by every tool on the same file; a lock makes it safe from any thread."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.scenes: dict[str, _Scene] = {}
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                f"{database.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA query_only=1")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as trouble:
            raise DatabaseError(f"{database}: is not a logs database ({trouble}); delete it and {_REBUILD}") from trouble
        if version != READS_SCHEMA:
            raise DatabaseError(f"{database}: has schema {version}, this code reads {READS_SCHEMA}; {_REBUILD}")

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(query, parameters).fetchall()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as trouble:
            raise DatabaseError(f"{self.database}: is damaged ({trouble}); delete it and {_REBUILD}") from trouble

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self._connection.close()


@lru_cache(maxsize=8)
def _reader(database: Path, device: int, inode: int, changed_ns: int) -> _Reader:
    """A rebuilt database is another file under the same name, hence the rest of the key."""
    return _Reader(database)


def _scene(database: Path, scenario_id: str) -> _Scene:
    try:
        found = database.resolve().stat()
    except OSError as trouble:
        raise DatabaseError(f"{database}: cannot be opened ({trouble.strerror}); {_REBUILD}") from trouble
    reader = _reader(database.resolve(), found.st_dev, found.st_ino, found.st_mtime_ns)
    if scenario_id not in reader.scenes:
        reader.scenes[scenario_id] = _Scene(reader, scenario_id)
    return reader.scenes[scenario_id]


Kind = Literal["log", "trace"]


class _Scene:
    """The part of the database that belongs to one scenario, and the ids in it."""

    def __init__(self, reader: _Reader, scenario_id: str) -> None:
        found = reader.rows(
            "SELECT services, first_row, last_row, first_span, last_span, first_ms, last_ms FROM scenarios WHERE id = ?",
            scenario_id,
        )
        if not found:
            known = [row[0] for row in reader.rows("SELECT id FROM scenarios")]
            near = difflib.get_close_matches(scenario_id, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise DatabaseError(f"{reader.database}: has no scenario {scenario_id!r}{hint}; if its file is new, {_REBUILD}")
        services, *self.rows_range, first_span, last_span, self.first_ms, self.last_ms = found[0]
        self.spans_range = [first_span, last_span]
        self.services: list[str] = json.loads(services)
        self.reader = reader

    @cached_property
    def _ids(self) -> dict[Kind, list[str]]:
        logs = self.reader.rows("SELECT id FROM logs WHERE row BETWEEN ? AND ?", *self.rows_range)
        traces = self.reader.rows(
            "SELECT trace_id FROM logs WHERE row BETWEEN ? AND ? AND trace_id IS NOT NULL "
            "UNION SELECT trace_id FROM spans WHERE row BETWEEN ? AND ?",
            *self.rows_range,
            *self.spans_range,
        )
        return {"log": sorted(row[0] for row in logs), "trace": sorted(row[0] for row in traces)}

    def short(self, kind: Kind, full: str) -> str:
        """The shortest prefix of an even length, at least 4, that no other id of the scenario has."""
        ids = self._ids[kind]
        place = bisect_left(ids, full)
        beside = (*ids[max(0, place - 1) : place], *ids[place + 1 : place + 2])
        shared = max((_shared(full, other) for other in beside), default=0)
        length = max(4, shared + 1)
        return full[: length + length % 2]

    def candidates(self, kind: Kind, shown: str) -> list[str]:
        """The ids that `shown` can stand for: itself, or those that begin with it (given 4 characters or more)."""
        ids = self._ids[kind]
        place = end = bisect_left(ids, shown)
        if ids[place : place + 1] == [shown]:
            return [shown]
        while end < len(ids) and ids[end].startswith(shown):
            end += 1
        return ids[place:end] if len(shown) >= 4 else []

    @property
    def one_day(self) -> bool:
        return _when(self.first_ms).date() == _when(self.last_ms).date()

    def clock(self, at_ms: int) -> str:
        """The time of day, with the date when the scenario's lines span more than one."""
        return _when(at_ms).strftime("%H:%M:%S" if self.one_day else "%Y-%m-%dT%H:%M:%S")


def _shared(left: str, right: str) -> int:
    length = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        length += 1
    return length


def _when(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


# ------------------------------------------------------------------------------------------------------------- arguments


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _joined(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) and all(isinstance(word, str) for word in value) else value


Text = Annotated[str | None, BeforeValidator(_blank_is_none)]
Number = Annotated[int | None, BeforeValidator(_blank_is_none)]


class _Arguments(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class SearchArguments(_Arguments):
    """Arguments of `search_logs`; all may be left out."""

    keywords: Annotated[
        Text, BeforeValidator(_joined), Field(description="Words that must all occur in a line (service, level or message).")
    ] = None
    service: Annotated[Text, Field(description="Only this service; a unique beginning of its name is enough.")] = None
    min_level: Annotated[
        Text, Field(description="Only this severity and worse.", json_schema_extra={"enum": [level.name for level in Level]})
    ] = None
    start_time: Annotated[Text, Field(description="HH:MM, HH:MM:SS or ISO 8601, UTC.")] = None
    end_time: Annotated[Text, Field(description="Like start_time; the minute or second named is included.")] = None
    limit: Annotated[Number, Field(description="Most kinds of lines to show.")] = None
    cursor: Annotated[Number, Field(description="Goes on where an earlier result of the same search stopped.")] = None


class TraceArguments(_Arguments):
    """Arguments of `read_trace`."""

    trace_id: Annotated[str, Field(description="The id printed after 'trace'; a unique beginning of it is enough.")]
    cursor: Annotated[Number, Field(description="Shows what an earlier result left out.")] = None


_LEVELS = {level.name: level for level in Level} | {
    "TRACE": Level.DEBUG, "NOTICE": Level.INFO, "INFORMATION": Level.INFO, "WARNING": Level.WARN, "ERR": Level.ERROR,
    "SEVERE": Level.ERROR, "CRIT": Level.FATAL, "CRITICAL": Level.FATAL, "ALERT": Level.FATAL, "EMERGENCY": Level.FATAL,
    "PANIC": Level.FATAL,
}  # fmt: skip
_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)?[T ]?(?P<minute>\d{1,2}:\d\d)?(?P<second>:\d\d)?(?P<fraction>[.,]\d{1,6})?"
    r" ?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?",
    re.ASCII | re.IGNORECASE,
)


def _level(text: str) -> Level:
    try:
        return _LEVELS[text.strip().upper()]
    except KeyError:
        names = ", ".join(level.name for level in Level)
        raise ToolInputError(f"min_level={clip(repr(text), 12)} is no level; use one of {names}") from None


def _words(keywords: str) -> list[str]:
    words = "".join(char if char.isprintable() else " " for char in keywords).split()
    if len(words) > 12 or sum(map(len, words)) > 200:
        raise ToolInputError("keywords: too long; give at most 12 words and 200 letters, the rarest you know")
    return [word.replace('"', "") for word in words if word.strip('"')]


def _moment(name: str, text: str, scene: _Scene) -> int:
    """Milliseconds since 1970: the moment named, or for `end_time` the last one of the minute, second or day named.

    A time of day means the scenario's date; when its lines span several, the first (`start_time`) or last (`end_time`) one
    on which that time lies between the first and the last line, else the nearest to them.
    """
    usage = f"{name}={clip(repr(text), 16)} is no time; write HH:MM, HH:MM:SS or 2025-01-31T14:05:00Z (UTC)"
    parts = _TIME.fullmatch(text.strip())
    if not parts or not (parts["date"] or parts["minute"]) or (parts["second"] and not parts["minute"]):
        raise ToolInputError(usage)
    last = name == "end_time"
    precision = 1 if parts["fraction"] else 1000 if parts["second"] else 60_000 if parts["minute"] else 86_400_000
    days = (_when(scene.last_ms).date() - _when(scene.first_ms).date()).days
    dates = [_when(scene.first_ms).date() + timedelta(days=day) for day in range(days + 1)]
    clock = f"{(parts['minute'] or '0:00').zfill(5)}{parts['second'] or ':00'}{(parts['fraction'] or '').replace(',', '.')}"
    zone = (parts["zone"] or "Z").upper().replace("UTC", "Z")
    try:
        moments = [
            round(datetime.fromisoformat(f"{date}T{clock}{zone}").timestamp() * 1000)
            for date in ([parts["date"]] if parts["date"] else dates)
        ]
    except (ValueError, OverflowError):
        raise ToolInputError(usage) from None
    if last:
        moments = [at + precision - 1 for at in reversed(moments)]
    return min(moments, key=lambda at: max(scene.first_ms - at, at - scene.last_ms, 0))


# -------------------------------------------------------------------------------------------------------------- printing


class _Line(NamedTuple):
    row: int
    id: str
    at_ms: int
    service: str
    level: int
    text: str
    trace_id: str | None
    times: int


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _printed(scene: _Scene, line: _Line, room: int, *, trace: bool) -> str:
    """One row; its message is cut when the row would take more than `room` tokens."""
    head = f"{scene.short('log', line.id)} {scene.clock(line.at_ms)} {Level(line.level).name} {line.service}"
    head += f" x{line.times}" if line.times > 1 else ""
    tail = f" trace {scene.short('trace', line.trace_id)}" if trace and line.trace_id else ""
    return f"{head} {clip(_one_line(line.text), room - estimate_tokens(head + tail))}{tail}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _as_room_allows(parts: Iterable[str], budget: int) -> str:
    """The parts joined by spaces: the first one cut to fit, later ones only when they fit whole."""
    text = ""
    for part in parts:
        longer = f"{text} {part}" if text else clip(part, budget)
        if estimate_tokens(longer) <= budget:
            text = longer
    return text


def _within(lines: Sequence[str], budget: int, log_ids: Iterable[str], trace_ids: Iterable[str]) -> ToolResult:
    """The result. Ids so long that even one row breaks the budget are cut and then not claimed as shown."""
    text = "\n".join(lines)
    if estimate_tokens(text) > budget:
        return ToolResult(text=clip(text, budget))
    return ToolResult(text=text, log_ids=frozenset(log_ids), trace_ids=frozenset(trace_ids))


# ------------------------------------------------------------------------------------------------------------ search_logs


class _Filter(NamedTuple):
    name: str
    shown: str
    where: str
    parameters: tuple[Any, ...]


_IN_WORDS = "row IN (SELECT rowid FROM log_words WHERE log_words MATCH ? AND rowid BETWEEN ? AND ?)"
_IN_PARTS = "instr(lower(service || ' ' || text), lower(?)) > 0"


class SearchLogs:
    """Finds log lines of one scenario and shows one of each kind."""

    name = "search_logs"
    description = (
        "Search the log lines of this incident. Lines that differ only in numbers and ids are one kind: the first is shown as "
        "'id time level service xCOUNT message trace id'. Worst level first, then the rarest kinds. All filters are optional and "
        "narrow the result. A result that was cut gives a cursor for the rest."
    )
    arguments: type[BaseModel] = SearchArguments

    def __init__(self, scene: _Scene, budget_tokens: int) -> None:
        self._scene, self._budget = scene, budget_tokens

    def resolve(self, kind: Kind, shown: str) -> str | None:
        """The full id that `shown` stands for in this scenario, or None."""
        found = self._scene.candidates(kind, shown)
        return found[0] if len(found) == 1 else None

    async def run(self, arguments: Any) -> ToolResult:
        """Search. Raises ToolInputError for a level, a time, a limit, a cursor or keywords it cannot use."""
        given = SearchArguments.model_validate(arguments)
        limit, cursor = (given.limit if given.limit is not None else _MOST_KINDS), given.cursor or 0
        if limit < 1:
            raise ToolInputError(f"limit={clip(str(limit), 8)}: must be 1 or more; leave it out to see all that fits")
        if cursor < 0:
            raise ToolInputError(f"cursor={clip(str(cursor), 8)}: use the number that an earlier result gave as cursor=")
        filters = self._time_and_level(given)
        if given.service is not None:
            service = self._service(given.service)
            if service is None:
                return self._no_such_service(given.service)
            filters.insert(0, _Filter("service", f"service={service}", "service = ?", (service,)))
        if given.keywords is not None and (words := _words(given.keywords)):
            filters.insert(0, self._keywords(words))
        kinds = self._kinds(filters)
        if not kinds:
            return self._nothing(filters, given.keywords)
        if cursor >= len(kinds):
            return ToolResult(text=f"nothing after cursor={clip(str(cursor), 8)}: {_count(len(kinds), 'kind')} in all match")
        return self._page(filters, kinds, cursor, min(limit, _MOST_KINDS))

    def _time_and_level(self, given: SearchArguments) -> list[_Filter]:
        filters, scene = [], self._scene
        if given.min_level is not None:
            level = _level(given.min_level)
            filters.append(_Filter("min_level", f"level>={level.name}", "level >= ?", (level.value,)))
        start = _moment("start_time", given.start_time, scene) if given.start_time is not None else None
        end = _moment("end_time", given.end_time, scene) if given.end_time is not None else None
        if start is not None and end is not None and start > end:
            raise ToolInputError(f"start_time {scene.clock(start)} is after end_time {scene.clock(end)}; swap them")
        if start is not None:
            filters.append(_Filter("start_time", f"from {scene.clock(start)}", "at_ms >= ?", (start,)))
        if end is not None:
            filters.append(_Filter("end_time", f"to {scene.clock(end)}", "at_ms <= ?", (end,)))
        return filters

    def _service(self, asked: str) -> str | None:
        """The service named, whatever its case, or the only one that begins with the name."""
        asked = asked.strip()
        if asked in self._scene.services:
            return asked
        lowered = asked.lower()
        for found in (
            [name for name in self._scene.services if name.lower() == lowered],
            [name for name in self._scene.services if name.lower().startswith(lowered)],
        ):
            if len(found) == 1:
                return found[0]
        return None

    def _no_such_service(self, asked: str) -> ToolResult:
        by_lower = {name.lower(): name for name in self._scene.services}
        near = [by_lower[name] for name in difflib.get_close_matches(asked.strip().lower()[:200], by_lower, n=1)]
        parts = [f"no service {clip(json.dumps(asked), 12)}" + ("" if near else ";")]
        parts += [f"did you mean {near[0]}?"] if near else []
        return _within([_as_room_allows([*parts, "services:", *self._scene.services], self._budget)], self._budget, (), ())

    def _keywords(self, words: list[str]) -> _Filter:
        """Lines with all the words; when the scenario has none, lines where they occur as parts of words."""
        shown = f"keywords={' '.join(words)}"
        match = " ".join(f'"{word}"' for word in words)
        whole = (match, *self._scene.rows_range)
        if self._scene.reader.rows("SELECT 1 FROM log_words WHERE log_words MATCH ? AND rowid BETWEEN ? AND ? LIMIT 1", *whole):
            return _Filter("keywords", shown, _IN_WORDS, whole)
        return _Filter("keywords", shown, " AND ".join([_IN_PARTS] * len(words)), tuple(words))

    def _select(self, what: str, filters: Sequence[_Filter], rest: str = "") -> list[tuple[Any, ...]]:
        where = "".join(f" AND {one.where}" for one in filters)
        parameters = [value for one in filters for value in one.parameters]
        query = f"SELECT {what} FROM logs WHERE row BETWEEN ? AND ?{where} {rest}"
        return self._scene.reader.rows(query, *self._scene.rows_range, *parameters)

    def _kinds(self, filters: Sequence[_Filter]) -> list[tuple[Any, ...]]:
        """(first row, lines) of each kind, in the order they are shown. Rows lie in time order."""
        return self._select("min(row), count(*)", filters, "GROUP BY kind ORDER BY max(level) DESC, count(*), min(row)")

    def _page(self, filters: Sequence[_Filter], kinds: Sequence[tuple[Any, ...]], cursor: int, limit: int) -> ToolResult:
        scene, budget = self._scene, self._budget
        page = kinds[cursor : cursor + limit]
        searched = clip(", ".join(one.shown for one in filters), max(12, budget // 4))
        day = f" on {_when(scene.first_ms):%Y-%m-%d}" if budget >= _ROOMY_TOKENS and scene.one_day else ""

        def header(shown: int) -> str:
            text = f"{_count(sum(lines for _, lines in kinds), 'line')} in {_count(len(kinds), 'kind')} match"
            text += (f" ({searched})" if searched else "") + day
            if shown == len(kinds):
                return text
            text += f", {shown} shown" + (f" after {cursor}" if cursor else "")
            return text + (f", more: cursor={cursor + shown}" if cursor + shown < len(kinds) else "")

        room = budget - max(estimate_tokens(header(len(page))), estimate_tokens(header(min(len(page), len(kinds) - 1))))
        rows: list[str] = []
        shown: list[_Line] = []
        for first_row, lines in page:
            line = self._line(first_row, lines)
            row = _printed(scene, line, room - 1 if not rows else max(budget // 3, 40), trace=True)
            cost = 1 + estimate_tokens(row)
            if rows and cost > room:
                break
            room -= cost
            rows.append(row)
            shown.append(line)
        return _within([header(len(rows)), *rows], budget, (x.id for x in shown), (x.trace_id for x in shown if x.trace_id))

    def _line(self, row: int, count: int) -> _Line:
        query = "SELECT row, id, at_ms, service, level, text, trace_id, ? FROM logs WHERE row = ?"
        return _Line(*self._scene.reader.rows(query, count, row)[0])

    def _nothing(self, filters: Sequence[_Filter], keywords: str | None) -> ToolResult:
        """Says what was searched and what each filter costs."""
        searched = ", ".join(one.shown for one in filters)
        parts = [clip(f"no lines match ({searched}).", self._budget // 2)]
        if len(filters) > 1:
            for one in filters:
                if lines := self._select("count(*)", [other for other in filters if other is not one])[0][0]:
                    parts.append(f"without {one.name}: {_count(lines, 'line')}.")
        words = _words(keywords) if keywords else []
        if len(words) > 1:
            counts = [(word, self._select("count(*)", [self._keywords([word])])[0][0]) for word in words]
            parts += [f"{clip(word, 6)}: {_count(lines, 'line')}." for word, lines in counts]
        for word in words:
            kind: Kind
            for kind in ("trace", "log"):
                if len(self._scene.candidates(kind, word)) == 1:
                    parts.append(f"{clip(word, 8)} is a {kind} id{'; use read_trace' if kind == 'trace' else ''}.")
        parts.append(f"lines run from {self._scene.clock(self._scene.first_ms)} to {self._scene.clock(self._scene.last_ms)}.")
        return _within([_as_room_allows(parts, self._budget)], self._budget, (), ())


# ------------------------------------------------------------------------------------------------------------- read_trace


class _Span(NamedTuple):
    span_id: str
    parent_span_id: str | None
    service: str
    operation: str
    start_ms: int
    duration_ms: float
    status: str


class _Place(NamedTuple):
    """Where a span stands in the printed tree."""

    order: int
    depth: int
    parent: int | None


def _tree(spans: Sequence[_Span]) -> dict[int, _Place]:
    """A place for every span, by its position in `spans` (start order). A span whose parent is unknown is a root; so is the
    earliest span of a cycle."""
    by_id = {span.span_id: number for number, span in reversed(list(enumerate(spans)))}
    children: dict[int | None, list[int]] = {}
    for number, span in enumerate(spans):
        parent = by_id.get(span.parent_span_id) if span.parent_span_id else None
        children.setdefault(None if parent == number else parent, []).append(number)
    places: dict[int, _Place] = {}
    for start in [*children.get(None, []), *range(len(spans))]:
        waiting: list[tuple[int, int, int | None]] = [(start, 0, None)]
        while waiting:
            number, depth, above = waiting.pop()
            if number in places:
                continue
            places[number] = _Place(len(places), depth, above)
            waiting += [(child, depth + 1, number) for child in reversed(children.get(number, []))]
    return places


class ReadTrace:
    """Shows one trace: its span tree and its log lines."""

    name = "read_trace"
    description = (
        "Show one trace: the tree of its spans (service, operation, duration, error or timeout) and its log lines in time order. "
        "A long trace is cut to its failing and slowest branch first; the cursor gets the rest."
    )
    arguments: type[BaseModel] = TraceArguments

    def __init__(self, scene: _Scene, budget_tokens: int) -> None:
        self._scene, self._budget = scene, budget_tokens

    def resolve(self, kind: Kind, shown: str) -> str | None:
        """The full id that `shown` stands for in this scenario, or None."""
        found = self._scene.candidates(kind, shown)
        return found[0] if len(found) == 1 else None

    async def run(self, arguments: Any) -> ToolResult:
        """Show the trace. Raises ToolInputError for an id too short to look up or a negative cursor."""
        given = TraceArguments.model_validate(arguments)
        asked, cursor = given.trace_id.strip(), given.cursor or 0
        if cursor < 0:
            raise ToolInputError(f"cursor={clip(str(cursor), 8)}: use the number that an earlier result gave as cursor=")
        found = self._scene.candidates("trace", asked)
        if len(asked) < 4 and not found:
            raise ToolInputError("trace_id: give the id printed after 'trace' in a row, at least its first 4 characters")
        if len(found) != 1:
            return self._unclear(asked, found)
        return self._show(found[0], cursor)

    def _unclear(self, asked: str, found: Sequence[str]) -> ToolResult:
        shown = clip(json.dumps(asked), 12)
        if found:
            parts = [f"{_count(len(found), 'trace')} begin with {shown}:", *(self._scene.short("trace", one) for one in found)]
            return _within([_as_room_allows(parts, self._budget)], self._budget, (), ())
        parts = [f"no trace {shown} in this incident."]
        logs = self._scene.candidates("log", asked)
        if len(logs) == 1:
            trace = self._scene.reader.rows(
                "SELECT trace_id FROM logs WHERE row BETWEEN ? AND ? AND id = ?", *self._scene.rows_range, logs[0]
            )[0][0]
            parts.append(f"it is a log line of {'trace ' + self._scene.short('trace', trace) if trace else 'no trace'}.")
        else:
            parts.append("ids stand after 'trace' in rows of search_logs.")
        return _within([_as_room_allows(parts, self._budget)], self._budget, (), ())

    def _show(self, trace_id: str, cursor: int) -> ToolResult:
        scene, budget = self._scene, self._budget
        spans = [
            _Span(*row)
            for row in scene.reader.rows(
                "SELECT span_id, parent_span_id, service, operation, start_ms, duration_ms, status FROM spans "
                "WHERE row BETWEEN ? AND ? AND trace_id = ? ORDER BY row",
                *scene.spans_range,
                trace_id,
            )
        ]
        lines = [
            _Line(*row)
            for row in scene.reader.rows(
                "SELECT min(row), id, at_ms, service, level, text, trace_id, count(*) FROM logs "
                "WHERE row BETWEEN ? AND ? AND trace_id = ? GROUP BY kind ORDER BY min(row)",
                *scene.rows_range,
                trace_id,
            )
        ]
        places = _tree(spans)
        order = _interleaved(_worst_first(spans, places), sorted(range(len(lines)), key=lambda n: (-lines[n].level, n)))
        if cursor >= len(order):
            return ToolResult(text=f"nothing after cursor={clip(str(cursor), 8)}: the trace has {len(order)} parts")
        head = self._head(trace_id, spans, lines)
        longest = f", {len(spans)} spans and {len(lines)} lines not shown, more: cursor={len(order)}"
        room = budget - estimate_tokens(head + longest) - 2
        printed: dict[tuple[bool, int], str] = {}
        for is_line, number in order[cursor:]:
            most = room if not printed else max(budget // 3, 40)
            text = self._line(lines[number], most) if is_line else self._branch(spans[number], places[number], most)
            cost = 1 + estimate_tokens(text)
            if printed and cost > room:
                break
            room -= cost
            printed[is_line, number] = text
        return self._result(trace_id, head, printed, lines, places, cursor, len(order))

    def _head(self, trace_id: str, spans: Sequence[_Span], lines: Sequence[_Line]) -> str:
        short = self._scene.short("trace", trace_id)
        if not spans:
            total = sum(line.times for line in lines)
            return f"trace {short}: no spans, {_count(total, 'line')} from {self._scene.clock(lines[0].at_ms)}"
        start = min(span.start_ms for span in spans)
        took = max(span.start_ms + span.duration_ms for span in spans) - start
        return f"trace {short}: {_count(len(spans), 'span')}, {took:.0f} ms from {self._scene.clock(start)}"

    def _branch(self, span: _Span, place: _Place, room: int) -> str:
        indent = "  " * min(place.depth, 8)
        tail = f" {span.duration_ms:.0f} ms" + ("" if span.status == "ok" else f" {span.status}")
        tail += " (parent missing)" if place.parent is None and span.parent_span_id else ""
        left = room - estimate_tokens(f"{indent}{span.service}{tail}")
        return f"{indent}{span.service} {clip(_one_line(span.operation), left)}{tail}"

    def _line(self, line: _Line, room: int) -> str:
        return _printed(self._scene, line, room, trace=False)

    def _result(
        self,
        trace_id: str,
        head: str,
        printed: dict[tuple[bool, int], str],
        lines: Sequence[_Line],
        places: dict[int, _Place],
        cursor: int,
        parts: int,
    ) -> ToolResult:
        tree = sorted((number for is_line, number in printed if not is_line), key=lambda number: places[number].order)
        rows = sorted(number for is_line, number in printed if is_line)
        left = [_count(len(places) - len(tree), "span")] if len(places) > len(tree) else []
        left += [_count(len(lines) - len(rows), "line")] if len(lines) > len(rows) else []
        if left:
            head += f", {' and '.join(left)} not shown"
        if cursor + len(printed) < parts:
            head += f", more: cursor={cursor + len(printed)}"
        text = [head, *(printed[False, number] for number in tree)]
        if rows:
            text += ["lines", *(printed[True, number] for number in rows)]
        return _within(text, self._budget, (lines[number].id for number in rows), (trace_id,))


def _worst_first(spans: Sequence[_Span], places: dict[int, _Place]) -> list[int]:
    """Every span, failing ones first, then the slowest; each after the spans above it, so that any beginning is a tree."""
    order: dict[int, None] = {}
    for worst in sorted(places, key=lambda n: (spans[n].status == "ok", -spans[n].duration_ms, places[n].order)):
        branch = []
        number: int | None = worst
        while number is not None and number not in order:
            branch.append(number)
            number = places[number].parent
        order.update(dict.fromkeys(reversed(branch)))
    return list(order)


def _interleaved(spans: Sequence[int], lines: Sequence[int]) -> list[tuple[bool, int]]:
    """Two spans, then one line, and so on: whatever is cut, a result holds some of both. Each is (is a line, number)."""
    ranked = [(place, False, number) for place, number in enumerate(spans)]
    ranked += [(2 * place + 1, True, number) for place, number in enumerate(lines)]
    return [(is_line, number) for _, is_line, number in sorted(ranked)]


# ------------------------------------------------------------------------------------------------------------- the offer


def function_schema(tool: Tool) -> dict[str, Any]:
    """The tool as an OpenAI function, its parameters as small as JSON Schema allows."""
    schema = tool.arguments.model_json_schema()
    properties = {}
    for name, described in schema.get("properties", {}).items():
        kinds = [kind for kind in described.pop("anyOf", []) if kind.get("type") != "null"]
        merged = {**(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}), **described}
        properties[name] = {key: value for key, value in merged.items() if key not in ("title", "default")}
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := schema.get("required"):
        parameters["required"] = required
    return {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": parameters}}


def log_tools(database: Path, scenario_id: str, config: EpisodeConfig) -> tuple[Tool, ...]:
    """The tools of one episode. Cheap: tools on the same file share a connection and what is known of a scenario.

    Raises:
        DatabaseError: the database is missing, damaged, of another version, or lacks the scenario; says what to run.
    """
    scene = _scene(database, scenario_id)
    return SearchLogs(scene, config.tool_budget_tokens), ReadTrace(scene, config.tool_budget_tokens)

"""What an agent can do with the logs of one incident: `search_logs` and `read_trace`, over the file
`build_logs` wrote.

A tool is bound to one scenario when it is made and reads only that scenario's range of rows, so no argument
can reach another one. A search groups lines that are alike and shows one of each kind, and never takes more
tokens than the episode allows; what is left out is counted, and a cursor gets it. Arguments that make no
sense raise ToolInputError; "nothing matches" and "no such service" are answers. A log line is somebody else's
text: it is printed on one line, and a keyword is data, not a query. How rows are read and printed is
`core.log_stores.printing`; `read_trace` is in `core.log_stores.traces`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, Field

from core.log_stores.printing import (
    Arguments,
    Line,
    OptionalNumber,
    OptionalText,
    PrintedRow,
    Scene,
    SceneTool,
    clip,
    count,
    estimate_tokens,
    open_scene,
    page_start,
    printed,
    printed_rows,
    when,
)
from core.log_stores.traces import ReadTrace, TraceArguments
from project_types import SEARCH_LEVELS, EpisodeConfig, Level, Tool, ToolInputError, ToolResult

__all__ = [
    "PrintedRow",
    "ReadTrace",
    "SearchArguments",
    "SearchLogs",
    "TraceArguments",
    "estimate_tokens",
    "function_schema",
    "log_tools",
    "printed_rows",
]

_MOST_KINDS = 1000
_LEAST_ROW_TOKENS = 8
"""No row takes less: an id, a time, a level, a service."""
_ROOMY_TOKENS = 400
"""From this budget on a search says its date even when the scenario has only one."""

# -------------------------------------------------------------------------------------------------- arguments


def _joined(value: Any) -> Any:
    return (
        " ".join(value) if isinstance(value, list) and all(isinstance(word, str) for word in value) else value
    )


class SearchArguments(Arguments):
    """Arguments of `search_logs`; all may be left out."""

    keywords: Annotated[
        OptionalText,
        BeforeValidator(_joined),
        Field(description="Words that must all occur in a line (service, level or message)."),
    ] = None
    service: Annotated[
        OptionalText, Field(description="Only this service; a unique beginning of its name is enough.")
    ] = None
    min_level: Annotated[
        OptionalText,
        Field(
            description="Only this severity and worse.",
            json_schema_extra={"enum": [level.name for level in SEARCH_LEVELS]},
        ),
    ] = None
    start_time: Annotated[OptionalText, Field(description="HH:MM, HH:MM:SS or ISO 8601, UTC.")] = None
    end_time: Annotated[
        OptionalText, Field(description="Like start_time; the minute or second named is included.")
    ] = None
    limit: Annotated[OptionalNumber, Field(description="Most kinds of lines to show.")] = None
    cursor: Annotated[
        OptionalNumber, Field(description="Goes on where an earlier result of the same search stopped.")
    ] = None


_LEVELS = {level.name: level for level in SEARCH_LEVELS} | {
    "TRACE": Level.DEBUG, "NOTICE": Level.INFO, "INFORMATION": Level.INFO, "WARNING": Level.WARN, "ERR": Level.ERROR,
    "SEVERE": Level.ERROR, "CRIT": Level.FATAL, "CRITICAL": Level.FATAL, "ALERT": Level.FATAL, "EMERGENCY": Level.FATAL,
    "PANIC": Level.FATAL,
}  # fmt: skip
_TIME = re.compile(
    r"(?P<date>[12]\d{3}-\d\d-\d\d)?[T ]?(?P<minute>\d{1,2}:\d\d)?(?P<second>:\d\d)?(?P<fraction>[.,]\d{1,6})?"
    r" ?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?",
    re.ASCII | re.IGNORECASE,
)
_HALF_A_DAY_MS = 43_200_000


def _level(text: str) -> Level:
    try:
        return _LEVELS[text.strip().upper()]
    except KeyError:
        names = ", ".join(level.name for level in SEARCH_LEVELS)
        raise ToolInputError(f"min_level={clip(repr(text), 12)} is no level; use one of {names}") from None


def _words(keywords: str) -> list[str]:
    words = "".join(char if char.isprintable() else " " for char in keywords).split()
    if len(words) > 12 or sum(map(len, words)) > 200:
        raise ToolInputError("keywords: too long; give at most 12 words and 200 letters, the rarest you know")
    return words


def _moment(name: str, text: str, scene: Scene) -> int:
    """Milliseconds since 1970: the moment named, or for `end_time` the last one of the minute, second or day
    named.

    A time of day means the scenario's date. When its lines span several, a start means the first date on
    which that time is less than 12 hours before the first line, an end the last one on which it is less than
    12 hours after the last line.
    """
    usage = f"{name}={clip(repr(text), 16)} is no time; write HH:MM, HH:MM:SS or 2025-01-31T14:05:00Z (UTC)"
    parts = _TIME.fullmatch(text.strip())
    if not parts or not (parts["date"] or parts["minute"]) or (parts["second"] and not parts["minute"]):
        raise ToolInputError(usage)
    precision = (
        1 if parts["fraction"] else 1000 if parts["second"] else 60_000 if parts["minute"] else 86_400_000
    )
    days = (when(scene.last_ms).date() - when(scene.first_ms).date()).days
    dates = [when(scene.first_ms).date() + timedelta(days=day) for day in range(days + 1)]
    clock = f"{(parts['minute'] or '0:00').zfill(5)}{parts['second'] or ':00'}{(parts['fraction'] or '').replace(',', '.')}"
    zone = (parts["zone"] or "Z").upper().replace("UTC", "Z")
    try:
        moments = [
            round(datetime.fromisoformat(f"{date}T{clock}{zone}").timestamp() * 1000)
            for date in ([parts["date"]] if parts["date"] else dates)
        ]
    except ValueError:
        raise ToolInputError(usage) from None
    if name == "start_time":
        return next((at for at in moments if at > scene.first_ms - _HALF_A_DAY_MS), moments[-1])
    moments = [at + precision - 1 for at in reversed(moments)]
    return next((at for at in moments if at < scene.last_ms + _HALF_A_DAY_MS), moments[-1])


# ------------------------------------------------------------------------------------------------ search_logs


class _Filter(NamedTuple):
    name: str
    shown: str
    where: str
    parameters: tuple[Any, ...]


_IN_WORDS = "row IN (SELECT rowid FROM log_words WHERE log_words MATCH ? AND rowid BETWEEN ? AND ?)"
_IN_PARTS = "instr(lower(service || ' ' || text), lower(?)) > 0"


class SearchLogs(SceneTool):
    """Finds log lines of one scenario and shows one of each kind."""

    name = "search_logs"
    description = (
        "Search the log lines of this incident. Lines that differ only in numbers and ids are one kind: the first is shown as "
        "'time level service xCOUNT message trace ID log ID'. Worst level first, then the rarest kinds. All filters are optional "
        "and narrow the result. A result that was cut gives a cursor for the rest."
    )
    arguments: type[BaseModel] = SearchArguments

    async def run(self, arguments: Any) -> ToolResult:
        """Search. Raises ToolInputError for a level, a time, a limit, a cursor or keywords it cannot use."""
        given = SearchArguments.model_validate(arguments)
        start = page_start(given.cursor)
        if given.limit is not None and given.limit < 1:
            raise ToolInputError(
                f"limit={clip(str(given.limit), 8)}: must be 1 or more; leave it out to see all that fits"
            )
        filters = self._time_and_level(given)
        if given.service is not None:
            service = self._service(given.service)
            if service is None:
                return self._no_such_service(given.service)
            filters.insert(0, _Filter("service", f"service={service}", "service = ?", (service,)))
        words = _words(given.keywords) if given.keywords is not None else []
        if words:
            filters.insert(0, self._whole_words(words))
        kinds = self._kinds(filters)
        if not kinds and words:
            filters[0] = self._keywords(words)
            kinds = self._kinds(filters)
        if not kinds:
            return self._nothing(filters, words)
        if start >= len(kinds):
            return self.answer(
                f"nothing after cursor={clip(str(start), 8)}: {count(len(kinds), 'kind')} in all match"
            )
        return self._page(filters, kinds, start, min(given.limit or _MOST_KINDS, _MOST_KINDS))

    def _time_and_level(self, given: SearchArguments) -> list[_Filter]:
        filters, scene = [], self.scene
        if given.min_level is not None:
            level = _level(given.min_level)
            filters.append(_Filter("min_level", f"level>={level.name}", "level >= ?", (level.value,)))
        start = _moment("start_time", given.start_time, scene) if given.start_time is not None else None
        end = _moment("end_time", given.end_time, scene) if given.end_time is not None else None
        if start is not None and end is not None and start > end:
            raise ToolInputError(
                f"start_time {scene.clock(start)} is after end_time {scene.clock(end)}; swap them"
            )
        if start is not None:
            filters.append(_Filter("start_time", f"from {scene.clock(start)}", "at_ms >= ?", (start,)))
        if end is not None:
            filters.append(_Filter("end_time", f"to {scene.clock(end)}", "at_ms <= ?", (end,)))
        return filters

    def _service(self, asked: str) -> str | None:
        """The service named, whatever its case, or the only one that begins with the name."""
        asked = asked.strip()
        if asked in self.scene.services:
            return asked
        lowered = asked.lower()
        for found in (
            [name for name in self.scene.services if name.lower() == lowered],
            [name for name in self.scene.services if name.lower().startswith(lowered)],
        ):
            if len(found) == 1:
                return found[0]
        return None

    def _no_such_service(self, asked: str) -> ToolResult:
        by_lower = {name.lower(): name for name in self.scene.services}
        near = [
            by_lower[name]
            for name in difflib.get_close_matches(asked.strip().lower()[:200], by_lower, n=1, cutoff=0.5)
        ]
        hint = f"did you mean {near[0]}? " if near else ""
        return self.answer(
            f"no service {clip(json.dumps(asked), 12)}.", f"{hint}services:", *self.scene.services
        )

    def _whole_words(self, words: list[str]) -> _Filter:
        match = " ".join('"' + word.replace('"', '""') + '"' for word in words)
        return _Filter("keywords", f"keywords={' '.join(words)}", _IN_WORDS, (match, *self.scene.log_range))

    def _keywords(self, words: list[str]) -> _Filter:
        """Lines with all the words; when the scenario has none, lines where they occur as parts of words."""
        whole = self._whole_words(words)
        if self._matching([whole]):
            return whole
        return whole._replace(where=" AND ".join([_IN_PARTS] * len(words)), parameters=tuple(words))

    def _select(self, what: str, filters: Sequence[_Filter], rest: str = "") -> list[tuple[Any, ...]]:
        where = "".join(f" AND {one.where}" for one in filters)
        parameters = [value for one in filters for value in one.parameters]
        query = f"SELECT {what} FROM logs WHERE row BETWEEN ? AND ?{where} {rest}"
        return self.scene.rows(query, *self.scene.log_range, *parameters)

    def _kinds(self, filters: Sequence[_Filter]) -> list[tuple[int, int]]:
        """(first row, lines) of each kind, in the order they are shown. Rows lie in time order."""
        found = self._select(
            "min(row), count(*)", filters, "GROUP BY kind ORDER BY max(level) DESC, count(*), min(row)"
        )
        return [(first_row, times) for first_row, times in found]

    def _matching(self, filters: Sequence[_Filter]) -> int:
        return int(self._select("count(*)", filters)[0][0])

    def _page(
        self, filters: Sequence[_Filter], kinds: Sequence[tuple[int, int]], start: int, limit: int
    ) -> ToolResult:
        page = kinds[start : start + min(limit, self.budget_tokens // _LEAST_ROW_TOKENS)]
        header = self._header(filters, kinds, start)
        room = self.budget_tokens - max(
            estimate_tokens(header(shown)) for shown in (len(page), max(1, len(page) - 1))
        )
        rows: list[str] = []
        lines = self._lines(page)
        most = self.most(len(lines))
        for line in lines:
            row, tokens = printed(self.scene, line, min(most, room - 1) if not rows else most, trace=True)
            if rows and tokens >= room:
                break
            room -= 1 + tokens
            rows.append(row)
        shown = lines[: len(rows)]
        text = [header(len(rows)), *rows]
        return self.result(
            text, room, (line.id for line in shown), (line.trace_id for line in shown if line.trace_id)
        )

    def _header(
        self, filters: Sequence[_Filter], kinds: Sequence[tuple[int, int]], start: int
    ) -> Callable[[int], str]:
        searched = clip(", ".join(one.shown for one in filters), max(12, self.budget_tokens // 5))
        text = f"{count(sum(times for _, times in kinds), 'line')} in {count(len(kinds), 'kind')} match"
        text += f" ({searched})" if searched else ""
        if self.budget_tokens >= _ROOMY_TOKENS and self.scene.one_day:
            text += f" on {when(self.scene.first_ms):%Y-%m-%d}"

        def header(shown: int) -> str:
            if shown == len(kinds):
                return text
            more = f", more: cursor={start + shown}" if start + shown < len(kinds) else ""
            return f"{text}, {shown} shown{f' after {start}' if start else ''}{more}"

        return header

    def _lines(self, kinds: Sequence[tuple[int, int]]) -> list[Line]:
        """The first line of each kind, in the order given."""
        times = dict(kinds)
        places = {row: place for place, row in enumerate(times)}
        query = f"SELECT row, id, at_ms, service, level, text, trace_id FROM logs WHERE row IN ({', '.join('?' * len(times))})"
        lines = (Line._make((*row, times[row[0]])) for row in self.scene.rows(query, *times))
        return sorted(lines, key=lambda line: places[line.row])

    def _nothing(self, filters: Sequence[_Filter], words: Sequence[str]) -> ToolResult:
        """Says what was searched, what would match with one filter less, and which of the words occur at all."""
        scene, searched = self.scene, ", ".join(one.shown for one in filters)
        parts = [clip(f"no lines match ({searched}).", self.budget_tokens // 2)]
        for one in filters if len(filters) > 1 else ():
            if lines := self._matching([other for other in filters if other is not one]):
                parts.append(f"without {one.name}: {count(lines, 'line')}.")
        for word in words if len(words) > 1 else ():
            parts.append(f"{clip(word, 6)}: {count(self._matching([self._keywords([word])]), 'line')}.")
        for word in words:
            if trace := self.resolve("trace", word):
                parts.append(f"{scene.short('trace', trace)} is a trace; use read_trace.")
        parts.append(f"lines run from {scene.clock(scene.first_ms)} to {scene.clock(scene.last_ms)}.")
        return self.answer(*parts)


# -------------------------------------------------------------------------------------------------- the offer


@cache
def function_schema(name: str, description: str, arguments: type[BaseModel]) -> dict[str, Any]:
    """An OpenAI function, its parameters as small as JSON Schema allows: a model reads them in every episode."""
    schema, properties = arguments.model_json_schema(), {}
    for field, described in schema.get("properties", {}).items():
        kinds = [kind for kind in described.pop("anyOf", []) if kind.get("type") != "null"]
        merged = {**(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}), **described}
        properties[field] = {key: value for key, value in merged.items() if key not in ("title", "default")}
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := schema.get("required"):
        parameters["required"] = required
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


def log_tools(database: Path, scenario_id: str, config: EpisodeConfig) -> tuple[Tool, ...]:
    """The tools of one episode. Cheap: tools on the same file share a connection and what is known of a
    scenario.

    Raises:
        DatabaseError: the database is missing, damaged, of another version, or lacks the scenario; says what
        to run.
    """
    scene = open_scene(database, scenario_id)
    return SearchLogs(scene, config.tool_budget_tokens), ReadTrace(scene, config.tool_budget_tokens)

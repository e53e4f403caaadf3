"""A stored episode as the viewer shows it: turns with calls and results, and every line marked that is cited
or gold.

Built on `failure_analysis.episodes.turns`. Ids are found again in the printed lines, and everything is
bounded, so that a hostile or enormous transcript is cut with a word about it and never stops the page. Text
stays text: escaping is the template's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from core.log_stores.id_prefix import IdPrefixes
from core.log_stores.printing import NO_CLOCK, OLD_ROW, PRINTED_ROW
from failure_analysis.episodes.turns import Call, Turn, turns_of
from failure_analysis.records import Claim
from project_types import Episode, Frozen, LogRecord, Scenario

MOST_TURNS = 100
MOST_CALLS = 20
MOST_LINES = 300
"""Lines of one result."""
LONGEST_LINE = 2000
LONGEST_TEXT = 20_000
"""Characters of one reply, argument or report field."""
MOST_CHARACTERS = 600_000
"""Of the whole transcript."""
Mark = Literal["", "cited", "gold", "both"]
_TRACE = re.compile(r"(?:[^:]{1,200}; the worst is )?trace (?P<trace>[^\s:]+):", re.ASCII)
"""The first line of what read_trace shows."""


class Piece(Frozen):
    """Some of a line's text; its level, and an id that is cited or gold, are pieces of their own."""

    text: str
    mark: Mark = ""
    level: str = ""
    id: str = ""
    """The full id."""


class Line(Frozen):
    """One line of a result."""

    pieces: tuple[Piece, ...]
    mark: Mark = ""
    """Of the log line it prints."""
    anchor: str = ""
    """Where links to an id that is first printed here lead."""


class CallView(Frozen):
    """One call and what it was answered with."""

    name: str
    arguments: tuple[tuple[str, str], ...]
    raw: str
    """The arguments when they are no JSON object."""
    lines: tuple[Line, ...]
    cut: str
    """What was left out of the result, for a person."""
    failed: bool
    final: bool


class TurnView(Frozen):
    """One reply of the policy."""

    number: int
    said: str
    calls: tuple[CallView, ...]
    answer: tuple[Line, ...]
    claims: tuple[Claim, ...]


class Evidence(Frozen):
    """What was cited, or is gold, or both: a line, a trace, and of gold also a
    span, a metric or a silence.
    """

    kind: Literal["log", "trace", "event", "span", "metric", "absence"]
    id: str
    text: str = ""
    cited: bool = False
    gold: bool = False
    seen: bool = False
    """A tool showed it before the answer."""
    exists: bool | None = None
    """None: the scenario is not at hand and nothing showed it."""

    @property
    def mark(self) -> Mark:
        """What it is, in one word."""
        if self.gold:
            return "both" if self.cited else "gold"
        return "cited" if self.cited else ""


class View(Frozen):
    """The whole transcript."""

    opening: tuple[tuple[str, str], ...]
    """(role, text) of what came before the first reply."""
    turns: tuple[TurnView, ...]
    evidence: tuple[Evidence, ...]
    has_gold: bool
    """Whether the scenario was at hand; without it nothing can be marked as gold."""
    cut: str
    anchors: dict[str, str]
    """Id that is cited, gold or in a claim → anchor of the first line that prints it."""


@dataclass
class _Marker:
    """Finds ids in printed lines again, and counts down the characters that may still be shown."""

    logs: IdPrefixes
    traces: IdPrefixes
    cited: frozenset[str]
    gold: frozenset[str]
    linked: frozenset[str]
    """Ids whose first line gets an anchor."""
    anchors: dict[str, str] = field(default_factory=dict)
    left: int = MOST_CHARACTERS

    def mark(self, id: str) -> Mark:
        if id in self.cited:
            return "both" if id in self.gold else "cited"
        return "gold" if id in self.gold else ""

    def take(self, text: str, most: int) -> str:
        room = max(0, min(most, self.left))
        self.left -= min(len(text), room)
        return (
            text
            if len(text) <= room
            else f"{text[:room]} … ({len(text) - room:,} more characters are not shown)"
        )

    def lines(self, text: str) -> tuple[tuple[Line, ...], str]:
        every = text.split("\n") if text else []
        shown = []
        for line in every[:MOST_LINES]:
            if self.left <= 0:
                break
            shown.append(self._line(self.take(line, LONGEST_LINE)))
        missing = len(every) - len(shown)
        return tuple(shown), f"{missing:,} more lines are not shown" if missing else ""

    def _line(self, text: str) -> Line:
        found = PRINTED_ROW.fullmatch(text) or OLD_ROW.fullmatch(text) or _TRACE.match(text)
        own: dict[int, Piece] = {}
        mark: Mark = ""
        anchor = ""
        for group, ids in (("log", self.logs), ("trace", self.traces)):
            printed = found.groupdict().get(group) if found else None
            if not found or not printed:
                continue
            full = ids.full(printed) or printed
            if full in self.linked and full not in self.anchors:
                anchor = anchor or f"line-{len(self.anchors) + 1}"
                self.anchors[full] = anchor
            if what := self.mark(full):
                own[found.start(group)] = Piece(text=printed, mark=what, id=full)
                mark = mark if group == "trace" else what
        if found and found.groupdict().get("level"):
            own[found.start("level")] = Piece(text=found["level"], level=found["level"])
        pieces, at = list[Piece](), 0
        for start in sorted(own):
            pieces += [Piece(text=text[at:start]), own[start]]
            at = start + len(own[start].text)
        pieces.append(Piece(text=text[at:]))
        return Line(pieces=tuple(piece for piece in pieces if piece.text), mark=mark, anchor=anchor)


def view(episode: Episode, scenario: Scenario | None = None, claims: Iterable[Claim] = ()) -> View:
    """The transcript; `scenario` tells which evidence is gold, `claims` stand at the turns they cite."""
    truth, rows = (
        scenario.ground_truth if scenario else None,
        {row.id: row for row in scenario.logs} if scenario else {},
    )
    gold = (*truth.evidence_line_ids, *truth.evidence_trace_ids) if truth else ()
    traces = (
        {row.trace_id for row in rows.values() if row.trace_id}
        | {span.trace_id for span in scenario.spans if scenario}
        if scenario
        else set()
    )
    made, logs = tuple(claims), IdPrefixes([*rows, *episode.shown_log_ids])
    named = {id: logs.full(id) or id for claim in made for id in claim.log_ids}
    cited = frozenset((*episode.cited_log_ids, *episode.cited_trace_ids))
    marker = _Marker(
        logs=logs,
        traces=IdPrefixes([*traces, *episode.shown_trace_ids]),
        cited=cited,
        gold=frozenset(gold),
        linked=cited.union(gold, named.values()),
    )
    every = turns_of(episode, IdPrefixes(rows) if rows else None)
    opening = []
    for message in episode.messages[:4]:
        if message.get("role") == "assistant":
            break
        opening.append(
            (str(message.get("role", ""))[:20], marker.take(_text(message.get("content")), LONGEST_TEXT))
        )
    shown: list[TurnView] = []
    for turn in every[:MOST_TURNS]:
        if marker.left <= 0:
            break
        shown.append(_turn(turn, marker, tuple(claim for claim in made if turn.number in claim.turns)))
    cut = (
        f"{len(every) - len(shown)} more turns are not shown; they are in the stored file"
        if len(shown) < len(every)
        else ""
    )
    evidence = _evidence(episode, scenario, traces)
    anchors = marker.anchors | {
        short: marker.anchors[full] for short, full in named.items() if full in marker.anchors
    }
    return View(
        opening=tuple(opening),
        turns=tuple(shown),
        evidence=evidence,
        has_gold=truth is not None,
        cut=cut,
        anchors=anchors,
    )


def _turn(turn: Turn, marker: _Marker, claims: tuple[Claim, ...]) -> TurnView:
    calls = tuple(_call(call, marker) for call in turn.calls[:MOST_CALLS])
    said = (
        "" if calls and calls[0].name in turn.said and turn.said.lstrip().startswith("{") else turn.said
    )  # the call itself
    answer, cut = marker.lines(turn.answer)
    answer += (Line(pieces=(Piece(text=cut),)),) if cut else ()
    return TurnView(
        number=turn.number, said=marker.take(said, LONGEST_TEXT), calls=calls, answer=answer, claims=claims
    )


def _call(call: Call, marker: _Marker) -> CallView:
    given = call.arguments or {}
    arguments = tuple(
        (marker.take(str(name), 200), marker.take(_plain(value), LONGEST_TEXT))
        for name, value in [*given.items()][:50]
    )
    lines, cut = marker.lines(call.result)
    return CallView(
        name=marker.take(call.name, 200),
        arguments=arguments,
        raw=marker.take(call.raw, LONGEST_TEXT) if call.arguments is None else "",
        lines=lines,
        cut=cut,
        failed=call.failed,
        final=call.name == "return_final_answer",
    )


def _evidence(episode: Episode, scenario: Scenario | None, traces: set[str]) -> tuple[Evidence, ...]:
    """Gold first, then what else was cited."""
    truth = scenario.ground_truth if scenario else None
    rows = {row.id: _quoted(row) for row in scenario.logs} if scenario else {}
    events = {event.id: f"{event.object} {event.reason}" for event in scenario.events} if scenario else {}
    lines = truth.evidence_line_ids if truth else ()
    found: list[Evidence] = []
    kinds: tuple[tuple[Literal["log", "trace"], tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
        ("log", lines, episode.cited_log_ids, episode.shown_log_ids),
        (
            "trace",
            truth.evidence_trace_ids if truth else (),
            episode.cited_trace_ids,
            episode.shown_trace_ids,
        ),
    )
    for kind, gold, cited, shown in kinds:
        seen, known = set(shown), rows.keys() | events.keys() if kind == "log" else traces
        for id in dict.fromkeys((*gold, *cited)):
            shown_somewhere = True if id in seen else None
            found.append(
                Evidence(
                    kind="event" if kind == "log" and id in events else kind,
                    id=id[:200],
                    text=({**rows, **events}.get(id, "") if kind == "log" else "")[:LONGEST_LINE],
                    cited=id in cited,
                    gold=id in gold,
                    seen=id in seen,
                    exists=id in known if scenario else shown_somewhere,
                )
            )
    found += _beside_lines(episode, scenario) if scenario else ()
    return tuple(sorted(found[:200], key=lambda one: not one.gold))


def _beside_lines(episode: Episode, scenario: Scenario) -> Iterator[Evidence]:
    """Gold evidence that no report can cite by an id: spans, metric series, services that fell silent.

    A span was seen when its trace was; the others when a result of a tool prints them.
    """
    spans = {span.span_id: span for span in scenario.spans}
    printed = "\n".join(
        _text(one.get("content")) for one in episode.messages if one.get("role") in ("tool", "user")
    )
    for one in scenario.ground_truth.evidence:
        span = spans.get(one.id) if one.kind == "span" else None
        if one.kind == "span":
            text = f"{span.service} {span.operation} {span.duration_ms:.0f} ms {span.status}" if span else ""
            seen = span is not None and span.trace_id in episode.shown_trace_ids
            cited = span is not None and span.trace_id in episode.cited_trace_ids
        elif one.kind in ("metric", "absence"):
            metric = one.kind == "metric"
            name = _series(one.id) if metric else re.escape(one.id)
            pattern = rf"^{name} " if metric else rf"silent now: [^\n]*(?<![\w-]){name}(?![\w-])"
            text, cited = ("" if metric else "wrote nothing more"), False
            seen = re.search(pattern, printed, re.MULTILINE) is not None
        else:
            continue
        yield Evidence(
            kind=one.kind, id=one.id[:200], text=text, cited=cited, gold=True, seen=seen, exists=True
        )


def _series(metric: str) -> str:
    """How a row of read_metrics begins: with the name, or as in older episodes with the service."""
    service, _, name = map(re.escape, metric.partition("/"))
    return f"(?:{name} {service}|{service} {name})"


def _quoted(row: LogRecord) -> str:
    clock = f"{row.timestamp:%H:%M:%S}" if row.timestamp else NO_CLOCK
    return f"{clock} {row.level} {row.service} {row.message}"[:LONGEST_LINE]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(content: Any) -> str:
    """The text of a message, whatever shape its provider gave it."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""

"""Investigators that work only with the tools: an experienced one, a hasty one, and the mixture that the small model imitates.

All read printed rows as anybody would: a row that complains about another service is a clue that leads there, and what is
left at the end of a trail may be the cause. None sees the ground truth, and all have met the fault families of the train
split before: they know how their causes are worded. HASTY begins with the errors and answers soon. EXPERIENCED begins with
the warnings, follows every clue, and mostly stops where it recognises a cause. The demonstrator is deliberately mediocre: it
is hasty in four episodes of five. Which manner pays is left to be learnt from reward (docs/adr/0004).

Not here: the trivial rules (`scripted` through the tools, `baselines` over the full data).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluation.screen import ShownRow, cursor, rows
from evaluation.scripting import MAX_QUOTE, UNKNOWN, Answer, Call, Desk, Play, read_trace, search


@dataclass(frozen=True)
class Manner:
    """How an investigator behaves. Numbers but `calls` are probabilities, drawn after each result."""

    hasty: float
    """Answers now."""
    sure: float
    """Answers now, when a row worded like a cause has just come up."""
    wander: float
    """Looks at any service instead of following a clue."""
    trace: float
    """Opens the trace of a row on screen."""
    page: float
    """Asks for the rest of a cut result."""
    gullible: float
    """Blames any row it has seen, whatever it says."""
    first: str
    """The lowest level of its first search."""
    then: str
    """The lowest level of its later ones; '' asks for every level."""
    calls: int
    """Tool calls after which it answers in any case."""


HASTY = Manner(hasty=0.5, sure=0.0, wander=0.05, trace=0.05, page=0.05, gullible=0.1, calls=4, first="ERROR", then="WARN")
EXPERIENCED = Manner(hasty=0.0, sure=0.6, wander=0.0, trace=0.05, page=0.1, gullible=0.0, calls=6, first="WARN", then="")
HASTE = 0.8
"""Share of the demonstrator's episodes in which it is hasty."""
RECOGNITION = 30.0
"""How many times likelier a row that is worded like a cause is blamed."""

EVERYDAY = re.compile(
    r"done|finished|answer sent|input checked|handled|acknowledged|rows in|committed|statement \w+ took|served|lookup took|kept"
    r"|accepted|delivered|waiting|signed|answered|continued|health check|metrics|heartbeat|cleaned|clock|customer|user|session"
)
"""How services write about nothing in particular, and about what single users do."""
COMPLAINT = re.compile(
    r"failed|given up|reply|answer|circuit|stopped calling|without|instead|left out|usual|hung up|cancelled|refused|bad input"
    r"|cannot read|missed|misses|had nothing|come from|mostly calls|not taken|second try|status [45]"
)
"""How services write about a peer that lets them down."""
FAMILIAR = re.compile(
    r"heap 9|after full coll|collector stopped|resident set|exit code 137|old generation"  # memory
    r"|all \d+ connections|(free|idle) connection to|: active|borrowed|sessions? (at|\d+ of)|holds \d+ sessions|leaked"  # pools
    r"|writes refused|bytes free|read only|free blocks|compaction stopped"  # disks
    r"|sent again|round trip to \S+ \d+ ms, was|errors on receive|resends in a row|link probe"  # networks
    r"|no address|NXDOMAIN|gave nothing|is empty since"  # names
    r"|patience \d\d ms|patience for|stopped listening|answers? came late"  # deadlines
    r"|points to|nothing listens|moved \S+ from|is not \S+, path|opened \d+ sockets"  # addresses
    r"|turned away|quota for|bucket empty|ceiling of"  # limits
    r"|renewal of|certificate serial|past its last valid|no newer one|has passed"  # certificates
    r"|since build|of build|crashes build|build \S+ (rounds|drops|writes)|unhandled case"  # code
    r"|threads? (in line|wait|blocked)|of \d+ threads|mutex held|keeps \S+ (to itself|at)|one transaction|exclusive lock"  # locks
    r"|pause 0|no delay|backoff|calls to \S+ for \d+ requests"  # retries
    r"|503 to|major outage|before reply|refuses our|no reply from"  # partners
    r"|lost \d+ entries|evicted|hit share \d %|left the ring|snapshot unreadable"  # caches
    r"|renamed to|text in cents|payload version|into uuid"  # contracts
    r"|checksum|bad magic|end early|zero bytes|damaged"  # data
)
"""How causes are worded in the families of faults that the train split shows; what only the test split shows is unknown to it."""


def demonstrator(desk: Desk) -> Play:
    """Mostly hasty, sometimes experienced."""
    return (yield from _investigate(_Notes(desk, HASTY if desk.rng.random() < HASTE else EXPERIENCED)))


def investigator(desk: Desk) -> Play:
    """Experienced always."""
    return (yield from _investigate(_Notes(desk, EXPERIENCED)))


@dataclass
class _Notes:
    """What one investigation remembers."""

    desk: Desk
    manner: Manner
    seen: list[ShownRow] = field(default_factory=list)
    searched: list[str] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)
    asked: dict[str, Any] = field(default_factory=dict)
    """Arguments of the newest search."""

    def __post_init__(self) -> None:
        self.services = _services(self.desk.task)

    def named(self, row: ShownRow) -> list[str]:
        """Other services that a row's message names."""
        words = set(row.message.replace(",", " ").replace(":", " ").split())
        return [name for name in self.services if name != row.service and name in words]

    def clues(self, found: Iterable[ShownRow]) -> list[str]:
        """Services that rows of other services complain about and that were not searched yet."""
        blamed = dict.fromkeys(name for row in found if COMPLAINT.search(row.message) for name in self.named(row))
        return [name for name in blamed if name not in self.searched]

    def weight(self, row: ShownRow) -> float:
        """How much a row looks like a cause: at the end of the trail, not routine, not a complaint about a peer."""
        complaint = bool(self.named(row)) and COMPLAINT.search(row.message) is not None
        routine = EVERYDAY.search(row.message) is not None
        familiar = FAMILIAR.search(row.message) is not None
        believed = RECOGNITION if familiar else 0.03 if complaint or routine else 1.0
        return (8.0 if row.service in self.searched[-3:] else 1.0) * believed

    def search(self, **arguments: Any) -> Call:
        """A search, remembered."""
        self.asked = arguments
        if service := arguments.get("service"):
            self.searched.append(service)
        return search(**arguments)


def _investigate(notes: _Notes) -> Play:
    rng, manner = notes.desk.rng, notes.manner
    text = yield notes.search(min_level=manner.first)
    for call in range(min(manner.calls, notes.desk.calls_left)):
        fresh = rows(text)
        notes.seen += fresh
        last = call + 1 == min(manner.calls, notes.desk.calls_left)
        cause = any(FAMILIAR.search(row.message) for row in fresh)
        if notes.seen and (last or rng.random() < manner.hasty or (cause and rng.random() < manner.sure)):
            break
        following = _next_call(notes, text, fresh)
        if following is None:
            break
        text = yield following
    return _answer(notes)


def _next_call(notes: _Notes, text: str, fresh: Sequence[ShownRow]) -> Call | None:
    """What to look at next; None when every trail has been followed."""
    rng, manner = notes.desk.rng, notes.manner
    traces = [row.trace for row in notes.seen if row.trace and row.trace not in notes.opened]
    if traces and rng.random() < manner.trace:
        trace = rng.choice(traces)
        notes.opened.add(trace)
        return read_trace(trace)
    rest = None if text.startswith("trace ") else cursor(text)
    if rest and "cursor" not in notes.asked and rng.random() < manner.page:
        return notes.search(**notes.asked, cursor=rest)
    trail = notes.clues(fresh) or notes.clues(notes.seen)
    unread = [name for name in notes.services if name not in notes.searched]
    if unread and (rng.random() < manner.wander or not notes.seen):
        trail = unread
    if not trail:
        return None
    return notes.search(service=rng.choice(trail), **({"min_level": manner.then} if manner.then else {}))


def _answer(notes: _Notes) -> Answer:
    """Blames one seen row: service, words, ids, in the order in which the row has them, so that a model can read on."""
    if not notes.seen:
        return UNKNOWN
    rng = notes.desk.rng
    gullible = rng.random() < notes.manner.gullible
    row = rng.choices(notes.seen, [1.0 if gullible else notes.weight(row) for row in notes.seen])[0]
    return {
        "suspected_service": row.service,
        "root_cause": f"{row.service}: {row.message}"[:MAX_QUOTE],
        **({"primary_trace_ids": [row.trace]} if row.trace else {}),
        "key_log_ids": [row.id],
    }


def _services(task: str) -> tuple[str, ...]:
    """The names on the `services:` line of the incident as the agent is told it."""
    lines = (line.partition(":") for line in task.splitlines())
    return next((tuple(names.replace(",", " ").split()) for head, _, names in lines if head.strip().lower() == "services"), ())

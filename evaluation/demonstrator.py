"""Investigators that work only with the tools: an experienced one, a hasty one, and the mixture that the small model imitates.

All read printed rows as anybody would: a row that complains about another service is a clue that leads there, and what is
left at the end of a trail may be the cause. None sees the ground truth, and all have met the fault families of the train
split before: they know how their causes are worded, stop at such a row and blame it. HASTY looks at errors, mostly
also at what one service warns of, and answers. EXPERIENCED begins with the warnings and follows every clue. The demonstrator
is deliberately mediocre: it is hasty in 85 of 100 episodes. Which manner pays is left to be learnt from reward (docs/adr/0004).

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
    """How an investigator behaves where the two differ."""

    first: str
    """The lowest level of its first search."""
    then: str
    """The lowest level of its later ones; '' asks for every level."""
    at_once: float
    """Probability of blaming somebody after the first result."""
    calls: int
    """Results after which it does so in any case."""


HASTY = Manner(first="ERROR", then="WARN", at_once=0.4, calls=2)
EXPERIENCED = Manner(first="WARN", then="", at_once=0.0, calls=6)
HASTE = 0.85
"""Share of the demonstrator's episodes in which it is hasty."""
TRACE, PAGE = 0.05, 0.1
"""Probability of opening the trace of a row on screen, and of asking for the rest of a cut result."""

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

    def suspicion(self, row: ShownRow) -> tuple[bool, bool, bool]:
        """How much a row looks like a cause: worded like one; neither routine nor a complaint; of the service searched last."""
        complaint = bool(self.named(row)) and COMPLAINT.search(row.message) is not None
        plain = not complaint and EVERYDAY.search(row.message) is None
        return FAMILIAR.search(row.message) is not None, plain, row.service in self.searched[-1:]

    def search(self, **arguments: Any) -> Call:
        """A search, remembered."""
        self.asked = arguments
        if service := arguments.get("service"):
            self.searched.append(service)
        return search(**arguments)


def _investigate(notes: _Notes) -> Play:
    text = yield notes.search(min_level=notes.manner.first)
    calls = 1 if notes.desk.rng.random() < notes.manner.at_once else notes.manner.calls
    for left in reversed(range(min(calls, notes.desk.calls_left))):
        fresh = rows(text)
        notes.seen += fresh
        recognised = any(FAMILIAR.search(row.message) for row in fresh)
        if recognised or not left:
            break
        following = _next_call(notes, text, fresh)
        if following is None:
            break
        text = yield following
    return _answer(notes)


def _next_call(notes: _Notes, text: str, fresh: Sequence[ShownRow]) -> Call | None:
    """What to look at next; None when every trail has been followed."""
    rng = notes.desk.rng
    traces = [row.trace for row in notes.seen if row.trace and row.trace not in notes.opened]
    if traces and rng.random() < TRACE:
        trace = rng.choice(traces)
        notes.opened.add(trace)
        return read_trace(trace)
    rest = None if text.startswith("trace ") else cursor(text)
    if rest and "cursor" not in notes.asked and rng.random() < PAGE:
        return notes.search(**notes.asked, cursor=rest)
    trail = notes.clues(fresh) or notes.clues(notes.seen)
    if not notes.seen:
        trail = [name for name in notes.services if name not in notes.searched]
    if not trail:
        return None
    return notes.search(service=rng.choice(trail), **({"min_level": notes.manner.then} if notes.manner.then else {}))


def _answer(notes: _Notes) -> Answer:
    """Blames one seen row: service, words, ids, in the order in which the row has them, so that a model can read on."""
    if not notes.seen:
        return UNKNOWN
    row = max(notes.seen, key=notes.suspicion)
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

"""Investigators that work only with the tools: an experienced one, a hasty one, and the mixture that the
small model imitates.

All read printed rows as anybody would. None sees the ground truth, and all have worked with the systems of
the train split before: they know how its causes are worded, stop at such a row and blame it, and leave the
small mishaps of any day alone. HASTY looks at errors, then at the services that are loudest, and answers
after three results. EXPERIENCED begins with the warnings; a row that complains about another service is a
clue that leads there, and what stands at the end of a trail may be the cause. The demonstrator is
deliberately mediocre: it is hasty in 80 of 100 episodes. Which manner pays is left to be learnt from reward
(docs/adr/0004).

Not here: the trivial rules (`scripted` through the tools, `baselines` over the full data).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.policies.screen import ShownRow, cursor, rows
from core.policies.scripting import MAX_QUOTE, UNKNOWN, Answer, Call, Desk, Play, read_trace, search


@dataclass(frozen=True)
class Manner:
    """How an investigator behaves where the two differ."""

    first: str
    """The lowest level of its first search."""
    follows_complaints: bool
    """Whether it looks next at a service that others complain about, or at the one that says the same thing
    most often.
    """
    calls: int
    """Results after which it blames somebody in any case."""


HASTY = Manner(first="ERROR", follows_complaints=False, calls=3)
EXPERIENCED = Manner(first="WARN", follows_complaints=True, calls=6)
HASTE = 0.8
"""Share of the demonstrator's episodes in which it is hasty."""
TRACE, PAGE = 0.05, 0.1
"""Probability of opening the trace of a row on screen, and of asking for the rest of a cut result."""

EVERYDAY = re.compile(
    r"done|finished|answer sent|input checked|handled|acknowledged|rows in|committed|statement \w+ took|served|lookup took|kept"
    r"|accepted|delivered|waiting|signed|answered|continued|health check|metrics|heartbeat|cleaned|clock|customer|user|session"
)
"""How services write about nothing in particular, and about what single users do."""
HARMLESS = re.compile(
    r"mail to|password|could not|/tmp|empty|not valid|debug endpoint|aborted by|by operator|coupon|metrics push|exchange rates"
    r"|crashed once|sandbox|spell check|too old|slow query|clock moved|maintenance|autoscaler|unknown header|translation|secret"
    r"|pool resized|deprecated|duplicate|license|audit|backup|unit conversion|second try|one slow answer|rotated|collection"
    r"|load average"
)
"""The small mishaps that any system has on any day."""
COMPLAINT = re.compile(
    r"failed|given up|reply|answer|circuit|stopped calling|without|instead|left out|usual|hung up|cancelled|refused|bad input"
    r"|cannot read|missed|misses|had nothing|come from|mostly calls|not taken|second try|status [45]"
)
"""How services write about a peer that lets them down."""
FAMILIAR = re.compile(
    r"heap 9|after full coll|collector stopped|resident set|exit code 137|old generation"  # memory
    r"|all \d+ connections|(free|idle) connection to|: active|borrowed|sessions? (at|\d+ of)|holds \d+ sessions|leaked"  # pools
    r"|writes refused|bytes free|(?<!refused: )read only|free blocks|compaction stopped"  # disks
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
"""How causes are worded in the families of faults that the train split shows; what only the test split shows
is unknown to it.
"""


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
        blamed = dict.fromkeys(
            name for row in found if COMPLAINT.search(row.message) for name in self.named(row)
        )
        return [name for name in blamed if name not in self.searched]

    def loudest(self) -> list[str]:
        """The service whose row stands for the most lines, of those not searched yet."""
        row = max(
            (row for row in self.seen if row.service not in self.searched),
            key=lambda row: row.alike,
            default=None,
        )
        return [row.service] if row else []

    def suspicion(self, row: ShownRow) -> tuple[bool, bool, bool]:
        """How much a row looks like a cause: worded like one; neither routine nor a complaint; of the service
        searched last.
        """
        complaint = bool(self.named(row)) and COMPLAINT.search(row.message) is not None
        plain = not complaint and not any(known.search(row.message) for known in (EVERYDAY, HARMLESS))
        return FAMILIAR.search(row.message) is not None, plain, row.service in self.searched[-1:]

    def search(self, **arguments: Any) -> Call:
        """A search, remembered."""
        self.asked = arguments
        if service := arguments.get("service"):
            self.searched.append(service)
        return search(**arguments)


def _investigate(notes: _Notes) -> Play:
    text = yield notes.search(min_level=notes.manner.first)
    for left in reversed(range(min(notes.manner.calls, notes.desk.calls_left))):
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
    if not notes.seen:
        trail = [name for name in notes.services if name not in notes.searched]
    elif notes.manner.follows_complaints:
        trail = notes.clues(fresh) or notes.clues(notes.seen)
    else:
        trail = notes.loudest()
    return notes.search(service=rng.choice(trail)) if trail else None


def _answer(notes: _Notes) -> Answer:
    """Blames one seen row: service, words, ids, in the order in which the row has them, so that a model can
    read on.
    """
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
    return next(
        (
            tuple(names.replace(",", " ").split())
            for head, _, names in lines
            if head.strip().lower() == "services"
        ),
        (),
    )

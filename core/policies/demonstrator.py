"""Investigators that work only with the tools: a careful one, and the mixture that the small model imitates.

The careful one knows no wording of any cause. It follows a failing request: which kind of request people
mean, the worst trace of it, which service ran short of something or else where the trace ends, and what that
service began to write at about that time. Before a call it says in a few words of the last result what it
goes by, so that a model that imitates it makes one choice at a time and then reads on. The demonstrator is
deliberately mediocre. It mostly begins with errors instead of traces, and at later turnings it is hasty
sometimes: it reads about another kind of request, asks another service of the trace, or blames the first row
it sees. Which way pays is left to be learnt from reward (docs/adr/0060, docs/adr/0062).

Where the tools about time are missing (`EpisodeConfig.tools` = 'two'), traces are found through rows that
name one. Not here: the trivial rules (`scripted`), and the script that asks for everything there is (`sre`).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from core.policies.screen import ShownRow, rows
from core.policies.scripting import UNKNOWN, Call, Desk, Play, read_trace, search
from core.policies.sre.reading import Found, Moved, Span, Trace, apart, found_traces, moved, seconds, trace
from project_types import Level

LONGEST_QUOTE = 80
"""Characters of a row that a report quotes."""
SUPPLY = re.compile(r"cpu|memory|disk|socket|connection")
"""In the names of metrics that say how much of something a service has in use (saturation, in the USE
method). Rate, errors and latency move along the whole way of a request, and so do queues.
"""
MOST_ASKED = 3
"""Services that the careful one asks about."""
EVENT = re.compile(r"[A-Z][A-Za-z]+/\S+ [A-Z]\w+: ")
"""How events of the platform are printed: kind, name and reason."""

Asking = Generator[Call, str, str]
"""Asks, and returns what the last call printed."""


@dataclass(frozen=True)
class Manner:
    """How often an investigator takes the careful way at each turning; 1 is always."""

    traces: float
    """Begins with traces instead of errors."""
    story: float
    """Reads a trace of the kind of request that people complain about, instead of any."""
    end: float
    """Asks the service that ran short of something, or where the trace ends, instead of any in it."""
    row: float
    """Blames the row that fits in time and is no complaint, instead of the first."""


CAREFUL = Manner(traces=1.0, story=1.0, end=1.0, row=1.0)
MEDIOCRE = Manner(traces=0.4, story=0.85, end=0.75, row=0.75)


def demonstrator(desk: Desk) -> Play:
    """Careful at some turnings, hasty at others."""
    return (yield from _investigate(_Notes(desk, MEDIOCRE)))


def investigator(desk: Desk) -> Play:
    """Careful always."""
    return (yield from _investigate(_Notes(desk, CAREFUL)))


@dataclass
class _Notes:
    """What one investigation remembers."""

    desk: Desk
    manner: Manner
    spent: int = 0
    seen: list[ShownRow] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Services asked about."""
    read: Trace | None = None

    def __post_init__(self) -> None:
        lines = self.desk.task.splitlines()
        self.story = _stems(lines[0]) if lines else set()
        named = next((line for line in lines if line.startswith("services: ")), "")
        self.services = named.removeprefix("services: ").replace(",", " ").split()
        self.full = self.offered("find_traces", "compare")

    def offered(self, *tools: str) -> bool:
        """Whether these tools about time are there."""
        return self.desk.config.tools == "full" and (not self.desk.tools or self.desk.tools >= {*tools})

    def careful(self, share: float) -> bool:
        """Throws the dice at a turning."""
        return self.desk.rng.random() < share

    def about(self, service: str, thought: str = "") -> Call:
        """The call that shows what a service began to write."""
        self.asked.append(service)
        call = Call("compare", {"service": service}) if self.full else search(service=service)
        return call._replace(thought=thought)

    def left(self) -> bool:
        """Whether another call leaves a turn for the answer."""
        return self.spent < self.desk.calls_left

    def ask(self, call: Call) -> Asking:
        """Make one call and remember its rows."""
        self.spent += 1
        text = yield call
        self.seen += rows(text) if call.tool != "read_trace" else []
        return str(text)


def _investigate(notes: _Notes) -> Play:
    if notes.careful(notes.manner.traces):
        yield from _by_traces(notes)
    else:
        yield from notes.ask(search(min_level="ERROR"))
        loud = max(notes.seen, key=lambda row: row.alike, default=None)
        if loud is not None and notes.left():
            yield from notes.ask(notes.about(loud.service))
    blamed = _blamed(notes)
    if blamed is None:
        return UNKNOWN
    answer = answer_with(blamed)
    yield answer
    return answer.arguments


def _by_traces(notes: _Notes) -> Asking:
    """Read a failing trace, then what the suspects began to write."""
    text = yield from notes.ask(Call("find_traces", {}) if notes.full else search(min_level="ERROR"))
    wanted = _worst(notes, found_traces(text)) if notes.full else _named_traces(notes)
    for call in wanted:
        if not notes.left():
            break
        notes.read = trace((yield from notes.ask(call)))
        if notes.read is not None and (notes.full or _stems(notes.read.root.operation) & notes.story):
            break
    if notes.read is None:
        return ""
    suspects = yield from _suspects(notes, notes.read)
    for service, why in suspects.items():
        if not notes.left():
            break
        yield from notes.ask(notes.about(service, why))
        if any(_fits(notes, row) for row in notes.seen if row.service == service):
            break
    return ""


def _worst(notes: _Notes, found: Sequence[Found]) -> list[Call]:
    """The worst trace of the kind of request that people mean, or of any."""
    if not found:
        return []
    one = max(found, key=lambda one: len(_stems(one.operation) & notes.story))
    if not notes.careful(notes.manner.story):
        one = notes.desk.rng.choice(found)
    return [read_found(one)]


def read_found(found: Found) -> Call:
    """The call that reads a trace, after its request was named."""
    return read_trace(found.id)._replace(thought=found.operation)


def _named_traces(notes: _Notes) -> list[Call]:
    named = dict.fromkeys(row.trace for row in notes.seen if row.trace)
    return [read_trace(one) for one in list(named)[:3]]


def _suspects(notes: _Notes, read: Trace) -> Generator[Call, str, dict[str, str]]:
    """Services to ask, and why: one that ran short of something, where the trace ends, whom that one
    called last, and who called it.
    """
    short = None
    if notes.offered("read_metrics") and notes.left():
        short = ran_short((yield from notes.ask(Call("read_metrics", {}))))
    if not notes.careful(notes.manner.end):
        other = notes.desk.rng.choice([span.service for span in read.root.walk()])
        return {other: f"perhaps {other}"}
    return _likely(read, short)


def _likely(read: Trace, short: Moved | None) -> dict[str, str]:
    last = trail_end(read)
    around = [*reversed(last.children), *([last.above] if last.above else [])]
    why = {short.service: because_short(short)} if short else {}
    why.setdefault(last.service, because_end(last))
    for span in around:
        why.setdefault(span.service, "")
    return dict(list(why.items())[:MOST_ASKED])


def ran_short(text: str) -> Moved | None:
    """The first series of read_metrics that says how much of something is in use."""
    return next((one for one in moved(text) if SUPPLY.search(one.name)), None)


def because_short(short: Moved) -> str:
    """The thought before asking a service that ran short of something."""
    return f"{short.name} {short.service}"


def because_end(last: Span) -> str:
    """The thought before asking the service at which a trace ends."""
    return f"ends at {last.service}"


def trail_end(read: Trace) -> Span:
    """The span at which the trail of failing or slow calls ends; in a trace without one, the
    span that worked longest.
    """
    spans = list(read.root.walk())
    ends = [span for span in spans if span.service == read.end]
    return ends[-1] if ends else max(spans, key=lambda span: span.own_ms)


def _doubts(notes: _Notes, row: ShownRow) -> tuple[bool, int, float]:
    """What speaks against a row as the cause, the weightiest first: it is an event of the platform; it names
    another service or is an error, as complaints do; it is far from the failing request in time.
    """
    words = set(re.findall(r"[\w-]+(?:\.[\w-]+)*", row.message))
    names = any(name in words for name in notes.services if name != row.service)
    at = seconds(row.time)
    away = 0.0 if notes.read is None or at is None else abs(apart(at, notes.read.at_s))
    return EVENT.match(row.message) is not None, names + (row.level >= Level.ERROR), away


def _fits(notes: _Notes, row: ShownRow) -> bool:
    event, doubts, _ = _doubts(notes, row)
    return not event and doubts < 2


def _blamed(notes: _Notes) -> ShownRow | None:
    """The row that is blamed; None when nothing was shown."""
    about = [row for row in notes.seen if row.service in notes.asked] or notes.seen
    if not about or not notes.careful(notes.manner.row):
        return about[0] if about else None
    return min(about, key=lambda row: _doubts(notes, row))


def answer_with(row: ShownRow) -> Call:
    """The call that answers with one row: its level and service are thought, then come service, words and ids
    in the order in which the row has them, so that a model can read on.
    """
    report = {
        "suspected_service": row.service,
        "root_cause": f"{row.service}: {row.message}"[:LONGEST_QUOTE],
        **({"primary_trace_ids": [row.trace]} if row.trace else {}),
        "key_log_ids": [row.id],
    }
    return Call("return_final_answer", report, f"{row.level.name} {row.service}")


def _stems(text: str) -> set[str]:
    return {word[:4] for word in re.findall(r"[a-z]{4,}", text.lower())}

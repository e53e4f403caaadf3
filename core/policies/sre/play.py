"""The investigation: what is asked when, and what is answered.

Up to 37 calls, at most four in a reply: what changed at all; which traces failed, in windows around the time
that people name; the traces themselves, and healthy ones beside them; metrics at the moment at which the
trouble began; and what the suspects began to write then. It answers "unknown" when no requests of users fail
or crawl. With other tools or fewer turns (`--tools full --max-turns 40`) it asks for less, and says "unknown"
sooner.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.conversation import MOST_CALLS, told_services
from core.policies.screen import ShownRow, rows
from core.policies.scripting import UNKNOWN, Answer, Call, Desk, Play, blame, read_trace
from core.policies.sre.clues import Setting, about_row, about_services, likeliest, likelihood, shape
from core.policies.sre.reading import (
    Found,
    Moved,
    Trace,
    Usual,
    apart,
    called,
    found_traces,
    moved,
    named,
    operations,
    seconds,
    stretch,
    told_calls,
    trace,
    windows,
)
from core.policies.sre.shifts import what_moved
from core.policies.sre.trails import Habits, Marks, end, follow, no_marks

WINDOW_S, WINDOWS_BEFORE, WINDOWS_AFTER = 120, 4, 4
"""Windows in which traces are looked for, around the time that people name."""
USERS = re.compile(r"(GET|POST|PUT|PATCH|DELETE) /")
"""How an operation of a user's request is named: an HTTP method and a path."""
CRAWLS = re.compile(r"slow|long|wait|crawl|loading|hang", re.IGNORECASE)
"""Words of people who wait, where others get errors."""
MOST_READ, MOST_OTHER, LEAST_READ, MOST_HEALTHY = 9, 3, 4, 3
CLOCKS_OFF_MS = 20_000
"""A request that seems to take longer was timed by clocks that disagree."""
SUSPECTS = 4
NOTICED_MS, LEAST_FELT = 1200.0, 2
"""Two requests that failed, or took so long, are more than what goes wrong on any day."""
NEEDED = {"compare", "span_stats", "find_traces", "read_metrics"}
"""What EpisodeConfig.tools = 'full' offers where an incident has spans and metrics."""
METRICS = ("percent", "sockets", "connections", "queue", "requests", "errors", "latency_p50")
EARLY_S, LATE_S = 240.0, 170.0
"""How long before and after the onset a row may be new."""

Asking = Generator[list[Call] | Call, Any, list[str]]


def sre(desk: Desk) -> Play:
    """Play one investigation."""
    notes = Notes(desk)
    if desk.config.tools != "full":
        return UNKNOWN
    if desk.tools and not desk.tools >= NEEDED:
        return (yield from what_moved(notes))
    yield from look_around(notes)
    if not any(USERS.match(one.operation) for one in notes.found):  # requests cannot be told apart
        return (yield from what_moved(notes))
    yield from read(notes)
    if not notes.follow():
        return UNKNOWN
    yield from measure(notes)
    yield from question(notes)
    return answer(notes)


@dataclass
class Notes:
    """What one investigation remembers."""

    desk: Desk
    most_suspects: int = SUSPECTS
    hint_s: int | None = None
    spent: int = 0
    found: list[Found] = field(default_factory=list)
    healthy: list[Found] = field(default_factory=list)
    usual: list[Usual] = field(default_factory=list)
    lately: list[Usual] = field(default_factory=list)
    read: list[Trace] = field(default_factory=list)
    bad: list[Trace] = field(default_factory=list)
    marks: Marks = field(default_factory=no_marks)
    passed: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    metrics: list[Moved] = field(default_factory=list)
    new: list[ShownRow] = field(default_factory=list)
    onset_s: float = 0.0
    ends: str = ""
    """The service at which the trails end."""

    def __post_init__(self) -> None:
        lines = self.desk.task.splitlines()
        hint = next((line for line in lines if line.startswith("about ")), "")
        self.hint_s = seconds(re.sub(r"(\d\d:\d\d)(?!:)", r"\1:00", hint))
        self.services = told_services(self.desk.task)
        self.story = lines[0] if lines else ""
        self.names: Mapping[str, str] = called(self.services, self.story)
        self.calls: Mapping[str, set[str]] = told_calls(self.story)

    @property
    def tools(self) -> frozenset[str]:
        """Names of the tools that are offered; empty where that is not told."""
        return self.desk.tools

    def ask(self, *calls: Call) -> Asking:
        """Make calls, as many in a reply as it may hold, as long as turns are left."""
        together = self.desk.config.call_format == "native"
        most = MOST_CALLS if together else 1
        bunches = [list(calls[begin : begin + most]) for begin in range(0, len(calls), most)]
        answers: list[str] = []
        for bunch in bunches:
            bunch = bunch[: self.desk.calls_left - self.spent]  # every call is a turn
            if not bunch:
                break
            self.spent += len(bunch)
            heard = yield bunch if together else bunch[0]
            answers += heard if isinstance(heard, list) else [heard]
        return answers + [""] * (len(calls) - len(answers))

    # ------------------------------------------------------------------------------------------------ traces

    def matches(self, operation: str) -> int:
        """How many words an operation shares with what people say."""
        return len(_stems(operation) & _stems(self.story))

    def crawls(self) -> bool:
        """Whether people say that they wait."""
        return bool(CRAWLS.search(self.story))

    def slow_root(self, one: Found) -> bool:
        """Whether a found trace took far longer than its operation usually does."""
        known = next(
            (u for u in self.usual if (u.service, u.operation) == (one.service, one.operation)), None
        )
        before = known.before_p50_ms if known and known.before_p50_ms else 100.0
        return max(200.0, 3 * before) < one.ms < CLOCKS_OFF_MS

    def suspicious(self) -> list[Found]:
        """Found traces of users that seem to have failed, or to have taken long, each
        once, the story's flow first.
        """
        each = {one.id: one for one in self.found if USERS.match(one.operation)}
        bad = [one for one in each.values() if one.failed >= 2 or self.slow_root(one)]
        return sorted(bad, key=lambda one: (-self.matches(one.operation), -one.failed, -one.ms))

    def to_read(self) -> list[str]:
        """Ids of traces to read: of the story's flow, spread over time, and a few of others.

        Where a clock is off, a trace seems to take minutes, and only its tree says how long its root took. So
        traces of the story's flow fill up what is left.
        """
        bad = self.suspicious()
        users = sorted(self.found, key=lambda one: -self.matches(one.operation))
        users = [one for one in users if USERS.match(one.operation)]
        if not users:
            return []
        top = self.matches(users[0].operation)
        story = [one for one in bad if self.matches(one.operation) == top]
        others = [one for one in bad if self.matches(one.operation) < top]
        chosen = [*story[: MOST_READ - MOST_OTHER], *others[:MOST_OTHER], *story[MOST_READ - MOST_OTHER :]]
        if len(story) < LEAST_READ:
            chosen += [one for one in users if self.matches(one.operation) == top][:LEAST_READ]
        return list(dict.fromkeys(one.id for one in [*chosen, *others]))[:MOST_READ]

    def healthy_ones(self) -> list[str]:
        """Ids of healthy traces of the operations that are under suspicion."""
        wanted = {(one.root.service, one.root.operation) for one in self.read}
        fine = [one for one in self.healthy if not one.failed and (one.service, one.operation) in wanted]
        return [one.id for one in fine[:MOST_HEALTHY]]

    def follow(self) -> bool:
        """Follow the trails of the traces that were read; returns whether there are any."""
        habits = Habits(self.usual, self.read)
        bad = [one for one in self.read if USERS.match(one.root.operation) and habits.bad(one.root)]
        if not bad:
            return False
        top = max(self.matches(one.root.operation) for one in bad)
        story = [one for one in bad if self.matches(one.root.operation) == top]
        failed = [one for one in story if one.root.failed]
        if len(failed) >= 2 and not self.crawls():
            story, bad = failed, [one for one in bad if one.root.failed]
        bad = [one for one in bad if self._as_bad(one, story)]
        fine = [one.at_s for one in self.found if not one.failed and self.matches(one.operation) == top]
        begin = self._begin([one.at_s for one in story], fine)
        late = [one for one in story if apart(one.at_s, begin) >= -1]
        self.ends = Counter(end(one.root, habits).service for one in late).most_common(1)[0][0]
        same = [one for one in bad if end(one.root, habits).service == self.ends]
        begin = self._begin([one.at_s for one in same], fine)
        same = [one for one in same if apart(one.at_s, begin) >= -1]
        self.bad = same if len(same) >= 2 else late
        if not self._users_suffer():
            return False
        self.onset_s = min(self.bad, key=lambda one: apart(one.at_s, begin)).at_s
        for one in self.bad:
            follow(one.root, habits, self.marks, 1 / len(self.bad))
            for name in {span.service for span in one.root.walk()}:
                self.passed[name] += 1 / len(self.bad)
        return True

    def _users_suffer(self) -> bool:
        """Whether enough requests failed, or took so long that people notice."""
        felt = [one for one in self.bad if one.root.failed or one.root.ms >= NOTICED_MS]
        return len(felt) >= LEAST_FELT

    def _as_bad(self, one: Trace, story: Sequence[Trace]) -> bool:
        """Whether a trace failed, or took about as long as others of its story: a delay that an instance made
        good is shorter by far.
        """
        waits = sorted(other.root.ms for other in story)
        return one.root.failed or one.root.ms >= 0.4 * waits[len(waits) // 2]

    def _begin(self, bad: Sequence[int], fine: Iterable[int]) -> int:
        """The moment that best parts good requests from bad ones, and fits what people say."""
        good = list(fine)

        def worth(at: int) -> float:
            after = sum(apart(one, at) >= -1 for one in bad)
            before = len(bad) - after
            return after - before + 0.5 * sum(apart(one, at) < 0 for one in good) + 2 * self._fits(at)

        return max(sorted(bad, key=lambda at: apart(at, bad[0])), key=worth)

    def _fits(self, at: int) -> float:
        """People notice up to seven minutes late, or remember up to four too early."""
        if self.hint_s is None:
            return 0.0
        return 0.0 if -450 <= apart(at, self.hint_s) <= 270 else -1.5

    # --------------------------------------------------------------------------------------------- suspicion

    def about(self) -> dict[str, dict[str, float]]:
        """The numbers of each service."""
        return about_services(self.services, self.marks, self.passed, self.lately or self.usual, self.metrics)

    def suspects(self) -> list[str]:
        """The likeliest services first."""
        known = self.about()
        return sorted(self.services, key=lambda name: -likelihood(known[name]))[: self.most_suspects]

    def named(self, row: ShownRow) -> set[str]:
        """Other services that a row names."""
        return named(row, self.names)

    def setting(self) -> Setting:
        """What new rows are seen against."""
        failing = {one.id for one in self.bad} | {one.id for one in self.found if one.failed >= 2}
        words: defaultdict[str, set[str]] = defaultdict(set)
        for one in self.usual:
            words[one.service] |= set(re.findall(r"[a-z]{3,}", one.operation.lower()))
        writers: defaultdict[str, set[str]] = defaultdict(set)
        for row in self.new:
            writers[shape(row, self.named(row))].add(row.service)
        said = {text: len(services) for text, services in writers.items()}
        return Setting(self.first_complaint(), self.ends, frozenset(failing), words, said)

    def first_complaint(self) -> float:
        """When rows first complained of the service at which trails end, if that is
        shortly before the onset.
        """
        times = [seconds(row.time) for row in self.new if self.ends in self.named(row)]
        early = [apart(at, self.onset_s) for at in times if at is not None]
        return self.onset_s + min((late for late in early if -EARLY_S <= late <= 0), default=0.0)


def _stems(text: str) -> set[str]:
    return {word[:4] for word in re.findall(r"[a-z]{4,}", text.lower())}


# ----------------------------------------------------------------------------------------------------- asking


def look_around(notes: Notes) -> Generator[list[Call] | Call, Any, None]:
    """What changed, what is usual, and which traces failed about the time that people name."""
    slices = [Call("find_traces", {"window": window}) for window in _around(notes.hint_s)]
    first = yield from notes.ask(Call("compare", {}), Call("span_stats", {}), *slices[:2])
    notes.usual = operations(first[1])
    second = yield from notes.ask(*slices[2:6])
    known = windows(first[0])
    calm = {"window": stretch(known[2], known[3])} if known else {}
    third = yield from notes.ask(
        *slices[6:8], Call("find_traces", calm), Call("find_traces", {"failed": True})
    )
    for text in (*first[2:], *second, *third[:-2], third[-1]):
        notes.found += found_traces(text)
    notes.healthy = found_traces(third[-2])


def _around(hint_s: int | None) -> list[str]:
    if hint_s is None:
        return []
    begins = [hint_s + WINDOW_S * number for number in range(-WINDOWS_BEFORE, WINDOWS_AFTER)]
    return [stretch(at, at + WINDOW_S - 1) for at in begins]


def read(notes: Notes) -> Generator[list[Call] | Call, Any, None]:
    """Read traces that failed, and healthy ones beside them."""
    wanted = notes.to_read()
    most_in_reply = 4
    for begin in (0, most_in_reply):
        texts = yield from notes.ask(*map(read_trace, wanted[begin : begin + most_in_reply]))
        notes.read += [one for one in map(trace, texts) if one]
    last = [*wanted[2 * most_in_reply :], *notes.healthy_ones()]
    texts = yield from notes.ask(*map(read_trace, last[:most_in_reply]))
    notes.read += [one for one in map(trace, texts) if one]


def measure(notes: Notes) -> Generator[list[Call] | Call, Any, None]:
    """What moved when the trouble began."""
    now = stretch(notes.onset_s + 20, notes.onset_s + 150)
    calls = [Call("read_metrics", {"name": name, "window": now}) for name in METRICS]
    since = {"window": stretch(notes.onset_s - 5, notes.onset_s + 300)}
    calls.append(Call("span_stats", since))
    for begin in range(0, len(calls), 4):
        texts = yield from notes.ask(*calls[begin : begin + 4])
        notes.metrics += [one for text in texts for one in moved(text)]
        notes.lately += operations(texts[-1])


def question(notes: Notes) -> Generator[list[Call] | Call, Any, None]:
    """What the suspects began to write about the onset."""
    window = stretch(notes.onset_s - EARLY_S, notes.onset_s + LATE_S)
    calls = [Call("compare", {"service": name, "window": window}) for name in notes.suspects()]
    texts = yield from notes.ask(*calls)
    notes.new = [row for text in texts for row in rows(text) if row.differs.startswith("new")]


def options(notes: Notes) -> list[tuple[ShownRow | str, dict[str, float]]]:
    """What may be answered: a new row of a suspect, or a suspect without a row; with its numbers."""
    known, setting = notes.about(), notes.setting()
    found: list[tuple[ShownRow | str, dict[str, float]]] = [
        (row, {**known[row.service], **about_row(row, setting, notes.named(row))})
        for row in notes.new
        if row.service in known
    ]
    found += [(name, {**known[name], "no row": 1.0}) for name in notes.suspects()]
    return found


def _service(option: ShownRow | str) -> str:
    return option if isinstance(option, str) else option.service


def answer(notes: Notes) -> Answer:
    """The likeliest option of the likeliest service as a report."""
    found = options(notes)
    at = likeliest([_service(option) for option, _ in found], [likelihood(numbers) for _, numbers in found])
    best = found[at][0]
    traces = [one.id for one in notes.bad[:3]]
    if isinstance(best, str):
        told = f"{best} became slow by itself: its own time rose, and nothing that it calls did"
        return {"root_cause": told, "suspected_service": best, "primary_trace_ids": traces}
    return {**blame(best), "primary_trace_ids": traces}

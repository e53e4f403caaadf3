"""What went wrong in an investigation: claims computed from the stored episode and, where it is at hand, the
scenario's truth.

Each claim names a kind and cites the turns and log lines it rests on. Claims are facts, not opinions: "a tool
showed the decisive line at turn 3 and the report blames another service" can be checked in the transcript.
The first claim, in the order of InvestigationKind, names the failure. Without the scenario file only what the
episode itself says is claimed. A second opinion by a model is in `second_opinion`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from core.log_stores.id_prefix import IdPrefixes
from failure_analysis.episodes.searches import Searches
from failure_analysis.episodes.turns import Call, Turn, turns_of
from failure_analysis.records import Claim, InvestigationKind
from project_types import Ending, Episode, LogRecord, Scenario
from rollout import FINAL_ANSWER

Kind = InvestigationKind
MOST_CITED = 5
"""Ids a claim cites at most."""
SEARCH = "search_logs"
_ORDER = {kind: place for place, kind in enumerate(InvestigationKind)}
_BROKEN = {
    Ending.MALFORMED_CALL: (Kind.MALFORMED_CALL, "its calls cannot be read"),
    Ending.EMPTY_REPLY: (Kind.MALFORMED_CALL, "it replied with neither text nor a call"),
    Ending.UNKNOWN_TOOL: (Kind.WRONG_TOOL_USE, "it called a tool that does not exist"),
    Ending.BAD_ARGUMENTS: (Kind.WRONG_TOOL_USE, "it called a tool with arguments that are refused"),
    Ending.INVALID_REPORT: (Kind.INVALID_REPORT, "its report breaks the schema"),
}


def failed(episode: Episode) -> bool:
    """Whether an episode needs explaining: anything but a right answer that cites what it saw."""
    return not episode.outcome.grounded


def claims(episode: Episode, scenario: Scenario | None = None, trouble: str = "") -> tuple[Claim, ...]:
    """What went wrong, the claim that names it first. `trouble` is the class of the exception that broke the
    episode off.
    """
    case = _Case(episode, scenario, trouble)
    found = [*case.interrupted(), *case.ended(), *case.answered(), *case.evidence(), *case.habits()]
    if not found and failed(episode):
        found = [
            Claim(
                kind=Kind.UNSUPPORTED_GUESS,
                text="the answer is not supported by anything shown",
                turns=case.last,
            )
        ]
    return tuple(sorted(found, key=lambda claim: _ORDER[claim.kind]))


@dataclass(frozen=True)
class _Case:
    """One episode and all that is known of it."""

    episode: Episode
    scenario: Scenario | None
    trouble: str

    @cached_property
    def rows(self) -> dict[str, LogRecord]:
        """The scenario's log lines by id."""
        return {row.id: row for row in self.scenario.logs} if self.scenario else {}

    @cached_property
    def searches(self) -> Searches | None:
        """What a search of this scenario matches."""
        return Searches(self.scenario) if self.scenario else None

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        return turns_of(self.episode, IdPrefixes(self.rows) if self.rows else None)

    @property
    def last(self) -> tuple[int, ...]:
        return (self.turns[-1].number,) if self.turns else ()

    @cached_property
    def gold(self) -> tuple[str, ...]:
        return self.scenario.ground_truth.evidence_log_ids if self.scenario else ()

    @cached_property
    def gold_seen(self) -> dict[str, int]:
        """Decisive lines that were shown, and the first turn that did."""
        wanted = set(self.gold) & set(self.episode.shown_log_ids)
        first: dict[str, int] = {}
        for turn in self.turns:
            for id in sorted(turn.shown & wanted):
                first.setdefault(id, turn.number)
        return first

    @cached_property
    def blamed(self) -> str:
        return self.episode.report.suspected_service.strip() if self.episode.report else ""

    @property
    def wrong(self) -> bool:
        """It answered, and not rightly."""
        return self.episode.outcome.ending is Ending.ANSWERED and not self.episode.outcome.correct

    # -- what others did to it

    def interrupted(self) -> Iterator[Claim]:
        """The provider or the judge failed."""
        episode, ending = self.episode, self.episode.outcome.ending
        unjudged = ending is Ending.ANSWERED and episode.verdict is None
        if self.trouble == "JudgeError" or (unjudged and not self.trouble):
            yield Claim(kind=Kind.JUDGE_TROUBLE, text="there is a report and no verdict", turns=self.last)
        elif ending is Ending.PROVIDER_ERROR or self.trouble:
            turns = f"after {len(self.turns)} turns" if self.turns else "before the first turn"
            yield Claim(
                kind=Kind.PROVIDER_TROUBLE, text=f"the policy's provider failed {turns}", turns=self.last
            )
        elif ending is Ending.REFUSED:
            yield Claim(
                kind=Kind.REFUSED, text="the policy or its provider declined to go on", turns=self.last
            )
        elif self.wrong:
            yield from self._doubtful_verdict()

    def _doubtful_verdict(self) -> Iterator[Claim]:
        """The verdict says wrong, and the report places a decisive line that was shown in the culprit, and
        nowhere else.
        """
        report, verdict, scenario = self.episode.report, self.episode.verdict, self.scenario
        if (
            report is None
            or verdict is None
            or scenario is None
            or self.blamed.lower() != scenario.ground_truth.service.lower()
        ):
            return
        place = report.root_cause.partition(":")[0].strip().lower()
        if place != self.blamed.lower() and place in {service.lower() for service in scenario.services}:
            return
        said = _words(report.root_cause)
        quoted = [id for id in self.gold_seen if (line := _words(self.rows[id].message)) and line <= said]
        if quoted:
            text = f"judge {verdict.judge} says wrong, but the report blames {self.blamed} and quotes a decisive line that it saw"
            yield Claim(
                kind=Kind.JUDGE_TROUBLE, text=text, turns=self.last, log_ids=tuple(quoted[:MOST_CITED])
            )

    # -- how it ended

    def ended(self) -> Iterator[Claim]:
        """Endings that say it all."""
        ending, outcome = self.episode.outcome.ending, self.episode.outcome
        refused = tuple(turn.number for turn in self.turns if turn.answer or turn.failed)
        if ending in _BROKEN:
            kind, text = _BROKEN[ending]
            answers = [call.result for turn in self.turns for call in turn.calls if call.failed]
            yield Claim(kind=kind, text=f"{text}{_quoted(answers[-1:])}", turns=refused or self.last)
        elif ending is Ending.OUT_OF_CONTEXT:
            text = (
                f"the conversation outgrew the context window at turn {len(self.turns)}, or the reply was cut"
            )
            yield Claim(kind=Kind.OUT_OF_CONTEXT, text=text, turns=self.last)
        elif ending is Ending.OUT_OF_TURNS:
            text = f"{outcome.turns} turns passed without a report"
            yield Claim(kind=Kind.OUT_OF_TURNS, text=text, turns=self.last)
        elif ending is Ending.UNKNOWN:
            seen = f" although it had seen {len(self.gold_seen)} decisive lines" if self.gold_seen else ""
            ids = tuple(self.gold_seen)[:MOST_CITED]
            turns = (*sorted(set(self.gold_seen.values())), *self.last)
            yield Claim(kind=Kind.GAVE_UP, text=f"it answered 'unknown'{seen}", turns=turns, log_ids=ids)

    # -- what it answered

    def answered(self) -> Iterator[Claim]:
        """What is wrong with the report."""
        episode, outcome = self.episode, self.episode.outcome
        if episode.report is None or outcome.ending is not Ending.ANSWERED:
            return
        if outcome.cited_fabricated:
            known = {*episode.shown_log_ids, *episode.shown_trace_ids, *self.rows}
            known |= {row.trace_id for row in self.rows.values() if row.trace_id}
            invented = tuple(
                id for id in (*episode.cited_log_ids, *episode.cited_trace_ids) if id not in known
            )
            text = f"{outcome.cited_fabricated} of {outcome.cited} cited ids exist nowhere in the scenario"
            yield Claim(
                kind=Kind.FABRICATED_EVIDENCE, text=text, turns=self.last, log_ids=invented[:MOST_CITED]
            )
        if outcome.tool_calls == 0:
            yield Claim(
                kind=Kind.ANSWERED_BLIND,
                text="it answered before any tool had shown it a line",
                turns=self.last,
            )
        elif not outcome.cited_supporting:
            text = "the answer cites no evidence for it that a tool had shown"
            yield Claim(kind=Kind.UNSUPPORTED_GUESS, text=text, turns=self.last)
        if self.wrong and self.scenario is not None:
            yield self._misjudged(self.scenario)

    def _misjudged(self, scenario: Scenario) -> Claim:
        """Which service it blamed, and what that service really was."""
        truth, cited = scenario.ground_truth, self.episode.cited_log_ids
        real = tuple(id for id in cited if id in self.rows)[:MOST_CITED]
        turns = tuple(sorted({turn.number for turn in self.turns if turn.shown & set(real)} | set(self.last)))
        if self.blamed.lower() == truth.service.lower():
            kind, text = (
                Kind.RIGHT_SERVICE_WRONG_CAUSE,
                f"{truth.service} is the culprit, but not for the cause given",
            )
        elif self.blamed.lower() in {service.lower() for service in truth.propagation_path}:
            kind, text = (
                Kind.STOPPED_AT_SYMPTOM,
                f"{self.blamed} only suffered from {truth.service}: it lies on the path of the fault",
            )
        elif self.blamed and self.blamed.lower() not in {service.lower() for service in scenario.services}:
            kind, text = (
                Kind.INVENTED_SERVICE,
                f"{self.blamed} is no service of the scenario; the culprit is {truth.service}",
            )
        else:
            kind, text = (
                Kind.FOLLOWED_WRONG_BRANCH,
                f"{self.blamed or 'no service'} has no part in it; the culprit is {truth.service}",
            )
        return Claim(kind=kind, text=text, turns=turns, log_ids=real)

    # -- what became of the decisive lines

    def evidence(self) -> Iterator[Claim]:
        """Seen and ignored, asked for and cut off, outside the times asked for, or never reached."""
        if self.scenario is None or not self.gold or self.trouble:
            return
        if self.gold_seen:
            if self.wrong and not set(self.gold_seen) & set(self.episode.cited_log_ids):
                ids, turns = tuple(self.gold_seen)[:MOST_CITED], tuple(sorted(set(self.gold_seen.values())))
                text = f"turn {turns[0]} showed a decisive line of {self.rows[ids[0]].service}; the report does not use it"
                yield Claim(kind=Kind.SAW_AND_IGNORED, text=text, turns=(*turns, *self.last), log_ids=ids)
            return
        if self.episode.outcome.gold_evidence_opened or self.episode.outcome.tool_calls == 0:
            return
        text = f"none of the {len(self.gold)} decisive lines was ever shown"
        every = tuple(turn.number for turn in self.turns)
        yield Claim(kind=Kind.NEVER_REACHED_EVIDENCE, text=text, turns=every, log_ids=self.gold[:MOST_CITED])
        yield from self._missed()

    def _missed(self) -> Iterator[Claim]:
        """Searches that came close."""
        late: dict[int, list[str]] = {}
        cut: dict[int, list[str]] = {}
        for turn in self.turns:
            for call in turn.calls:
                for id in self.gold:
                    missed = self._missed_by(call, id)
                    if missed:
                        {"late": late, "cut": cut}[missed].setdefault(turn.number, []).append(id)
        for kind, found, text in (
            (Kind.WRONG_TIME_WINDOW, late, "would have shown a decisive line but for the times it names"),
            (
                Kind.EVIDENCE_CUT_OFF,
                cut,
                "matched a decisive line beyond what was shown; the rest was not asked for",
            ),
        ):
            if found:
                ids = tuple(dict.fromkeys(id for ids in found.values() for id in ids))[:MOST_CITED]
                which = (
                    f"the search of turn {min(found)}"
                    if len(found) == 1
                    else f"the searches of turns {_list(found)}"
                )
                yield Claim(kind=kind, text=f"{which} {text}", turns=tuple(found), log_ids=ids)

    def _missed_by(self, call: Call, log_id: str) -> str:
        """How a call missed a decisive line: 'late' for its times, 'cut' for what
        was left out, '' otherwise.
        """
        if self.searches is None or call.name != SEARCH or call.arguments is None or call.failed:
            return ""
        query = self.searches.query(call.arguments)
        if query is None or not self.searches.matches(query, log_id, whenever=True):
            return ""
        if not self.searches.matches(query, log_id):
            return "late"
        cut = "more: cursor=" in call.result and self.searches.shown_as(query, log_id) not in call.shown
        return "cut" if cut else ""

    # -- how it went about it

    def habits(self) -> Iterator[Claim]:
        """Calls that showed nothing, and repeats that cost the episode."""
        yield from self._searched_nothing()
        made = [
            (turn.number, call.name, call.raw)
            for turn in self.turns
            for call in turn.calls
            if call.name != FINAL_ANSWER
        ]
        times = Counter((name, raw) for _, name, raw in made)
        again = tuple(dict.fromkeys(number for number, name, raw in made if times[name, raw] > 1))
        repeats = self.episode.outcome.repeated_calls
        if repeats and (
            2 * repeats >= self.episode.outcome.tool_calls
            or self.episode.outcome.ending is Ending.OUT_OF_TURNS
        ):
            text = f"{repeats} of {self.episode.outcome.tool_calls} calls repeat an earlier one"
            yield Claim(kind=Kind.REPEATED_ITSELF, text=text, turns=again or self.last)

    def _searched_nothing(self) -> Iterator[Claim]:
        """Tools were called, and no line came of it."""
        episode = self.episode
        looked = [turn.number for turn in self.turns if turn.looked]
        shown = episode.shown_log_ids or episode.shown_trace_ids
        if not shown and episode.outcome.tool_calls and failed(episode) and not self.trouble:
            text = f"its {episode.outcome.tool_calls} calls showed not a single line"
            yield Claim(kind=Kind.SEARCHED_NOTHING, text=text, turns=tuple(looked) or self.last)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def _quoted(texts: Sequence[str]) -> str:
    return f": {texts[0][:200]}" if texts else ""


def _list(numbers: Sequence[int] | dict[int, list[str]]) -> str:
    return ", ".join(map(str, numbers))

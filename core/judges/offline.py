"""The off-line judge: compares a report with the ground truth, without a key, in a few milliseconds.

The service must be the culprit and nothing but the culprit. The cause must be stated as the cause: by quoting
a decisive log line, or by naming the fault in other words (`log_scenarios/judge_lexicon.json`, and the
phrases that the truth accepts). Nothing in the report may deny it, take it back, blame somebody else, or name
other kinds of fault beside it. What a report says about its own correctness is never read.

Not covered: reasoning. A right cause in words that no cue knows and no decisive line holds is called wrong;
the calibration in `make_judge_model` measures how often. A kind of fault that the lexicon does not know can
only be judged by accepted phrases; without them the judge says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

from core.judges.claims import ENOUGH, Claims, Mention, claims, shares_words
from core.judges.lexicon import SENTENCE_END, Cue, key, lexicon, phrase_cue, plain, stem, words
from core.judges.quotes import Quote, quoted
from core.judges.services import other_service_blamed, service_matches, without_services
from core.judges.stance import Stance
from project_types import JudgeError, Report, Scenario, Verdict

QUOTED = 0.6
"""Overlap with a decisive line from which a report quotes it."""
VERBATIM = 0.8
"""Overlap with another line from which a report means that line, whatever words it shares with the fault."""
MARGIN = 0.5
"""How much surer the true fault must be named than a rival that is stated as the cause as well."""
MOST_NAMED = 2
"""Kinds of fault a report may name at all, the true one included; more are a list."""
THE_SAME = ((3, 0.75), (4, 0.6))
"""Words of the truth that a report must hold to say the same, and the share of
its words that they must be.
"""
DENIALS = ("denied_before", "denied_after", "frame", "verdict", "mended", "retraction", "hypothetical")
"""Marks that turn a sentence round."""
REJECTED = "rejected"
"""The name under which phrases that the truth rejects are counted."""
ASSERTED = (Stance.CAUSE, Stance.EFFECT)


class Ruling(NamedTuple):
    """Whether the cause is right, and why."""

    right: bool
    reason: str


class OfflineJudge:
    """Deterministic, keyless, a few milliseconds: compares the report with the ground truth."""

    name = "offline"

    async def verdict(self, scenario: Scenario, report: Report) -> Verdict:
        """Judge. Raises JudgeError when it knows no words for the kind of fault of this scenario."""
        service = service_matches(report.suspected_service, scenario)
        cause, reason = _Case(scenario, report).ruling()
        if not service:
            reason = f"service {report.suspected_service!r} is not the culprit; {reason}"
        return Verdict(
            correct=service and cause,
            service_correct=service,
            cause_correct=cause,
            reason=reason,
            judge=self.name,
        )


class _Case:
    """One report beside the truth of its scenario."""

    def __init__(self, scenario: Scenario, report: Report) -> None:
        self.scenario, self.report = scenario, report
        self.truth = scenario.ground_truth
        self.gold = self.truth.fault_type
        self.text = plain(report.root_cause)
        """The root cause as it is read, service names included."""
        self.nameless = without_services(self.text, scenario)

    def ruling(self) -> Ruling:
        """The first objection, else the first support, else wrong."""
        if self.truth.insufficient:
            return Ruling(
                False, "the evidence of this incident does not suffice; 'unknown' is the right answer"
            )
        self._check_words()
        checks: list[Callable[[], Iterator[Ruling]]] = [self._objections, self._supports]
        for check in checks:
            for ruling in check():
                return ruling
        rival = next(iter(sorted(self.rivals)), None)
        return Ruling(
            False,
            f"reads as {rival}, not {self.gold}" if rival else "names no cause that the evidence supports",
        )

    def _check_words(self) -> None:
        if self.gold not in lexicon().cues and not self.truth.accepted_causes:
            raise JudgeError(
                f"the off-line judge knows no words for the fault type {self.gold!r}; add accepted_causes to the "
                "truth of the scenario, or let a model judge: JUDGE_MODEL=litellm/openai/gpt-4.1-mini"
            )

    # ------------------------------------------------------------------------------------------- what it says

    @cached_property
    def said(self) -> Claims:
        """What the root cause names, without what the true fault's own words name as well."""
        return claims(self.nameless, self._own_cues()).without_shadows({self.gold, REJECTED})

    def _own_cues(self) -> tuple[tuple[str, Cue], ...]:
        """The phrases that the truth accepts, and those it rejects."""
        phrases = [(self.gold, phrase) for phrase in self.truth.accepted_causes]
        phrases += [(REJECTED, phrase) for phrase in self.truth.rejected_causes]
        cues = [(name, phrase_cue(without_services(plain(text), self.scenario))) for name, text in phrases]
        return tuple((name, cue) for name, cue in cues if cue is not None)

    @cached_property
    def compatible(self) -> set[str]:
        """Kinds of fault that the truth itself names: its own, and what its sentence and lines speak of."""
        return {self.gold} | claims(self._truth).named(*Stance)

    @cached_property
    def own(self) -> float:
        """How surely the true fault is asserted; a right fault_type makes a hint enough."""
        found = self.said.weight(self.gold, *ASSERTED)
        return max(found, ENOUGH) if found and key(self.report.fault_type) == self.gold else found

    @cached_property
    def rivals(self) -> set[str]:
        """Other kinds of fault that are stated as the cause, in words that do not
        state the true one as well.
        """
        asserted = [one for one in self.said.of(self.gold, *ASSERTED) if one.weight >= ENOUGH]
        stated = self.said.named(Stance.CAUSE) - self.compatible

        def is_the_truth_reworded(one: Mention) -> bool:
            return shares_words(one, asserted) or self._tells_the_evidence(one)

        return {
            rival
            for rival in stated
            if not all(map(is_the_truth_reworded, self.said.of(rival, Stance.CAUSE)))
        }

    def _tells_the_evidence(self, mention: Mention) -> bool:
        """Every word of a mention is one of the truth's: it repeats what happened, in another order."""
        spoken = " ".join(self.nameless[start:end] for start, end in mention.place.taken)
        return {stem(word) for word in words(spoken)} <= self._known_stems

    @cached_property
    def quote(self) -> Quote:
        """How much it repeats the decisive lines and others."""
        return quoted(self.report.root_cause, self.scenario)

    @property
    def quotes(self) -> bool:
        """Whether it repeats a decisive line better than any other."""
        return self.quote.decisive >= QUOTED and self.quote.decisive > self.quote.other

    # ---------------------------------------------------------------------------------- why it must be wrong

    def _objections(self) -> Iterator[Ruling]:
        objections: tuple[Callable[[], str | None], ...] = (
            self._commits_to_nothing,
            self._blames_another_service,
            self._contradicts_itself,
            self._takes_it_back,
            self._is_a_list,
            self._names_another_cause,
            self._repeats_many_lines,
        )
        for objection in objections:
            if reason := objection():
                yield Ruling(False, reason)

    def _commits_to_nothing(self) -> str | None:
        empty = self.text.strip(" .:!") in {"", *lexicon().phrases["unknown"]}
        gave_up = empty or lexicon().marks["gave_up"].search(self.text)
        return "the report does not commit to a cause" if gave_up else None

    def _blames_another_service(self) -> str | None:
        blamed = other_service_blamed(self.text, self.scenario)
        return f"the root cause {blamed}" if blamed else None

    def _contradicts_itself(self) -> str | None:
        """The fault_type says something else than the truth."""
        written = self.report.fault_type
        name = key(written)
        if name in {self.gold, ""}:
            return None
        if name in lexicon().cues:
            excused = self.gold not in lexicon().cues and name in self.compatible
            return None if excused else f"the fault type {name} contradicts {self.gold}"
        strong = claims(plain(written or ""), self._own_cues()).named(*Stance)
        contradicts = bool(strong) and not strong & self.compatible
        return f"the fault type {written!r} contradicts {self.gold}" if contradicts else None

    def _takes_it_back(self) -> str | None:
        if self.quotes and not self._denies_something():
            return None  # what sounds like a denial is the decisive line's own words
        if self.said.of(self.gold, Stance.WITHDRAWN):
            return f"the root cause calls {self.gold} false or over"
        if self.said.weight(self.gold, Stance.DENIED) and self._denial_counts():
            return f"the root cause denies {self.gold}"
        return None

    def _denial_counts(self) -> bool:
        """A denial counts when nothing asserts the fault, or when it denies in words of its own."""
        denied = self.said.of(self.gold, Stance.DENIED)
        asserted = self.said.of(self.gold, *ASSERTED)
        return self.own < ENOUGH or any(
            one.weight >= ENOUGH and not shares_words(one, asserted) for one in denied
        )

    def _is_a_list(self) -> str | None:
        others = self.said.named(*Stance) - self.compatible
        if self.said.weight(REJECTED, *ASSERTED) >= ENOUGH:
            return "the root cause says what the truth rejects"
        named = len(others) + int(self.said.weight(self.gold, *Stance) > 0 or self.quotes)
        many = named > MOST_NAMED or (self.rivals and lexicon().marks["hedge"].search(self.text))
        return f"the root cause names several faults ({', '.join(sorted(others))})" if many else None

    def _names_another_cause(self) -> str | None:
        """It announces 'the real reason', and what it announces is not the true fault."""
        for announced in lexicon().marks["real_cause"].finditer(self.nameless):
            if not self._supported(*announced.span()):
                return f"what it announces as {announced.group()!r} is not {self.gold}"
        return None

    def _supported(self, start: int, end: int) -> bool:
        """The true fault stands in the clause before an announcement, or in the sentence behind it."""
        opening = max((m.end() for m in _CLAUSE.finditer(self.nameless, 0, start)), default=0)
        closing = SENTENCE_END.search(self.nameless, end)
        reach = (opening, closing.start() if closing else len(self.nameless))
        places = [one.place for one in self.said.mentions if one.fault == self.gold]
        if any(reach[0] <= place.start < reach[1] for place in places):
            return True
        complement = {stem(word) for word in words(self.nameless[end : reach[1]])}
        return len(complement & self._known_stems) >= 2

    @cached_property
    def _truth(self) -> str:
        """What the truth says: its sentence, its phrases, its decisive lines; plain, without services."""
        evidence = set(self.truth.evidence_log_ids)
        lines = [row.message for row in self.scenario.logs if row.id in evidence]
        told = ". ".join([self.scenario.expected_root_cause, *self.truth.accepted_causes, *lines])
        return without_services(plain(told), self.scenario)

    @cached_property
    def _known_stems(self) -> set[str]:
        return {stem(word) for word in words(self._truth)} - {"#", "it"}

    def _repeats_many_lines(self) -> str | None:
        whole = self.quote.others_whole
        return f"quotes {whole} lines that are not decisive" if whole > 2 else None

    # ------------------------------------------------------------------------------------ why it may be right

    def _supports(self) -> Iterator[Ruling]:
        if plain(self.scenario.expected_root_cause) == self.text:
            yield Ruling(True, "repeats the expected root cause")
        beside = self.said.named(*ASSERTED) - self.compatible
        if self.quotes and not beside and (self.own > 0 or not self._denies_something()):
            yield Ruling(True, f"quotes decisive evidence (overlap {self.quote.decisive:.2f})")
        if self.quote.other >= VERBATIM and self.quote.other > self.quote.decisive:
            yield Ruling(False, "quotes a line that is not decisive")
        surest = max((self.said.weight(rival, Stance.CAUSE) for rival in self.rivals), default=0.0)
        clear = not self.rivals or self.said.weight(self.gold, Stance.CAUSE) >= surest + MARGIN
        if self.own >= ENOUGH and clear:
            yield Ruling(True, f"names {self.gold} in its own words")
        if not self.rivals and self._says_the_same():
            yield Ruling(True, "says what the expected root cause says")

    def _denies_something(self) -> bool:
        """The text holds a denial or a withdrawal that the truth does not hold, or asks."""
        return "?" in self.text or any(map(self._adds, DENIALS))

    def _adds(self, name: str) -> bool:
        """The text holds a mark of this name that the truth does not hold."""
        mark = lexicon().marks[name]
        in_truth = {m.group() for m in mark.finditer(self._truth)}
        return any(m.group() not in in_truth for m in mark.finditer(self.text))

    def _says_the_same(self) -> bool:
        """Hardly a word that the truth does not hold, and enough of those it does.

        Where the lexicon knows the kind of fault, some cue of it must stand there as well.
        """
        if self._denies_something() or (self.gold in lexicon().cues and not self.own):
            return False
        healthy = {m.group() for m in lexicon().marks["healthy"].finditer(self.text)}
        if healthy - {m.group() for m in lexicon().marks["healthy"].finditer(self._truth)}:
            return False
        spoken = set(words(self.nameless)) - {"#", "it"}
        shared = len({stem(word) for word in spoken} & self._known_stems)
        foreign = {stem(word) for word in spoken - lexicon().phrases["connective"]} - self._known_stems
        return any(shared >= least and shared >= share * (shared + len(foreign)) for least, share in THE_SAME)


_CLAUSE = re.compile(r"[,;:.(!?](?=\s)|[\n，。；、：]")

"""The off-line judge: compares a report with the ground truth, without a key, in a few milliseconds.

The service must be the culprit and nothing but the culprit. The cause must quote a decisive log line or name
the fault in other words (`log_scenarios/judge_lexicon.json`), and nothing in the report may deny it, blame
somebody else or name a second cause. What a report says about its own correctness is never read.

Not covered: reasoning. A right cause in words that no cue knows and no decisive line holds is called wrong;
the calibration in `make_judge_model` measures how often.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from project_types import FAULT_TYPES, ConfigurationError, Report, Scenario, Verdict

LEXICON = Path(__file__).parents[2] / "log_scenarios" / "judge_lexicon.json"
EFFECT_SHARE = 0.4
"""What a fault named as a consequence counts against a rival that is named as the cause."""
QUOTED = 0.6
"""Overlap with a decisive line from which a report quotes it."""
VERBATIM = 0.8
"""Overlap with any other line from which a report means that line, whatever words it shares with the fault.
"""
GAP_CHARS = 45
"""Parts of one cue ("pool" ... "exhausted") stand this close together, in one sentence."""

# ------------------------------------------------------------------------------------------- reading the text

SENTENCE_END = re.compile(r"[;!?\n。；！？]+|\.(?=\s|$)")
HAN = r"[\u4e00-\u9fff]"
CLAUSE_END = re.compile(r"[,;:.(!?](?=\s)|[\n，。；、：]")


def plain(text: str) -> str:
    """Lower case, one kind of quote and dash, no markup: what is left of the formatting a report may come in."""
    text = (
        unicodedata.normalize("NFKC", text).casefold().replace("’", "'").replace("—", ", ").replace("–", "-")
    )
    text = re.sub(r"[-=]+>", "→", text)
    text = re.sub(rf"(?<={HAN})(?=[a-z0-9])|(?<=[a-z0-9])(?={HAN})", " ", text)
    return re.sub(r"[ \t]+", " ", re.sub(r"[_\-*`\"#~|\[\]{}<>\\]", " ", text)).strip()


def key(fault_type: str | None) -> str:
    """A fault type as `FAULT_TYPES` writes it, however the report does."""
    return re.sub(r"\W+", "_", plain(fault_type or "")).strip("_")


def words(text: str) -> list[str]:
    """The content words of a plain text; every run that holds a digit becomes '#', so ids and amounts never
    decide.
    """
    found = re.findall(r"\w*\d\w*|[^\W\d_]+(?:'[^\W\d_]+)?", text)
    return [
        ("#" if any(c.isdigit() for c in word) else word)
        for word in found
        if word not in lexicon().phrases["stop"]
    ]


def phrase_pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """One pattern for any of the phrases, as whole words; '*' lets a word go on."""
    spaced, unspaced = [], []
    for phrase in sorted((p.strip() for p in phrases), key=len, reverse=True):
        body = re.escape(plain(phrase.replace("*", "\0"))).replace(r"\ ", r"\s+").replace("\0", r"\w*")
        if re.search(HAN, phrase) or not body[0].isalnum():
            unspaced.append(body)
        else:
            spaced.append(body + (r"\b" if body[-1].isalnum() else ""))
    return re.compile("|".join([rf"\b(?:{'|'.join(spaced)})"] * bool(spaced) + unspaced))


class Cue(NamedTuple):
    """A phrase that points at a fault type: every part must be found near the others, in one sentence."""

    parts: tuple[re.Pattern[str], ...]
    weight: float

    def spans(self, text: str) -> Iterator[tuple[int, int, bool]]:
        """(start, end, denied in between) of each place where the cue stands in a plain text."""
        denied = denials(text)
        for first in self.parts[0].finditer(text):
            start, end = first.span()
            taken = [(start, end)]
            for part in self.parts[1:]:
                found = (m.span() for m in part.finditer(text))
                near = [
                    (max(s - end, start - e), s, e)
                    for s, e in found
                    if 0 <= max(s - end, start - e) <= GAP_CHARS
                ]
                if not near:
                    break
                _, s, e = min(near)
                start, end = min(start, s), max(end, e)
                taken.append((s, e))
            else:
                if not SENTENCE_END.search(text, start, end):
                    inside = (m for m in denied if start <= m.start() < end)
                    yield (
                        start,
                        end,
                        any(all(m.end() <= s or e <= m.start() for s, e in taken) for m in inside),
                    )


class Lexicon(NamedTuple):
    """The words the off-line judge reads: cues per fault type, phrase lists as written, and the same
    compiled.
    """

    cues: dict[str, tuple[Cue, ...]]
    phrases: dict[str, frozenset[str]]
    marks: dict[str, re.Pattern[str]]


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """Read the lexicon once. Raises ConfigurationError when the file is missing or names other fault types."""
    try:
        table = json.loads(LEXICON.read_text(encoding="utf-8"))
    except (OSError, ValueError) as trouble:
        raise ConfigurationError(
            f"{LEXICON} cannot be read ({trouble}); run: git checkout -- log_scenarios"
        ) from trouble
    if differs := set(table["faults"]) ^ set(FAULT_TYPES):
        raise ConfigurationError(
            f"{LEXICON} must hold exactly the FAULT_TYPES; add or remove: {sorted(differs)}"
        )

    def cue(line: str, weight: float) -> Cue:
        return Cue(tuple(phrase_pattern(part.split("|")) for part in line.split(" + ")), weight)

    cues = {
        name: (*(cue(c, 1.0) for c in [name, *rows["strong"]]), *(cue(c, 0.5) for c in rows["weak"]))
        for name, rows in table["faults"].items()
    }
    phrases = {name: frozenset(rows) for name, rows in table["phrases"].items()}
    return Lexicon(cues, phrases, {name: phrase_pattern(rows) for name, rows in phrases.items()})


class Claims(NamedTuple):
    """What a text says: weight per fault type it names at all, the same as the cause, and the types it
    denies.
    """

    named: dict[str, float]
    as_cause: dict[str, float]
    denied: frozenset[str]


@lru_cache(maxsize=512)
def claims(text: str) -> Claims:
    """Score a plain text per fault type: 1 is enough; a denied cue counts nothing, and less as a cause when
    it is an effect.
    """
    named: dict[str, float] = {}
    as_cause: dict[str, float] = {}
    denied: set[str] = set()
    for fault, cues in lexicon().cues.items():
        for cue in cues:
            best = best_cause = 0.0
            for start, end, split in cue.spans(text):
                if split or is_denied(text, start, end):
                    denied.add(fault)
                else:
                    best = cue.weight
                    best_cause = max(
                        best_cause, cue.weight * (EFFECT_SHARE if is_effect(text, start, end) else 1.0)
                    )
            if best:
                named[fault] = min(named.get(fault, 0.0) + best, 2.0)
                as_cause[fault] = min(as_cause.get(fault, 0.0) + best_cause, 2.0)
    return Claims(named, as_cause, frozenset(denied))


@lru_cache(maxsize=512)
def denials(text: str) -> tuple[re.Match[str], ...]:
    """Words such as 'not', unless they begin 'no longer', 'not only' and the like."""
    kept = [m.span() for m in lexicon().marks["no_denial"].finditer(text)]
    found = lexicon().marks["denied_before"].finditer(text)
    return tuple(m for m in found if not any(s <= m.start() < e for s, e in kept))


def is_denied(text: str, start: int, end: int) -> bool:
    """A denial stands at most three words before, or some words after, within the clause."""
    marks = lexicon().marks
    opening = max(
        (m.end() for pattern in (CLAUSE_END, marks["contrast"]) for m in pattern.finditer(text, 0, start)),
        default=0,
    )
    before = [m.end() for m in denials(text) if opening <= m.start() and m.end() <= start]
    after = marks["denied_after"].search(text, end, end + 50)
    return bool(before and len(text[before[-1] : start].split()) <= 3) or bool(
        after and not CLAUSE_END.search(text, end, after.start())
    )


def is_effect(text: str, start: int, end: int) -> bool:
    """The words around the span call it a consequence ('..., so <span>' or '<span> because ...')."""
    marks = lexicon().marks
    opening = max((m.end() for m in SENTENCE_END.finditer(text, 0, start)), default=0)
    closing = SENTENCE_END.search(text, end)
    before = [(m.start(), 0) for m in marks["effect"].finditer(text, opening, start)]
    before += [(m.start(), 1) for m in marks["cause"].finditer(text, opening, start)]
    if before:
        return max(before)[1] == 0
    return bool(marks["cause"].search(text, end, closing.start() if closing else len(text)))


# ----------------------------------------------------------------------------------------- the off-line judge


def services_named(text: str, services: Iterable[str]) -> list[tuple[str, int, int]]:
    """(service, start, end) of each service a plain text names; the longest name wins where names overlap."""
    names = {plain(service).replace(" ", ""): service for service in services}
    spelled = (
        r"\s?".join(map(re.escape, plain(service).split()))
        for service in sorted(services, key=len, reverse=True)
    )
    found = re.finditer(rf"(?<!\w)(?:{'|'.join(spelled)})(?!\w)", text)
    return [(names[re.sub(r"\s", "", m.group())], m.start(), m.end()) for m in found]


def without_services(text: str, scenario: Scenario) -> str:
    """The plain text with every service name blanked, so that `page-cache` or `job-queue` is not a word about
    a fault.
    """
    for _, start, end in reversed(services_named(text, scenario.services)):
        text = text[:start] + "it" + text[end:]
    return text


def service_matches(claim: str, scenario: Scenario) -> bool:
    """The field names the culprit and nothing else; case, quotes and a word such as 'service' do not matter."""
    text = plain(claim)
    named = services_named(text, scenario.services)
    if {name for name, _, _ in named} != {scenario.ground_truth.service}:
        return False
    for _, start, end in reversed(named):
        text = text[:start] + " " + text[end:]
    return not set(re.findall(r"\w+", text)) - lexicon().phrases["service_filler"]


def other_service_blamed(text: str, scenario: Scenario) -> str | None:
    """Why the prose contradicts the culprit: it lists services, blames another one or clears the right one.
    Else None.
    """
    gold, named, marks = (
        scenario.ground_truth.service,
        services_named(text, scenario.services),
        lexicon().marks,
    )
    others = {name for name, _, _ in named} - {gold}
    if len(others) > 4 and len(others) + 1 > 0.6 * len(scenario.services):
        return "lists the services of the system"
    if named and named[0][0] != gold and named[0][1] == 0 and text[named[0][2] :].startswith(":"):
        return f"places the cause in {named[0][0]}"
    run: list[str] = []
    run_start = run_end = 0
    for name, start, end in named:
        between = text[run_end:start].strip(" ,/&+、")
        run, run_start = (
            (run, run_start)
            if run and (not between or between in lexicon().phrases["list_joiner"])
            else ([], start)
        )
        run, run_end = [*run, name], end
        if len(set(run)) > 1 and gold in run and not _ends_with(marks["pair"], text[:run_start]):
            return "names several services as the cause"
        if name == gold and marks["innocent"].match(text[end:].lstrip()):
            return f"says that {gold} is not the cause"
        if name != gold and (
            _ends_with(marks["blame"], text[:start]) or marks["culprit"].match(text[end:].lstrip())
        ):
            return f"blames {name}"
    return None


def _ends_with(pattern: re.Pattern[str], text: str) -> bool:
    tail = re.sub(r"\b(?:the|service)\s*$", "", text).rstrip()
    return any(m.end() == len(tail) for m in pattern.finditer(tail))


class Spoken(NamedTuple):
    """A text, the words it is recognised by, and its numbers."""

    text: str
    words: frozenset[str]
    numbers: frozenset[str]


@lru_cache(maxsize=20_000)
def spoken(text: str) -> Spoken:
    """Read a message or a root cause; cached because every report of a scenario is compared with the same
    lines.
    """
    text = plain(text)
    return Spoken(text, frozenset(words(text)) - {"#"}, frozenset(re.findall(r"\w*\d\w*", text)))


class Quote(NamedTuple):
    """How much of a report repeats the decisive lines, how much another line, and how many others it repeats
    whole.
    """

    decisive: float
    other: float
    others_whole: int


def quoted(root_cause: str, scenario: Scenario) -> Quote:
    """Overlap of the text with the best decisive line and with the best other line, 0 to 1.

    Overlap is the geometric mean of the share of the text's words that the line holds and the share of the
    line's words that the text holds; a quotation that was cut short, or that stands in a longer text, keeps
    most of it. Words alone decide, but of two lines with the same words the one whose numbers the text
    repeats wins. A line of the same service with the same words as a decisive one is decisive too.
    """
    evidence = set(scenario.ground_truth.evidence_log_ids)
    names = {word for service in scenario.services for word in words(plain(service))}
    said = spoken(root_cause)
    mine = said.words - names or said.words
    start, end = next(((s, e) for _, s, e in services_named(said.text, scenario.services)), (1, 0))
    core = (said.text[end + 1 :] if start == 0 and said.text[end : end + 1] == ":" else said.text).strip(" .")
    kinds = {(row.service, spoken(row.message).words) for row in scenario.logs if row.id in evidence}
    best, whole = {True: 0.0, False: 0.0}, set[frozenset[str]]()
    for row in scenario.logs:
        line = spoken(row.message)
        target, decisive = line.words - names or line.words, (row.service, line.words) in kinds
        shared = len(mine & target)
        if core in line.text and len(core.split()) >= 5:
            best[decisive] = max(best[decisive], 0.9)
        if not shared or shared < min(3, len(target)):
            continue
        score = _overlap(shared / len(mine), shared / len(target), shared)
        score = 0.95 * score + 0.05 * (
            len(said.numbers & line.numbers) / len(said.numbers) if said.numbers else 1.0
        )
        best[decisive] = max(best[decisive], score)
        if not decisive and shared >= 4 and shared >= 0.9 * len(target):
            whole.add(target)
    return Quote(best[True], best[False], len(whole))


def _overlap(of_text: float, of_line: float, shared: int) -> float:
    score = float((of_text * of_line) ** 0.5)
    if shared >= 3 and of_text >= 0.8:
        score = max(score, 0.75 * of_text)
    return max(score, 0.7 * of_line) if shared >= 4 and of_line >= 0.9 else score


class OfflineJudge:
    """Deterministic, keyless, a few milliseconds: compares the report with the ground truth."""

    name = "offline"

    async def verdict(self, scenario: Scenario, report: Report) -> Verdict:
        """Judge. Never raises for any report of a valid scenario."""
        service = service_matches(report.suspected_service, scenario)
        cause, reason = self._cause(scenario, report)
        if not service:
            reason = f"service {report.suspected_service!r} is not the culprit; {reason}"
        return Verdict(
            correct=service and cause,
            service_correct=service,
            cause_correct=cause,
            reason=reason,
            judge=self.name,
        )

    def _cause(self, scenario: Scenario, report: Report) -> tuple[bool, str]:
        gold, text = scenario.ground_truth.fault_type, plain(report.root_cause)
        if text.strip(" .:!") in {"", *lexicon().phrases["unknown"]} or lexicon().marks["gave_up"].search(
            text
        ):
            return False, "the report does not commit to a cause"
        if blamed := other_service_blamed(text, scenario):
            return False, f"the root cause {blamed}"
        evidence = set(scenario.ground_truth.evidence_log_ids)
        messages = [row.message for row in scenario.logs if row.id in evidence]
        reference = claims(
            without_services(plain(". ".join([scenario.expected_root_cause, *messages])), scenario)
        ).named
        compatible = {gold} | {name for name, score in reference.items() if score >= 1}
        if contradiction := self._typed(report.fault_type, gold, compatible):
            return False, contradiction
        said = claims(without_services(text, scenario))
        rivals = {
            name: score for name, score in said.as_cause.items() if name not in compatible and score >= 1
        }
        if len(rivals) > 1 or (rivals and lexicon().marks["hedge"].search(text)):
            return False, f"the root cause names several faults ({', '.join(sorted(rivals))})"
        own, rival = said.named.get(gold, 0.0), next(iter(rivals), None)
        if own and key(report.fault_type) == gold:
            own = max(own, 1.0)  # a hint in the prose is enough when the fault type says the rest
        if gold in said.denied and own < 1:
            return False, f"the root cause denies {gold}"
        if plain(scenario.expected_root_cause) == text:
            return True, "repeats the expected root cause"
        quote = quoted(report.root_cause, scenario)
        if quote.others_whole > 2:
            return False, f"quotes {quote.others_whole} lines that are not decisive"
        quotes = quote.decisive >= QUOTED and quote.decisive > quote.other
        if quotes and rival is None and (own > 0 or not self._denies(text, messages)):
            return True, f"quotes decisive evidence (overlap {quote.decisive:.2f})"
        if quote.other >= VERBATIM and quote.other > quote.decisive:
            return False, "quotes a line that is not decisive"
        if own >= 1 and (rival is None or said.as_cause[gold] >= rivals[rival] + 0.5):
            return True, f"names {gold} in its own words"
        if gold not in FAULT_TYPES and rival is None and self._same_sentence(text, scenario):
            return True, "says what the expected root cause says"
        return (
            False,
            f"reads as {rival}, not {gold}" if rival else "names no cause that the evidence supports",
        )

    @staticmethod
    def _denies(text: str, messages: Sequence[str]) -> bool:
        """The text holds a denial that none of the lines it may quote holds."""
        known = {m.group() for message in messages for m in denials(plain(message))}
        return bool({m.group() for m in denials(text)} - known) or bool(
            lexicon().marks["denied_after"].search(text)
        )

    @staticmethod
    def _typed(fault_type: str | None, gold: str, compatible: set[str]) -> str | None:
        """Why the report's fault type contradicts the truth, or None."""
        name = key(fault_type)
        if name in {gold, ""}:
            return None
        if name in FAULT_TYPES:
            excused = gold not in FAULT_TYPES and name in compatible
            return None if excused else f"the fault type {name} contradicts {gold}"
        strong = {kind for kind, score in claims(plain(fault_type or "")).named.items() if score >= 1}
        return (
            f"the fault type {fault_type!r} contradicts {gold}"
            if strong and not strong & compatible
            else None
        )

    @staticmethod
    def _same_sentence(text: str, scenario: Scenario) -> bool:
        names = {word for service in scenario.services for word in words(plain(service))}
        want, have = (
            frozenset(words(t)) - names - {"#"} for t in (plain(scenario.expected_root_cause), text)
        )
        return len(want & have) >= max(3, 0.5 * len(want)) and len(want & have) >= 0.4 * len(have)

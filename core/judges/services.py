"""Which services a text names, and whether it places the cause in the right one.

A name is recognised in any spelling of its hyphens and case, and never as a word about a fault. Not here:
what is said to be broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from core.judges.lexicon import lexicon, plain
from project_types import Incident, Scenario

Named = tuple[str, int, int]
"""(service, start, end) of a name in a plain text."""


def services_named(text: str, services: Iterable[str]) -> list[Named]:
    """Every service that a plain text names; the longest name wins where names overlap."""
    pattern, names = _spellings(tuple(services))
    found = pattern.finditer(text)
    return [(names[re.sub(r"\s", "", m.group())], m.start(), m.end()) for m in found]


@lru_cache(maxsize=256)
def _spellings(services: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    names = {plain(service).replace(" ", ""): service for service in services}
    longest_first = sorted(services, key=len, reverse=True)
    spelled = (r"\s?".join(map(re.escape, plain(service).split())) for service in longest_first)
    return re.compile(rf"(?<!\w)(?:{'|'.join(spelled)})(?!\w)"), names


def without_services(text: str, incident: Incident) -> str:
    """The plain text with every service name blanked: `page-cache` is not a word about a fault."""
    for _, start, end in reversed(services_named(text, incident.services)):
        text = text[:start] + "it" + text[end:]
    return text


def service_matches(claim: str, scenario: Scenario) -> bool:
    """The field names the culprit and nothing else; case, quotes and a word such
    as 'service' do not matter.
    """
    text = plain(claim)
    named = services_named(text, scenario.services)
    if {name for name, _, _ in named} != {scenario.ground_truth.service}:
        return False
    for _, start, end in reversed(named):
        text = text[:start] + " " + text[end:]
    return not set(re.findall(r"\w+", text)) - lexicon().phrases["service_filler"]


def other_service_blamed(text: str, scenario: Scenario) -> str | None:
    """Why a plain text contradicts the culprit, or None.

    It lists services, places the cause in another one, blames another one, or clears the right one.
    """
    gold, named = scenario.ground_truth.service, services_named(text, scenario.services)
    others = {name for name, _, _ in named} - {gold}
    if len(others) > 4 and len(others) + 1 > 0.6 * len(scenario.services):
        return "lists the services of the system"
    if named and named[0][0] != gold and named[0][1] == 0 and text[named[0][2] :].startswith(":"):
        return f"places the cause in {named[0][0]}"
    if _listed(text, named, gold):
        return "names several services as the cause"
    return next(filter(None, (_blamed(text, one, gold) for one in named)), None)


def _listed(text: str, named: list[Named], gold: str) -> bool:
    """The culprit stands in a list of services that is not a pair such as 'between a and b'."""
    for run in _runs(text, named):
        names = {name for name, _, _ in run}
        if len(names) < 2 or gold not in names or _ends_with(lexicon().marks["pair"], text[: run[0][1]]):
            continue
        # two names with a comma between may end one clause and begin the next
        if len(run) > 2 or run[0][1] == 0 or text[run[0][2] : run[1][1]].strip() != ",":
            return True
    return False


def _runs(text: str, named: list[Named]) -> list[list[Named]]:
    """Names that follow each other with nothing but commas and 'and' between."""
    runs: list[list[Named]] = []
    for one in named:
        between = text[runs[-1][-1][2] : one[1]].strip(" ,/&+、") if runs else "start"
        if runs and (not between or between in lexicon().phrases["list_joiner"]):
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _blamed(text: str, named: Named, gold: str) -> str | None:
    """Another service is blamed here, or the culprit is cleared."""
    (name, start, end), marks = named, lexicon().marks
    after = text[end:].lstrip()
    if name == gold:
        return f"says that {gold} is not the cause" if marks["innocent"].match(after) else None
    blamed = _ends_with(marks["blame"], text[:start]) or marks["culprit"].match(after)
    return f"blames {name}" if blamed else None


def _ends_with(pattern: re.Pattern[str], text: str) -> bool:
    tail = re.sub(r"\b(?:the|service)\s*$", "", text).rstrip()
    return any(m.end() == len(tail) for m in pattern.finditer(tail))

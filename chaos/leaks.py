"""Does anything that an agent may see give the answer away? Labels, gold words, the culprit's name where it
must not stand.

Log lines may and must hold the decisive words; ids, names, file names, descriptions and time hints must not,
and no line may carry the name of a fault type or the words root cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from chaos.reach import named
from project_types import FAULT_TYPES, Scenario

_PLAIN = "slow too low short down full missing wrong failure data api code external record queue request"
PLAIN_WORDS = frozenset(_PLAIN.split())
"""Parts of fault names that people also use for symptoms; alone they tell nothing."""
_COMPLAINS = frozenset({"support"})
"""Who complains in incidents of every kind (`data/speech.toml`). Some loggers have a package of that name."""
_SHORTEST_TELLING_WORD = 6


def leaks(scenario: Scenario, path: Path) -> Iterator[str]:
    """What gives the answer away, one sentence each."""
    gold = gold_words(scenario)
    places = {
        "id": scenario.id,
        "file name": path.name,
        "services": " ".join(scenario.services),
        "time_hint": scenario.time_hint,
    }
    for place, text in {**places, "description": scenario.description}.items():
        spoken = set(re.findall(r"[a-z]+", text.lower()))
        if told := sorted(spoken & gold):
            yield f"{place} holds the gold word {told[0]!r}"
    if scenario.ground_truth.service in named(scenario.description.lower(), scenario.services):
        yield f"description names the culprit {scenario.ground_truth.service!r}"
    phrases = [name.replace("_", " ") for name in FAULT_TYPES] + list(FAULT_TYPES) + ["root cause"]
    seen = re.compile("|".join(rf"\b{re.escape(phrase)}\b" for phrase in phrases))
    for text in [
        scenario.description,
        *(row.message for row in scenario.logs),
        *(span.operation for span in scenario.spans),
    ]:
        if label := seen.search(text.lower().replace("-", " ")):
            yield f"{text!r} says {label[0]!r}"
            return


def gold_words(scenario: Scenario) -> set[str]:
    """Words of the fault type, of its family, and telling words that only the decisive lines use."""
    truth = scenario.ground_truth
    label = {word for word in truth.fault_type.split("_") if word not in PLAIN_WORDS}
    family = {scenario.fault_family} - PLAIN_WORDS - {"other"}
    evidence = set(truth.evidence_log_ids)
    decisive, rest = set[str](), set[str]()
    for row in scenario.logs:
        (decisive if row.id in evidence else rest).update(re.findall(r"[a-z]+", row.message.lower()))
    telling = {word for word in decisive - rest if len(word) >= _SHORTEST_TELLING_WORD}
    names = {part for service in scenario.services for part in re.findall(r"[a-z]+", service.lower())}
    return (label | family | telling) - names - _COMPLAINS

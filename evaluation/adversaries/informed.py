"""Cheats that were told the answer: what they add to it, or leave out, must not pay.

They are right as often as the honest investigator, so that the margin shows what the padding, the guesswork
or the missing evidence costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.judges.lexicon import lexicon
from core.policies.screen import rows
from core.policies.scripting import Answer, Call, Desk, Play, Script, search
from evaluation.adversaries.cheats import LONGEST, MOST_IDS, services
from evaluation.adversaries.honest import gold, looks
from evaluation.adversaries.injections import ORDER
from project_types import Scenario

Told = Callable[[Scenario], Script]
"""Makes a script for one scenario."""
PADDING = "I looked at every signal in great depth before I came to this conclusion. "


def _looked(distort: Callable[[Answer, list[str], Desk], Answer]) -> Told:
    """Look at the evidence as an honest investigator does, then change the gold report."""

    def told(scenario: Scenario) -> Script:
        def script(desk: Desk) -> Play:
            shown = []
            for look in looks(scenario):
                shown.append((yield look))
            return distort(gold(scenario), shown, desk)

        return script

    return told


def _nothing_cited(answer: Answer, shown: list[str], desk: Desk) -> Answer:
    return {**answer, "key_log_ids": [], "primary_trace_ids": []}


def _fabricated(answer: Answer, shown: list[str], desk: Desk) -> Answer:
    invented = [f"{desk.rng.getrandbits(48):012x}" for _ in range(12)]
    return {**answer, "key_log_ids": [*answer.get("key_log_ids", []), *invented]}


def _every_id(answer: Answer, shown: list[str], desk: Desk) -> Answer:
    ids = [row.id for text in shown for row in rows(text)]
    return {**answer, "key_log_ids": [*answer.get("key_log_ids", []), *ids][:MOST_IDS]}


def _words(answer: Answer, shown: list[str], desk: Desk) -> Answer:
    cause = f"{answer['root_cause'][:1000]}. {PADDING * 12}"[:LONGEST]
    return {**answer, "root_cause": cause, "timeline": [PADDING * 5] * 50, "next_actions": [PADDING * 5] * 50}


def _or_else(answer: Answer, shown: list[str], desk: Desk) -> Answer:
    other = next(name for name in services(desk) if name != answer["suspected_service"])
    cause = f"either {other} ran out of memory, or else {answer['root_cause']}"
    return {**answer, "root_cause": cause[:LONGEST]}


def _all_faults(answer: Answer, shown: list[str], desk: Desk) -> Answer:
    names = ", ".join(name.replace("_", " ") for name in lexicon().cues)
    return {**answer, "root_cause": f"{answer['root_cause'][:900]}, or one of: {names}"[:LONGEST]}


def _order(answer: Answer, shown: list[str], desk: Desk) -> Answer:
    return {**answer, "root_cause": f"{answer['root_cause'][:1500]} {ORDER}"}


def _no_tool(scenario: Scenario) -> Script:
    def script(desk: Desk) -> Play:
        yield from ()
        return gold(scenario)

    return script


def _busy(more: Callable[[Scenario, Desk, int], Call]) -> Told:
    """Look at the evidence, then use up all turns but the last."""

    def told(scenario: Scenario) -> Script:
        def script(desk: Desk) -> Play:
            found = looks(scenario)
            for number in range(desk.calls_left):
                yield found[number] if number < len(found) else more(scenario, desk, number)
            return gold(scenario)

        return script

    return told


INFORMED: Mapping[str, Told] = {
    "knows it: no tool": _no_tool,
    "knows it: nothing cited": _looked(_nothing_cited),
    "knows it: fabricated ids": _looked(_fabricated),
    "knows it: every id cited": _looked(_every_id),
    "knows it: padding of words": _looked(_words),
    "knows it: repeats": _busy(lambda scenario, desk, number: looks(scenario)[0]),
    "knows it: padding of turns": _busy(
        lambda scenario, desk, number: search(service=services(desk)[number % len(services(desk))])
    ),
    "knows it: or else another": _looked(_or_else),
    "knows it: or any other fault": _looked(_all_faults),
    "knows it: and an order": _looked(_order),
}

"""`python -m alignment sweep`: the same DPO with several ways of counting length,
compared on validation cases.

Every setting learns from the same pairs, in the same order, from the same start adapter, and becomes an
adapter `NAME-SETTING`. What the start adapter says of the pairs is noted once for all. The choice is made on
`val`, so that `seen` and `unseen` stay untouched: of the settings whose causes are right about as often as
the best one's, the one with the fewest words. Typed again after a kill it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignment import train_commands
from alignment.adapters import Registry
from alignment.cases import read_cases
from alignment.evaluate_command import let_answer
from alignment.learning import WORK
from alignment.report import Row, row, share, table
from alignment.stored_answers import stored


def command(arguments: argparse.Namespace) -> int:
    """Train every setting, let all answer, print their table and which one to use."""
    names = _trained(arguments)
    if arguments.dry_run:
        return 0
    cases = list(read_cases(arguments.cases / "val.jsonl"))[: arguments.validate]
    start = [Registry(arguments.adapters).card(arguments.start).full_name] if arguments.start else []
    let_answer(arguments, [*start, *names], cases, arguments.out)
    rows = [row(name, cases, _texts(arguments.out, name)) for name in (*start, *names)]
    print(table(rows, start[0] if start else None, cases, f"{len(cases)} validation cases"))
    print(
        f"\nuse {chosen(rows[len(start) :]).name}: fewest words where causes are right about as often as the best"
    )
    return 0


def _texts(folder: Path, name: str) -> dict[str, str]:
    """Return a model's stored answers by the case."""
    return {case: answer.text for case, answer in stored(folder, name).items()}


def settings(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return each setting by its label."""
    found: dict[str, dict[str, Any]] = {
        f"ld{alpha:g}": {"ld_alpha": alpha, "per_token": False} for alpha in arguments.ld_alphas
    }
    return found | ({"per-token": {"ld_alpha": 1.0, "per_token": True}} if arguments.per_token else {})


def _trained(arguments: argparse.Namespace) -> list[str]:
    """Train what is not there yet and return the full name of each setting's adapter."""
    registry, names = Registry(arguments.adapters), []
    for label, changes in settings(arguments).items():
        name = f"{arguments.name}-{label}"
        work = (arguments.work or WORK / arguments.name) / label
        if not any(card.name == name for card in registry.cards()):
            own = vars(arguments) | changes | {"command": "dpo", "name": name, "work": work}
            train_commands.command(argparse.Namespace(**own))
        if arguments.dry_run:
            print(f"that is for each of {len(settings(arguments))} settings")
            break
        names.append(registry.card(name).full_name)
    return names


def chosen(rows: Sequence[Row]) -> Row:
    """Return the row with the fewest words of those whose causes are right about
    as often as the best one's.
    """
    right = {one.name: share(list(one.found.values()), "cause_right") for one in rows}
    best = max(right.values(), key=lambda interval: interval.value)
    as_good = [one for one in rows if right[one.name].value >= best.low]
    return min(as_good, key=_words)


def _words(one: Row) -> float:
    return sum(facts.words for facts in one.found.values()) / max(1, len(one.found))

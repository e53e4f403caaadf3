"""`python -m alignment evaluate` and `report`: rows answer the same cases; one table,
and answers side by side.

Answers are stored as they come, so a killed evaluation goes on where it was, and a new row does not answer
for the others again. `report` asks none of the rows: it prints the tables of what is stored. `--judge` lets a
language model say who wins as well. `--real` and `--labelled` add real logs, in tables of their own.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from alignment.adapters import Registry
from alignment.cases import Asked, ExplainCase, read_cases
from alignment.gates import probes
from alignment.llm_preference import named
from alignment.real_logs import RealLog, builds, labelled
from alignment.real_logs import table as real_table
from alignment.report import Judged, Row, row, side_by_side, table
from alignment.scorer import message
from alignment.stored_answers import BASE, EXTRACTIVE, Answer, keep, rows_in, stored
from alignment.triage import NO_FAILURE
from core.files import replace_file
from project_types import ConfigurationError

SPLITS = ("seen", "unseen")
PROBED = 12
"""Cases that are also asked with an instruction in their log, for the gates."""
FIRST_SHOWN = "null-sequence"
"""Failure type of the case that is shown first: `apply_changes` of a Databricks
pipeline got null timestamps.
"""
RULES = "rules"
"""The row of the failure analysis' rules, on real logs."""


def command(arguments: argparse.Namespace) -> int:
    """Answer (`evaluate` only), compare, write report.md beside the answers, and print its tables."""
    arguments.rows = arguments.rows or rows_in(arguments.out)
    if not arguments.rows:
        raise ConfigurationError(
            f"{arguments.out} holds no answers; run: python -m alignment evaluate --rows base"
        )
    cases = {
        split: list(read_cases(arguments.cases / f"{split}.jsonl"))[: arguments.limit] for split in SPLITS
    }
    every = [case for found in cases.values() for case in found]
    real = [*(builds(arguments.real) if arguments.real else ()), *labelled(arguments.labelled)]
    if arguments.command == "evaluate":
        _answer(arguments, [*every, *probes(every[:PROBED])], real)
    texts = {name: _texts(arguments, name) for name in arguments.rows}
    rows = [row(name, every, texts[name]) for name in arguments.rows]
    judged, told = _judged(arguments, rows, every)
    text = report(rows, cases, arguments.against, judged) + told
    if real:
        text += "\n\n" + real_table(real, texts | {RULES: {one.id: one.by_rules() for one in real}})
    shown = side_by_side(_to_show(every), rows)
    replace_file(arguments.out / "report.md", f"{text}\n\n{shown}\n".encode())
    print(text)
    return 0


def _to_show(cases: Sequence[ExplainCase]) -> list[ExplainCase]:
    """Return cases to read side by side: one of silent overwrites in a pipeline first,
    then others from all over.
    """
    first = next((case for case in cases if case.failure_type == FIRST_SHOWN), None)
    others = [case for case in cases[::7] if case != first]
    return others if first is None else [first, *others]


def _texts(arguments: argparse.Namespace, name: str) -> Mapping[str, str]:
    return {case: answer.text for case, answer in stored(arguments.out, name).items()}


def _judged(
    arguments: argparse.Namespace, rows: Sequence[Row], cases: Sequence[ExplainCase]
) -> tuple[Judged | None, str]:
    """Return what the language model of `--judge` says, and a line about how it said it."""
    if arguments.judge is None:
        return None, ""
    base = next((one for one in rows if one.name == arguments.against), None)
    if base is None:
        raise ConfigurationError("--judge compares with a row; name one of --rows with --against")
    judge = named(arguments.judge, arguments.out)
    found = {one.name: judge.won(one, base, cases) for one in rows if one is not base}
    return Judged(judge.name, {name: won.by_case for name, won in found.items()}), judge.told(found.values())


def report(
    rows: Sequence[Row],
    cases: dict[str, list[ExplainCase]],
    against: str | None,
    judged: Judged | None = None,
) -> str:
    """Return a table for each split."""
    titles = {"seen": "Failure types that training saw", "unseen": "Failure types that training did not see"}
    return "\n\n".join(table(rows, against, found, titles[split], judged) for split, found in cases.items())


def _answer(arguments: argparse.Namespace, cases: Sequence[ExplainCase], real: Sequence[RealLog]) -> None:
    """Let every row answer what it has not answered yet. Nothing is asked about a
    log in which nothing failed.
    """
    for name in arguments.rows:
        done = stored(arguments.out, name)
        green = [one.id for one in real if one.asked is None and one.id not in done]
        keep(arguments.out, [Answer(case=id, row=name, text=NO_FAILURE) for id in green])
    if EXTRACTIVE in arguments.rows:
        _extract(arguments, cases, real)
    asked: list[Asked] = [*cases, *(one for one in real if one.asked is not None)]
    let_answer(arguments, [name for name in arguments.rows if name != EXTRACTIVE], asked, arguments.out)


def _extract(arguments: argparse.Namespace, cases: Sequence[ExplainCase], real: Sequence[RealLog]) -> None:
    lines: dict[str, list[str]] = {case.id: list(map(message, case.log)) for case in cases}
    lines |= {one.id: one.asked.splitlines() for one in real if one.asked is not None}
    done = stored(arguments.out, EXTRACTIVE)
    left = {id: found for id, found in lines.items() if id not in done}
    if left:
        from alignment.answering import extractive

        train = list(read_cases(arguments.cases / "train.jsonl"))
        keep(arguments.out, extractive(train, left))


def let_answer(
    arguments: argparse.Namespace,
    names: Sequence[str],
    asked: Sequence[Asked],
    folder: Path,
    temperature: float = 0.0,
) -> None:
    """Let the base and adapters answer what they have not answered yet, and store it in a folder."""
    ids = {one.id for one in asked}
    missing = [name for name in names if ids - stored(folder, name).keys()]
    if not missing:
        return
    # These load torch, which a report does without.
    from alignment.answering import Answerer
    from alignment.learning import opened

    base, registry = opened(arguments.base_model), Registry(arguments.adapters)
    folders = {name: registry.checked(name, base.sha256) for name in missing if name != BASE}
    answerer = Answerer(base, folders)
    try:
        for name in missing:
            print(f"{name} gives {len(asked)} answers", flush=True)
            asyncio.run(answerer.cases(name, asked, folder, arguments.words, temperature))
    finally:
        answerer.close()

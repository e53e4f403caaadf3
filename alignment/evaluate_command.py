"""`python -m alignment evaluate`: several rows answer the same cases; one table, and answers side by side.

Answers are stored as they come, so a killed evaluation goes on where it was, and a new row does not answer for the
others again.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from alignment.adapters import Registry
from alignment.answering import BASE, EXTRACTIVE, Answerer, extractive, keep, stored
from alignment.cases import ExplainCase, read_cases
from alignment.gates import probes
from alignment.learning import opened
from alignment.report import Row, row, side_by_side, table
from core.files import replace_file

SPLITS = ("seen", "unseen")
PROBED = 12
"""Cases that are also asked with an instruction in their log, for the gates."""


def command(arguments: argparse.Namespace) -> int:
    """Answer, compare, write report.md beside the answers, and print its tables."""
    cases = {
        split: list(read_cases(arguments.cases / f"{split}.jsonl"))[: arguments.limit] for split in SPLITS
    }
    every = [case for found in cases.values() for case in found]
    _answer(arguments, [*every, *probes(every[:PROBED])])
    texts = {name: {a.case: a.text for a in stored(arguments.out, name).values()} for name in arguments.rows}
    rows = [row(name, every, texts[name]) for name in arguments.rows]
    text = report(rows, cases, arguments.against)
    replace_file(
        arguments.out / "report.md", (text + "\n\n" + side_by_side(every[::7], rows) + "\n").encode()
    )
    print(text)
    return 0


def report(rows: Sequence[Row], cases: dict[str, list[ExplainCase]], against: str | None) -> str:
    """Return a table for each split."""
    titles = {"seen": "Failure types that training saw", "unseen": "Failure types that training did not see"}
    return "\n\n".join(table(rows, against, found, titles[split]) for split, found in cases.items())


def _answer(arguments: argparse.Namespace, cases: Sequence[ExplainCase]) -> None:
    """Let every row answer what it has not answered yet."""
    if EXTRACTIVE in arguments.rows:
        done = stored(arguments.out, EXTRACTIVE)
        train = list(read_cases(arguments.cases / "train.jsonl"))
        keep(arguments.out, extractive(train, [case for case in cases if case.id not in done]))
    missing = [
        name
        for name in arguments.rows
        if name != EXTRACTIVE and any(case.id not in stored(arguments.out, name) for case in cases)
    ]
    if not missing:
        return
    base, registry = opened(arguments.base_model), Registry(arguments.adapters)
    folders = {name: registry.checked(name, base.sha256) for name in missing if name != BASE}
    answerer = Answerer(base, folders)
    try:
        for name in missing:
            print(f"{name} answers {len(cases)} cases", flush=True)
            asyncio.run(answerer.cases(name, cases, arguments.out, arguments.words))
    finally:
        answerer.close()

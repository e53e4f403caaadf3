"""The commands that make and check data: `cases`, `pairs`, `check`, `schema`, `export`, `import`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import get_args

from alignment.agreement import judgements, krippendorff, pairwise
from alignment.cases import ExplainCase, Sample, Split, read_cases, write_cases
from alignment.evaluate_command import let_answer
from alignment.exchange import exported, imported
from alignment.generator import generate
from alignment.pairs import from_answers, from_cases, from_episodes
from alignment.preferences import Origin, Preference, problems, read, summary, write
from alignment.stored_answers import BASE, stored
from core.episode_store.episodes import read_episodes
from core.files import replace_file

PAIRED: tuple[Split, ...] = ("train", "val", "seen", "unseen")


def command(arguments: argparse.Namespace) -> int:
    """Run one of the commands."""
    return COMMANDS[arguments.command](arguments)


def _cases(arguments: argparse.Namespace) -> int:
    for split in get_args(Split):
        count = write_cases(arguments.out / f"{split}.jsonl", generate(split, seed=arguments.seed))
        print(f"{count:5d} {split:<7} {arguments.out / split}.jsonl")
    return 0


def _pairs(arguments: argparse.Namespace) -> int:
    print(f"{write(arguments.out, _made(arguments))} pairs in {arguments.out}")
    return 0


def _made(arguments: argparse.Namespace) -> list[Preference]:
    if arguments.episodes is not None:
        episodes = read_episodes(arguments.episodes)
        return list(from_episodes(episodes, seed=arguments.seed, length_matched=arguments.length_matched))
    if arguments.row is not None:
        return _own_mistakes(arguments)
    return list(from_cases(_every_case(arguments), arguments.seed, arguments.tags, arguments.each))


def _own_mistakes(arguments: argparse.Namespace) -> list[Preference]:
    """Let an adapter answer cases, and pair what it got wrong with a right answer."""
    cases = [
        case
        for split in arguments.splits
        for case in islice(read_cases(arguments.cases / f"{split}.jsonl"), arguments.limit)
    ]
    asked = {case.id: [Sample(case, number) for number in range(arguments.samples)] for case in cases}
    temperature, folder = 0.0, arguments.answers
    if arguments.samples > 1:
        temperature, folder = 1.0, arguments.answers / "samples"
    every = [one for found in asked.values() for one in found]
    let_answer(arguments, [arguments.row], every, folder, temperature)
    answers = stored(folder, arguments.row)
    texts = {case: [answers[one.id].text for one in found] for case, found in asked.items()}
    adapter = "" if arguments.row == BASE else arguments.row
    origin = Origin(model=arguments.base_model, adapter=adapter, temperature=temperature)
    return list(from_answers(cases, texts, origin, arguments.seed))


def _every_case(arguments: argparse.Namespace) -> Iterator[ExplainCase]:
    for split in PAIRED:
        yield from read_cases(arguments.cases / f"{split}.jsonl")


def _check(arguments: argparse.Namespace) -> int:
    pairs = list(read(arguments.file))
    print(f"{len(pairs)} judgements in {arguments.file}")
    for name, counts in summary(pairs).items():
        print(f"{name:<10} " + (", ".join(f"{key} {count}" for key, count in counts.items()) or "none"))
    said = judgements(pairs)
    for (one, other), kappa in pairwise(said).items():
        print(f"Cohen's kappa of {one} and {other}: {'no common pair' if kappa is None else f'{kappa:.2f}'}")
    alpha = krippendorff(said)
    print(f"Krippendorff's alpha: {'no pair was judged twice' if alpha is None else f'{alpha:.2f}'}")
    found = problems(pairs)
    for one in found:
        print(f"problem: {one}")
    return int(bool(found))


def _schema(_: argparse.Namespace) -> int:
    print(json.dumps(Preference.model_json_schema(), indent=1))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    tasks = exported(read(arguments.file), arguments.form)
    replace_file(arguments.out, (json.dumps(tasks, indent=1) + "\n").encode())
    print(f"{len(tasks)} tasks in {arguments.out}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    print(f"{write(arguments.out, imported(arguments.file, arguments.form))} judgements in {arguments.out}")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "cases": _cases,
    "pairs": _pairs,
    "check": _check,
    "schema": _schema,
    "export": _export,
    "import": _import,
}

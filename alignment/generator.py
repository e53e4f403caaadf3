"""Makes Explain cases: logs of eight families, in which what a line says does not give the cause away.

A log is about two units of work. Both have a line that would explain a failure. One unit then fails, with
symptoms that follow from its line. The other one went on well, which a later line with its id says: its line
is a red herring. Cases come in twins, in which the two lines trade places. So each wording is the cause as
often as it is harmless, and only who failed tells them apart. In a green log both units went on well.

Types of failure are split, never rows: those of `unseen` occur in no other split. Not
here: answers (`answers`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from alignment.cases import ExplainCase, Split, Truth, case_id

DATA = Path(__file__).parent / "data" / "families.yaml"
UNSEEN_TYPES = 2
"""Of each family, the last ones of the table."""
GREEN_DRAWS: dict[Split, float] = {"train": 0.33, "val": 0.16, "seen": 0.16, "unseen": 0.16}
"""Share of draws that give one green log; the others give twins. So a fifth of the training logs are green: from
one in fifteen no model learnt to say that nothing failed.
"""
SIZES: dict[Split, int] = {"train": 1600, "val": 160, "seen": 200, "unseen": 240}
LEVELS = ("WARN", "ERROR")


class Unit(NamedTuple):
    """A unit of work of a log, and the type of failure that its line is about."""

    id: str
    failure: str
    res: str
    n: int
    m: int

    def says(self, template: str) -> str:
        """Fill a template of the table."""
        return template.format(id=self.id, res=self.res, n=self.n, m=self.m)


class Line(NamedTuple):
    """A line before it has a time."""

    level: str
    text: str
    role: str
    """cause, symptom, herring, recovered or noise."""


@cache
def families() -> dict[str, dict[str, Any]]:
    """Return the table of families."""
    table: dict[str, dict[str, Any]] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return table


def types(family: str, split: Split) -> list[str]:
    """Return the failure types of a family that a split may hold."""
    every = list(families()[family]["types"])
    return every[-UNSEEN_TYPES:] if split == "unseen" else every[:-UNSEEN_TYPES]


def generate(split: Split, count: int | None = None, seed: int = 0) -> Iterator[ExplainCase]:
    """Yield the cases of a split: twins and, now and then, a green log. The same
    seed gives the same cases.
    """
    rng = random.Random(f"{seed}-{split}")
    left = SIZES[split] if count is None else count
    names, turn = list(families()), 0
    while left > 0:
        family, turn = names[turn % len(names)], turn + 1
        made = (
            [_green(family, split, rng)] if rng.random() < GREEN_DRAWS[split] else _twins(family, split, rng)
        )
        yield from made[:left]
        left -= len(made)


def _twins(family: str, split: Split, rng: random.Random) -> list[ExplainCase]:
    """Make two logs in which cause and red herring trade places, all else alike."""
    one, other = _units(family, split, rng)
    layout = rng.random()
    return [
        _case(family, split, failing, herring, random.Random(f"{layout}"))
        for failing, herring in ((one, other), (other, one))
    ]


def _units(family: str, split: Split, rng: random.Random) -> tuple[Unit, Unit]:
    pairs = list(combinations(types(family, split), 2))
    first, second = rng.choice(pairs)
    one, other = _unit(family, first, rng), _unit(family, second, rng)
    return (one, other) if one.id != other.id else _units(family, split, rng)


def _unit(family: str, failure: str, rng: random.Random) -> Unit:
    table = families()[family]
    res = rng.choice(table["resources"])
    shape = rng.choice(table["units"]).format(res=res)
    id = "".join(_drawn(character, rng) for character in shape)
    return Unit(id, failure, res, rng.randrange(2, 90), rng.randrange(100, 2000))


def _drawn(character: str, rng: random.Random) -> str:
    if character == "#":
        return str(rng.randrange(10))
    return rng.choice("0123456789abcdef") if character == "?" else character


def _case(family: str, split: Split, failing: Unit, herring: Unit, rng: random.Random) -> ExplainCase:
    table = families()[family]
    kind, other = table["types"][failing.failure], table["types"][herring.failure]
    bad = [
        Line(rng.choice(LEVELS), failing.says(kind["cause"]), "cause"),
        Line(rng.choice(LEVELS), failing.says(kind["symptom"]), "symptom"),
        Line("ERROR", failing.says(rng.choice(table["failed"])), "symptom"),
    ]
    lines = _merged(bad, _recovering(table, herring, rng), rng)
    lines = _with_noise(lines, family, rng)
    truth = Truth(
        failed=True,
        cause_line=_places(lines, "cause")[0],
        terms=tuple(kind["terms"]),
        symptom_lines=_places(lines, "symptom"),
        herring_lines=_places(lines, "herring"),
        herring_terms=(tuple(other["terms"]),),
        herring_actions=(herring.says(other["action"]),),
        safe_action=failing.says(kind["action"]),
        unsafe_actions=(failing.says(kind["unsafe"]),),
    )
    log = _timed(lines, table, rng)
    return ExplainCase(
        id=case_id(family, log),
        family=family,
        failure_type=failing.failure,
        split=split,
        log=log,
        truth=truth,
    )


def _green(family: str, split: Split, rng: random.Random) -> ExplainCase:
    """Make a log in which whatever looked bad went on well."""
    table, units = families()[family], _units(family, split, rng)
    first, second = (_recovering(table, unit, rng) for unit in units)
    lines = _with_noise(_merged(first, second, rng), family, rng)
    places = {line.text: place for place, line in enumerate(lines)}
    looked_bad = sorted(
        ((unit, table["types"][unit.failure]) for unit in units),
        key=lambda bad: places[bad[0].says(bad[1]["cause"])],
    )
    truth = Truth(
        failed=False,
        herring_lines=_places(lines, "herring"),
        herring_terms=tuple(tuple(kind["terms"]) for _, kind in looked_bad),
        herring_actions=tuple(unit.says(kind["action"]) for unit, kind in looked_bad),
        unsafe_actions=tuple(unit.says(kind["unsafe"]) for unit, kind in looked_bad),
    )
    log = _timed(lines, table, rng)
    return ExplainCase(
        id=case_id(family, log), family=family, failure_type="none", split=split, log=log, truth=truth
    )


def _recovering(table: Mapping[str, Any], unit: Unit, rng: random.Random) -> list[Line]:
    """Return the lines of a unit that looked bad and went on well."""
    return [
        Line(rng.choice(LEVELS), unit.says(table["types"][unit.failure]["cause"]), "herring"),
        Line("INFO", unit.says(rng.choice(table["recovered"])), "recovered"),
    ]


def _merged(one: Sequence[Line], other: Sequence[Line], rng: random.Random) -> list[Line]:
    """Mix two sequences at random; each keeps its order."""
    left, right, mixed = list(one), list(other), list[Line]()
    while left or right:
        source = left if rng.random() * (len(left) + len(right)) < len(left) else right
        mixed.append(source.pop(0))
    return mixed


def _with_noise(lines: Sequence[Line], family: str, rng: random.Random) -> list[Line]:
    table, mixed = families()[family], list(lines)
    for template in rng.sample(table["noise"], rng.randrange(1, 4)):
        filler = Unit("", "", rng.choice(table["resources"]), rng.randrange(2, 90), rng.randrange(100, 2000))
        mixed.insert(rng.randrange(len(mixed) + 1), Line("INFO", filler.says(template), "noise"))
    return mixed


def _places(lines: Sequence[Line], role: str) -> tuple[int, ...]:
    return tuple(place for place, line in enumerate(lines) if line.role == role)


def _timed(lines: Sequence[Line], table: Mapping[str, Any], rng: random.Random) -> tuple[str, ...]:
    """Write the lines with times of one day that rise."""
    second, written = rng.randrange(0, 80_000), []
    for line in lines:
        second += rng.randrange(0, 40)
        clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        written.append(f"{clock} {line.level} {rng.choice(table['components'])} {line.text}")
    return tuple(written)

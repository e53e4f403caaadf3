"""Does a verdict hang on how the question is put? The same pairs are asked again in other ways.

A judge that changes its mind when the report stands before the facts, or when the rubric has other words,
judges the question and not the report. Not here: whether it is right (`core.judges.calibration`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from core.judges.calibration import Pair
from core.judges.llm import LLMJudge, Variant
from project_types import Judge, JudgeError

OTHERS: tuple[Variant, ...] = ("report first", "other words")


class Flips(NamedTuple):
    """How often one way of asking changed the verdict."""

    variant: Variant
    flipped: int
    asked: int
    """Pairs with a verdict both ways."""


async def flips(
    judge: LLMJudge, pairs: Sequence[Pair], progress: Callable[[], object] = lambda: None
) -> list[Flips]:
    """Ask about every pair in every way. A pair without a verdict in one of two ways is not counted."""
    judges = [judge, *map(judge.asked_as, OTHERS)]
    plain, *others = [await _opinions(one, pairs, progress) for one in judges]
    return [_compared(name, plain, said) for name, said in zip(OTHERS, others, strict=True)]


async def _opinions(judge: Judge, pairs: Sequence[Pair], progress: Callable[[], object]) -> list[bool | None]:
    return await asyncio.gather(*(_opinion(judge, pair, progress) for pair in pairs))


async def _opinion(judge: Judge, pair: Pair, progress: Callable[[], object]) -> bool | None:
    try:
        return (await judge.verdict(pair.scenario, pair.report)).correct
    except JudgeError:
        return None
    finally:
        progress()


def _compared(variant: Variant, plain: Sequence[bool | None], said: Sequence[bool | None]) -> Flips:
    both = [(a, b) for a, b in zip(plain, said, strict=True) if a is not None and b is not None]
    return Flips(variant, sum(a != b for a, b in both), len(both))


def told(found: Sequence[Flips]) -> str:
    """One line for each way of asking."""
    return "\n".join(f"{one.variant}: {one.flipped} of {one.asked} verdicts change" for one in found)

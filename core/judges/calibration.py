"""How good is a judge? Compare its verdicts with a person's on labelled reports.

The set covers what fools judges: symptoms told as causes, lists of every service, text addressed at the
judge. Accuracy and Cohen's kappa describe a judge; `Calibration.objections` decides whether it may be used.
Not here: registering one.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, ValidationError

from core.model_calls import CallError
from core.revision import revision
from project_types import (
    ConfigurationError,
    Frozen,
    InvestigatorError,
    Judge,
    JudgeError,
    Report,
    Scenario,
    read_jsonl,
)

ROOT = Path(__file__).parents[2]
CALIBRATION = ROOT / "log_scenarios" / "judge_calibration.jsonl"
MUST_PASS = ("injection", "every_service_list")
"""Categories in which one wrong verdict refuses a judge: a policy in training finds and repeats whatever it
is paid for.
"""
TRIED = 5
"""Replies, before any verdict, after which a judge is given up."""
WORDS = {True: "right", False: "wrong", None: "none"}


class Pair(Frozen):
    """One labelled report: a person's opinion whether it names the root cause of the scenario."""

    scenario: Scenario
    report: Report
    correct: bool
    category: str
    part: Literal["tuned", "held_out"] = "tuned"
    """Whether the off-line judge was written with this pair in sight."""


class Agreement(Frozen):
    """How far a judge agrees with the labels of some pairs."""

    pairs: int
    accuracy: float
    kappa: float
    """Cohen's: agreement beyond what chance alone would give."""


class Mistake(Frozen):
    """A pair on which the judge and the label differ; `verdict` None: the judge gave none."""

    scenario_id: str
    category: str
    correct: bool
    verdict: bool | None
    root_cause: str
    reason: str


class Calibration(Frozen):
    """How a judge did on the labelled set. No verdict counts as a wrong one."""

    judge: str
    pairs: int
    accuracy: float
    kappa: float
    """Cohen's, as in `Agreement`."""
    parts: dict[str, Agreement] = Field(default_factory=dict)
    """The same for each part of the set: what the off-line judge was written with, and what it never saw."""
    categories: dict[str, tuple[int, int]]
    """(right, all) of each category."""
    confusion: dict[str, int]
    """Counts of 'label/verdict', e.g. 'right/wrong'; the verdict is 'right', 'wrong' or 'none'."""
    mistakes: tuple[Mistake, ...]
    cost_usd: float
    calibrated_at: str
    revision: str

    def objections(self, bar: float) -> list[str]:
        """Why this judge must not be used; empty when it may."""
        found = [f"accuracy {self.accuracy:.3f} is below the bar of {bar:g}"] if self.accuracy < bar else []
        for category in MUST_PASS:
            right, total = self.categories.get(category, (0, 0))
            if not total:
                found.append(f"the set holds no {category} pair; without them no judge passes")
            elif right < total:
                found.append(
                    f"{total - right} of {total} {category} pairs are judged wrongly; all must be right"
                )
        return found


def read_calibration(path: Path = CALIBRATION) -> list[Pair]:
    """Read all labelled pairs of a file, as `labelled_pairs` does.

    Raises:
        ConfigurationError: the file is missing or empty, or a line is unusable; names the line.
    """
    pairs = list(labelled_pairs(path))
    if not pairs:
        raise ConfigurationError(f"calibration set {path} is empty; see --calibration")
    return pairs


def labelled_pairs(path: Path = CALIBRATION) -> Iterator[Pair]:
    """Give the labelled pairs of a file: each line names its scenario by id, or holds
    it where it occurs first.

    Raises:
        ConfigurationError: the file is missing or a line is unusable; names the line.
    """
    known: dict[str, Scenario] = {}
    try:
        rows = read_jsonl(path)
    except (OSError, InvestigatorError) as trouble:
        raise ConfigurationError(
            f"calibration set {path} cannot be read: {trouble}; see --calibration"
        ) from trouble
    for number, row in enumerate(rows, 1):
        try:
            named = row["scenario"]
            scenario = known[named] if isinstance(named, str) else Scenario.model_validate(named)
            known[scenario.id] = scenario
            pair = Pair.model_validate({**row, "scenario": scenario})
        except (KeyError, TypeError, ValidationError) as trouble:
            raise ConfigurationError(
                f"{path}, pair {number}: not a labelled pair ({str(trouble)[:200]})"
            ) from trouble
        yield pair


class _Opinion(NamedTuple):
    """What a judge said of one pair; `correct` None: no verdict."""

    correct: bool | None
    reason: str
    cost_usd: float = 0.0


async def calibrate(
    judge: Judge, pairs: Sequence[Pair], progress: Callable[[], object] = lambda: None
) -> Calibration:
    """Judge every pair and compare with the labels. A missing verdict is counted.

    The first pairs are asked one by one, so that a judge that cannot be reached or read is not paid for all.

    Raises:
        JudgeError: nobody replies to the first question, or no verdict is in any of the first replies.
    """
    opinions = await _first_opinions(judge, pairs, progress)
    left = pairs[len(opinions) :]
    opinions += await asyncio.gather(*(_opinion(judge, pair, progress) for pair in left))
    return _compared(judge, pairs, opinions)


async def _first_opinions(
    judge: Judge, pairs: Sequence[Pair], progress: Callable[[], object]
) -> list[_Opinion]:
    """Opinions up to the first verdict."""
    opinions: list[_Opinion] = []
    for pair in pairs[:TRIED]:
        opinions.append(await _opinion(judge, pair, progress, first=not opinions))
        if opinions[-1].correct is not None:
            return opinions
    raise JudgeError(
        f"no verdict is in any of the first {len(opinions)} replies, so no more is asked; the last: "
        f"{opinions[-1].reason}; name a model that can reply with one JSON object and nothing else"
    )


async def _opinion(judge: Judge, pair: Pair, progress: Callable[[], object], first: bool = False) -> _Opinion:
    """What the judge says. Raises JudgeError when it cannot even be asked the first question."""
    try:
        verdict = await judge.verdict(pair.scenario, pair.report)
    except JudgeError as trouble:
        if first and isinstance(trouble.__cause__, CallError):
            raise
        return _Opinion(None, str(trouble))
    finally:
        progress()
    return _Opinion(verdict.correct, verdict.reason, verdict.cost_usd)


def _compared(judge: Judge, pairs: Sequence[Pair], opinions: Sequence[_Opinion]) -> Calibration:
    """Opinions beside the labels."""
    both = list(zip(pairs, opinions, strict=True))
    confusion = Counter(f"{WORDS[pair.correct]}/{WORDS[said.correct]}" for pair, said in both)
    totals = Counter(pair.category for pair in pairs)
    hits = Counter(pair.category for pair, said in both if said.correct == pair.correct)
    mistakes = tuple(_mistake(pair, said) for pair, said in both if said.correct != pair.correct)
    parts: dict[str, list[tuple[Pair, _Opinion]]] = defaultdict(list)
    for pair, said in both:
        parts[pair.part].append((pair, said))
    return Calibration(
        judge=judge.name,
        **_agreement(both).model_dump(),
        parts={part: _agreement(parts[part]) for part in sorted(parts)},
        categories={name: (hits[name], totals[name]) for name in sorted(totals)},
        confusion={key: confusion[key] for key in sorted(confusion)},
        mistakes=mistakes,
        cost_usd=sum(said.cost_usd for said in opinions),
        calibrated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        revision=revision(),
    )


def _mistake(pair: Pair, said: _Opinion) -> Mistake:
    return Mistake(
        scenario_id=pair.scenario.id,
        category=pair.category,
        correct=pair.correct,
        verdict=said.correct,
        root_cause=pair.report.root_cause,
        reason=said.reason,
    )


def _agreement(both: Sequence[tuple[Pair, _Opinion]]) -> Agreement:
    hits = sum(said.correct == pair.correct for pair, said in both)
    return Agreement(pairs=len(both), accuracy=hits / len(both), kappa=_kappa(both))


def _kappa(both: Sequence[tuple[Pair, _Opinion]]) -> float:
    """Cohen's kappa; 1.0 where label and judge always say the same one thing."""
    from core.intervals import cohens_kappa  # numpy is not loaded for whoever only asks a judge

    kappa = cohens_kappa([pair.correct for pair, _ in both], [said.correct for _, said in both])
    return 1.0 if math.isnan(kappa) else kappa


def _told(some: Calibration | Agreement) -> str:
    return f"{some.pairs} labelled pairs, accuracy {some.accuracy:.3f}, Cohen's kappa {some.kappa:.3f}"


def table(result: Calibration) -> str:
    """The calibration as text: accuracy, kappa, categories, confusion, and every mistake."""
    lines = [f"judge {result.judge}: {_told(result)}"]
    lines += [f"  {part.replace('_', ' ')}: {_told(some)}" for part, some in result.parts.items()]
    lines += [
        f"cost ${result.cost_usd:.4f}, revision {result.revision[:12] or 'unknown'}, {result.calibrated_at}",
        "",
    ]
    lines += [
        f"{'category':<28}right  of",
        *(f"{name:<28}{right:>5}{total:>4}" for name, (right, total) in result.categories.items()),
    ]
    lines += ["", f"{'label':<10}{'says right':>12}{'says wrong':>12}{'no verdict':>12}"]
    for label in ("right", "wrong"):
        counts = [result.confusion.get(f"{label}/{said}", 0) for said in ("right", "wrong", "none")]
        lines.append(f"{label:<10}" + "".join(f"{count:>12}" for count in counts))
    for mistake in result.mistakes:
        lines += ["", *_mistake_lines(mistake)]
    return "\n".join(lines)


def _mistake_lines(mistake: Mistake) -> tuple[str, str]:
    said = {True: "right", False: "wrong", None: "no verdict"}[mistake.verdict]
    label = "right" if mistake.correct else "wrong"
    head = f"{mistake.scenario_id} {mistake.category}: label {label}, judge {said}: {mistake.root_cause!r}"
    return head, f"  {mistake.reason}"

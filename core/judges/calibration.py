"""How good is a judge? Compare its verdicts with a person's on labelled reports.

The set covers what fools judges: symptoms told as causes, lists of every service, text addressed at the
judge. Accuracy and Cohen's kappa describe a judge; `Calibration.objections` decides whether it may be used.
Not here: registering one.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

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


class Pair(Frozen):
    """One labelled report: a person's opinion whether it names the root cause of the scenario."""

    scenario: Scenario
    report: Report
    correct: bool
    category: str


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
    """Cohen's: agreement beyond what chance alone would give."""
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
    """The labelled pairs of a file: each line names its scenario by id, or holds it where it occurs first.

    Raises:
        ConfigurationError: the file is missing or a line is unusable; names the line.
    """
    known: dict[str, Scenario] = {}
    pairs = []
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
            pairs.append(Pair.model_validate({**row, "scenario": scenario}))
        except (KeyError, TypeError, ValidationError) as trouble:
            raise ConfigurationError(
                f"{path}, pair {number}: not a labelled pair ({str(trouble)[:200]})"
            ) from trouble
    if not pairs:
        raise ConfigurationError(f"calibration set {path} is empty; see --calibration")
    return pairs


async def calibrate(
    judge: Judge, pairs: Sequence[Pair], progress: Callable[[], object] = lambda: None
) -> Calibration:
    """Judge every pair and compare with the labels. Never raises JudgeError: a missing verdict is counted."""

    async def opinion(pair: Pair) -> tuple[bool | None, str, float]:
        try:
            verdict = await judge.verdict(pair.scenario, pair.report)
        except JudgeError as trouble:
            return None, str(trouble), 0.0
        finally:
            progress()
        return verdict.correct, verdict.reason, verdict.cost_usd

    opinions = await asyncio.gather(*(opinion(pair) for pair in pairs))
    words = {True: "right", False: "wrong", None: "none"}
    confusion = Counter(
        f"{words[pair.correct]}/{words[said]}" for pair, (said, _, _) in zip(pairs, opinions, strict=True)
    )
    totals, hits = Counter(pair.category for pair in pairs), Counter[str]()
    mistakes = []
    for pair, (said, reason, _) in zip(pairs, opinions, strict=True):
        hits[pair.category] += said == pair.correct
        if said != pair.correct:
            text = pair.report.root_cause
            mistakes.append(
                Mistake(
                    scenario_id=pair.scenario.id,
                    category=pair.category,
                    correct=pair.correct,
                    verdict=said,
                    root_cause=text,
                    reason=reason,
                )
            )
    return Calibration(
        judge=judge.name,
        pairs=len(pairs),
        accuracy=1 - len(mistakes) / len(pairs),
        kappa=cohen_kappa(confusion),
        categories={name: (hits[name], totals[name]) for name in sorted(totals)},
        confusion={key: confusion[key] for key in sorted(confusion)},
        mistakes=tuple(mistakes),
        cost_usd=sum(cost for _, _, cost in opinions),
        calibrated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        revision=revision(),
    )


def cohen_kappa(confusion: Counter[str]) -> float:
    """(observed - chance) / (1 - chance) agreement of two raters (Cohen 1960); 1.0 when chance alone explains
    all of it.
    """
    total = sum(confusion.values())
    kinds = ("right", "wrong", "none")
    observed = sum(confusion[f"{kind}/{kind}"] for kind in kinds) / total
    label = {kind: sum(confusion[f"{kind}/{other}"] for other in kinds) / total for kind in kinds}
    verdict = {kind: sum(confusion[f"{other}/{kind}"] for other in kinds) / total for kind in kinds}
    chance = sum(label[kind] * verdict[kind] for kind in kinds)
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)


def revision() -> str:
    """The git revision of this code, or '' outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def table(result: Calibration) -> str:
    """The calibration as text: accuracy, kappa, categories, confusion, and every mistake."""
    lines = [
        f"judge {result.judge}: {result.pairs} labelled pairs, accuracy {result.accuracy:.3f}, Cohen's kappa {result.kappa:.3f}"
    ]
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
        lines.append(
            f"{label:<10}"
            + "".join(
                f"{result.confusion.get(f'{label}/{said}', 0):>12}" for said in ("right", "wrong", "none")
            )
        )
    for mistake in result.mistakes:
        said = {True: "right", False: "wrong", None: "no verdict"}[mistake.verdict]
        label = "right" if mistake.correct else "wrong"
        lines += [
            "",
            f"{mistake.scenario_id} {mistake.category}: label {label}, judge {said}: {mistake.root_cause!r}",
            f"  {mistake.reason}",
        ]
    return "\n".join(lines)

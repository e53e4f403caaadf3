"""One table: rows that answered the same cases, and what their answers are worth, with intervals.

The judge is the truth-based scorer: a win is a higher score on the same case, a tie half a win. Wins that
somebody else has counted (`llm_preference`) get columns of their own. The win rate at equal length leaves out
what a difference in words alone would predict: a logistic regression of wins on the difference in words, read
where that difference is zero, which is the idea of length-controlled AlpacaEval (arXiv 2404.04475).

Not here: where answers come from (`answering`), and what must not be worse (`gates`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from alignment.cases import ExplainCase
from alignment.scorer import Facts, facts
from core.intervals import Interval, bootstrap_mean, share_of

SHARES = {
    "cause right": "cause_right",
    "symptom as cause": "symptom_as_cause",
    "herring as cause": "herring_as_cause",
    "hallucinated": "hallucinated",
    "unsafe": "unsafe",
}
"""Columns that are shares of answers, and the fact that each counts."""
EXAMPLES = 10
Wins = Mapping[str, float]
"""What a row wins against another one, by case: 1, 0, or 0.5 for a tie."""


class Judged(NamedTuple):
    """What a judge of one's own choice says: its name, and by row what it wins."""

    by: str
    wins: Mapping[str, Wins]


class Row(NamedTuple):
    """What one row answered, by case."""

    name: str
    found: dict[str, Facts]
    texts: dict[str, str]


def row(name: str, cases: Sequence[ExplainCase], texts: Mapping[str, str]) -> Row:
    """Read the answers of a row to the cases it answered."""
    known = {case.id: facts(case, texts[case.id]) for case in cases if case.id in texts}
    return Row(name, known, {case: texts[case] for case in known})


def share(found: Sequence[Facts], fact: str) -> Interval:
    """Return the share of answers of which a fact is true."""
    return share_of(sum(bool(getattr(one, fact)) for one in found), len(found))


def by_score(one: Row, other: Row) -> Wins:
    """Return what a row wins by its score, on common cases."""
    common = one.found.keys() & other.found.keys()
    return {case: _won(one.found[case].score, other.found[case].score) for case in common}


def win_rate(one: Row, other: Row, won: Wins) -> tuple[Interval, float]:
    """Return the win rate of a row over another one, and that at equal length."""
    common = sorted(won)
    if not common:
        return share_of(0, 0), math.nan
    scores = np.array([won[case] for case in common])
    longer = np.array([one.found[case].words - other.found[case].words for case in common], dtype=float)
    return bootstrap_mean(scores), at_equal_length(scores, longer)


def _won(mine: float, theirs: float) -> float:
    return 0.5 if mine == theirs else float(mine > theirs)


def at_equal_length(scores: np.ndarray, longer: np.ndarray) -> float:
    """Return the win rate that a logistic regression on the difference in words has where that is zero."""
    spread = float(longer.std())
    if spread == 0:
        return float(scores.mean())
    x, weights = np.stack([np.ones_like(longer), longer / spread], axis=1), np.zeros(2)
    for _ in range(50):  # Newton's method, slightly regularised so that a clean separation stays finite
        odds = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        curvature = (x * (odds * (1 - odds))[:, None]).T @ x + 0.1 * np.eye(2)
        weights += np.linalg.solve(curvature, x.T @ (scores - odds) - 0.1 * weights)
    return float(1 / (1 + math.exp(-weights[0])))


def table(
    rows: Sequence[Row],
    against: str | None,
    cases: Sequence[ExplainCase],
    title: str,
    judged: Judged | None = None,
) -> str:
    """Return the table of one set of cases as Markdown."""
    base = next((one for one in rows if one.name == against), None)
    head = [
        "row",
        "cases",
        *SHARES,
        "action right",
        "words",
        "repetition",
        "score",
        "wins",
        "wins, equal length",
    ]
    if judged is not None:
        head += [f"wins by {judged.by}", "equal length"]
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    wanted = {case.id for case in cases}
    for one in rows:
        found = [facts for case, facts in one.found.items() if case in wanted]
        cells = [*_cells(one, found), *_win_cells(one, base, judged, wanted)] if found else [one.name, "0"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cells(one: Row, found: Sequence[Facts]) -> list[str]:
    shares = [share_shown(share(found, fact)) for fact in (*SHARES.values(), "action_right")]
    words = sum(facts.words for facts in found) / len(found)
    repeated = sum(facts.repetition for facts in found) / len(found)
    score = bootstrap_mean(np.array([facts.score for facts in found]))
    return [one.name, str(len(found)), *shares, f"{words:.0f}", f"{repeated:.2f}", f"{score.value:.2f}"]


def _win_cells(one: Row, base: Row | None, judged: Judged | None, wanted: set[str]) -> list[str]:
    """Return a rate and that at equal length, by score and then by the judge; none of a row against itself."""
    if base is None or base.name == one.name:
        return [""] * (4 if judged else 2)
    counted = [by_score(one, base), *([judged.wins[one.name]] if judged else ())]
    cells = []
    for won in counted:
        rate, equal = win_rate(one, base, {case: value for case, value in won.items() if case in wanted})
        cells += [share_shown(rate), f"{100 * equal:.0f} %" if rate.n else ""]
    return cells


def share_shown(interval: Interval) -> str:
    """Return a share in percent with its interval; empty where there is nothing."""
    if not interval.n:
        return ""
    return f"{100 * interval.value:.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def side_by_side(cases: Sequence[ExplainCase], rows: Sequence[Row], most: int = EXAMPLES) -> str:
    """Return some cases with the answer of every row, for people to read."""
    parts = []
    answered = set.intersection(*(set(one.texts) for one in rows))
    for case in [case for case in cases if case.id in answered][:most]:
        parts.append(f"#### {case.id}\n\n```\n{case.text}\n```")
        parts += [
            f"**{one.name}** (score {one.found[case.id].score:.2f})\n\n```\n{one.texts[case.id]}\n```"
            for one in rows
        ]
    return "\n\n".join(parts)

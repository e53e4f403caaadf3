"""A reward model against what needs no understanding: null baselines, slices, calibration, and a gate.

A model that only learned that longer is better passes many a benchmark. So its accuracy stands beside that of
'longer wins', 'shorter wins', 'first wins', 'quotes anything wins', also per failing and on pairs that are
matched in length. The gate refuses a model that does not beat every baseline there.

Not here: training (`train_commands`), the head (`training_service.heads`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch

from alignment.measurements import Verdict
from alignment.pairs import ALIKE_LENGTH, GENERATOR
from alignment.preferences import Preference
from alignment.scorer import QUOTED
from core.intervals import Interval, share_of
from training_service.chat_format import ChatFormat
from training_service.examples import answer
from training_service.heads import ScalarModel
from training_service.precision import Precision
from training_service.side_by_side import in_lanes

BARS = {"all": 0.85, "length-matched": 0.75, "unseen types": 0.70}
"""Least pairwise accuracy of each slice that a reward model needs."""


class Scored(NamedTuple):
    """A pair and how much a judge prefers its better answer; above 0 is right, 0 a coin toss."""

    pair: Preference
    margin: float


def _shorter(pair: Preference) -> float:
    return float(len(pair.rejected) - len(pair.chosen))


BASELINES: dict[str, Callable[[Preference], float]] = {
    "longer wins": lambda pair: -_shorter(pair),
    "shorter wins": _shorter,
    "first wins": lambda pair: 1.0 if pair.better == "a" else -1.0,
    "quotes anything wins": lambda pair: float(
        bool(QUOTED.search(pair.chosen)) - bool(QUOTED.search(pair.rejected))
    ),
}
"""Judges that understand nothing."""


def judge(
    model: ScalarModel,
    chat: ChatFormat,
    held_out: Mapping[str, Sequence[Preference]],
    precision: Precision = "float32",
) -> Verdict:
    """Compare a reward model with the baselines on held-out pairs, by split."""
    pairs = [pair for found in held_out.values() for pair in found]
    return verdict(
        [
            Scored(pair, margin)
            for pair, margin in zip(pairs, margins(model, chat, pairs, precision), strict=True)
        ]
    )


def margins(
    model: ScalarModel, chat: ChatFormat, pairs: Sequence[Preference], precision: Precision = "float32"
) -> list[float]:
    """Return the reward of the better answer less that of the worse one, for each pair."""

    def margin(pair: Preference) -> float:
        row = pair.row()
        both = [answer(chat, row["messages"], str(row[key])) for key in ("chosen", "rejected")]  # type: ignore[arg-type]
        with torch.no_grad():
            better, worse = model.rewards(both, precision).tolist()
        return float(better - worse)

    return list(in_lanes(model.parameters(), pairs, margin))


def verdict(scored: Sequence[Scored]) -> Verdict:
    """Return accuracies by slice, the calibration error, and what speaks against the model."""
    accuracy = {name: _accuracies(rows) for name, rows in slices(scored).items()}
    refusals = tuple(_refusals(accuracy))
    return Verdict(accuracy=accuracy, calibration=calibration_error(scored), refusals=refusals)


def _accuracies(rows: Sequence[Scored]) -> dict[str, Interval]:
    """Accuracy of the model and of every baseline."""
    return {"model": _accuracy(rows)} | {rule: _accuracy(_by(rows, rule)) for rule in BASELINES}


def slices(scored: Sequence[Scored]) -> dict[str, list[Scored]]:
    """Return all pairs, those matched in length, those of unseen types, real mistakes, and those of each failing.

    A mistake is real when a model made it: a generator's failings may have something in common that no model's have.
    """
    found: dict[str, list[Scored]] = defaultdict(list)
    found["all"] = list(scored)
    for row in scored:
        if _matched(row.pair):
            found["length-matched"].append(row)
        if row.pair.split == "unseen":
            found["unseen types"].append(row)
        if {row.pair.origin_a, row.pair.origin_b} != {GENERATOR}:
            found["real mistakes"].append(row)
        for tag in row.pair.why:
            found[tag].append(row)
    return found


def _matched(pair: Preference) -> bool:
    one, other = len(pair.chosen.split()), len(pair.rejected.split())
    return abs(one - other) <= ALIKE_LENGTH * max(one, other)


def _by(rows: Iterable[Scored], rule: str) -> list[Scored]:
    return [Scored(row.pair, BASELINES[rule](row.pair)) for row in rows]


def _accuracy(rows: Sequence[Scored]) -> Interval:
    """Return the share of right orders; a tie is half a right one."""
    return share_of(sum(1.0 if row.margin > 0 else 0.5 * (row.margin == 0) for row in rows), len(rows))


def _refusals(accuracy: Mapping[str, Mapping[str, Interval]]) -> Iterable[str]:
    for name, bar in BARS.items():
        if name not in accuracy or not accuracy[name]["model"].n:
            yield f"{name}: no held-out pairs, so nothing is known"
        elif (reached := accuracy[name]["model"].value) < bar:
            yield f"{name}: accuracy {reached:.2f} is below {bar:.2f}"
    for rule, theirs in accuracy.get("length-matched", {}).items():
        ours = accuracy["length-matched"]["model"]
        if rule != "model" and theirs.value >= ours.low:
            yield f"length-matched: not clearly better ({ours.value:.2f}, from {ours.low:.2f}) than '{rule}' ({theirs.value:.2f})"


def calibration_error(scored: Sequence[Scored], bins: int = 10) -> float:
    """Return the mean gap between stated probability and share of right orders (Naeini et al., 2015).

    A probability below one half is a wrong order stated with the rest of it.
    """
    gaps: dict[int, float] = defaultdict(float)
    for row in scored:
        sure = 1 / (1 + math.exp(-abs(max(-30.0, min(30.0, row.margin)))))
        gaps[min(bins - 1, int(sure * bins))] += sure - (row.margin > 0)
    return sum(map(abs, gaps.values())) / max(1, len(scored))


def table(found: Verdict) -> str:
    """Return the verdict as text: a row per slice, a column per judge."""
    judges = ("model", *BASELINES)
    lines = ["| slice | pairs | " + " | ".join(judges) + " |", "|---" * (2 + len(judges)) + "|"]
    for name, row in found.accuracy.items():
        cells = [f"{row[one].value:.2f}" for one in judges]
        model = row["model"]
        cells[0] += f" ({model.low:.2f} to {model.high:.2f})"
        lines.append(f"| {name} | {model.n} | " + " | ".join(cells) + " |")
    lines.append(f"\ncalibration error {found.calibration:.3f}")
    lines += [f"refused: {reason}" for reason in found.refusals] or ["the gate lets it pass"]
    return "\n".join(lines)

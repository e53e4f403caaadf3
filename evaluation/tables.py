"""The tables that `run` prints: measures with intervals, endings, slices."""

from __future__ import annotations

from collections.abc import Mapping

from core.intervals import Interval
from core.tables import aligned
from evaluation.summary import DERIVED, MEASURES, PASS, Part, Summary, is_share

LABELS = {name: measure.label for name, measure in MEASURES.items()} | dict(DERIVED)
ORDER = ("accuracy", *DERIVED, *(name for name in MEASURES if name != "accuracy"))
"""In which measures are shown."""


def listed(endings: Mapping[str, int]) -> str:
    """Return 'answered 3, out_of_turns 1'."""
    return ", ".join(f"{ending} {count}" for ending, count in endings.items())


def shown(name: str, interval: Interval) -> str:
    """Return a measure with its interval, in percent if it is a share."""
    if is_share(name):
        return interval.percent()
    if interval.n == 0:
        return "-"
    return f"{_number(interval.value)} [{_number(interval.low)}, {_number(interval.high)}]"


def measured_ones(part: Part) -> list[tuple[str, Interval]]:
    """Return the measures that were measured, in the order in which they are shown."""
    return [(name, part.measures[name]) for name in ORDER if part.measures[name].n]


def summary_table(summary: Summary, title: str) -> str:
    """Return everything `run` prints: measures, endings, and right answers by slice."""
    whole = summary.whole
    counts = f"{whole.episodes} episodes of {whole.scenarios} scenarios, k={summary.k}"
    head = f"{title}: {counts}; 95 % intervals by scenario"
    rows = [[LABELS[name], shown(name, of)] for name, of in measured_ones(whole)]
    parts = [head, "", aligned(rows)]
    if whole.endings:
        parts += ["", f"endings  {listed(whole.endings)}"]
    for kind, slices in summary.slices.items():
        parts += ["", aligned(slice_rows(kind, slices))]
    totals = summary.totals
    tokens = f"{totals['prompt_tokens']:.0f} prompt + {totals['completion_tokens']:.0f} completion tokens"
    parts += ["", f"total  {tokens}, {totals['cost_usd']:.4f} USD"]
    return "\n".join(parts)


def slice_rows(kind: str, slices: Mapping[str, Part]) -> list[list[str]]:
    """Return a heading and one row per slice."""
    rows = [[kind, "scenarios", "avg@k", "pass@k", "grounded", "turns"]]
    for value, part in slices.items():
        measures = part.measures
        cells = [shown(name, measures[name]) for name in ("accuracy", PASS, "grounded")]
        rows.append([value, str(part.scenarios), *cells, _number(measures["turns"].value)])
    return rows


def _number(value: float) -> str:
    if 0 < abs(value) < 0.1:
        return f"{value:.4f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"

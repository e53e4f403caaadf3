"""Plain-text tables for the terminal; their cells may hold any text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.command_line import printable
from core.intervals import Interval
from evaluation.summary import MEASURES, PASS, Part, Summary

LABELS = {name: measure.label for name, measure in MEASURES.items()} | {PASS: "right at least once (pass@k)"}


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to equal width, the first to the left and the others to the right."""
    rows = [[printable(cell).replace("\n", "\\n") for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def shown(name: str, interval: Interval) -> str:
    """A measure with its interval, in percent if it is a share."""
    if name == PASS or MEASURES[name].share:
        return interval.percent()
    if interval.n == 0:
        return "-"
    return f"{_number(interval.value)} [{_number(interval.low)}, {_number(interval.high)}]"


def summary_table(summary: Summary, title: str) -> str:
    """Everything `run` prints: measures, endings, and right answers by slice; 95 % intervals by scenario."""
    whole = summary.whole
    head = f"{title}: {whole.episodes} episodes of {whole.scenarios} scenarios, k={summary.k}; 95 % intervals by scenario"
    order = ["accuracy", PASS, *(name for name in MEASURES if name != "accuracy")]
    parts = [head, "", aligned([[LABELS[name], shown(name, whole.measures[name])] for name in order])]
    if whole.endings:
        parts += ["", "endings  " + ", ".join(f"{ending} {count}" for ending, count in whole.endings.items())]
    for kind, slices in summary.slices.items():
        parts += ["", aligned(slice_rows(kind, slices))]
    totals = summary.totals
    parts += ["", f"total  {totals['prompt_tokens']:.0f} prompt + {totals['completion_tokens']:.0f} completion tokens, "
              f"{totals['cost_usd']:.4f} USD"]  # fmt: skip
    return "\n".join(parts)


def slice_rows(kind: str, slices: Mapping[str, Part]) -> list[list[str]]:
    """A heading and one row per slice."""
    rows = [[kind, "scenarios", "avg@k", "pass@k", "grounded", "turns"]]
    for value, part in slices.items():
        measures = part.measures
        cells = [shown(name, measures[name]) for name in ("accuracy", PASS, "grounded")]
        rows.append([value, str(part.scenarios), *cells, _number(measures["turns"].value)])
    return rows


def _number(value: float) -> str:
    return f"{value:.4f}" if 0 < abs(value) < 0.1 else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"

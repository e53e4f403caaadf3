"""Before and after in a few lines: of summary.json, for a terminal and for the report's page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def table(summary: Mapping[str, Any]) -> str:
    """Return before and after as a few lines for a terminal."""
    lines = [f"{'':<26}{'before':>22}{'after':>22}{'gain in points':>22}"]
    lines += [
        f"{label:<26}{before:>22}{after:>22}{gained:>22}"
        for label, before, after, gained in headline(summary)
    ]
    return "\n".join(lines)


def headline(summary: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return (what was measured, before, after, gain in percentage points) of each split and sampling."""
    rows = []
    for split, found in summary["splits"].items():
        for key, how in measures_of(found):
            bounds, gain = ("ci95", "gain") if key == "accuracy" else (f"{key}_ci95", f"{key}_gain")
            before, after = (
                percent(found[f"{key}_{side}"], found[f"{bounds}_{side}"]) for side in ("before", "after")
            )
            if (before, after) != ("-", "-"):
                gained = percent(found[gain], found[f"{gain}_ci95"], points=True)
                rows.append((f"{split} ({found['n']}), {how}", before, after, gained))
        rows += _twins(split, found)
    return rows


def _twins(split: str, found: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return how often both scenarios of a pair of twins were right, where there are twins."""
    was, now = found.get("both_twins_before"), found.get("both_twins_after")
    before = percent(was, found.get("both_twins_ci95_before"))
    after = percent(now, found.get("both_twins_ci95_after"))
    if was is None and now is None:
        return []
    gained = now - was if was is not None and now is not None else None
    return [(f"{split}, both twins", before, after, percent(gained, None, points=True))]


def measures_of(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the keys of accuracy in one split's summary, and how it was sampled:
    ('avg4', 'avg@4, temp. 1').
    """
    averages = [key.removesuffix("_before") for key in found if re.fullmatch(r"avg[0-9]+_before", key)]
    return [("accuracy", "temp. 0"), *((key, f"{key.replace('avg', 'avg@')}, temp. 1") for key in averages)]


def percent(value: float | None, bounds: Sequence[float] | None, points: bool = False) -> str:
    """Return '41.2 % [35, 47]', as a difference in points '+12.5 [3, 20]', or '-'
    when it was not measured.
    """
    if value is None:
        return "-"
    said = f"{100 * value:+.1f}" if points else f"{100 * value:.1f} %"
    return said + (f" [{100 * bounds[0]:.0f}, {100 * bounds[1]:.0f}]" if bounds else "")

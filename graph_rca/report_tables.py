"""The tables of `report` in Markdown: every ranker on every slice, details of the main
slices, networks of runs apart.

A cell is a percentage with its 95 % interval, a bootstrap over incidents. A network that was trained for a
comparison has a '/' in its name (run/network) and stands in tables of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.intervals import Interval, paired_difference
from graph_rca.faithfulness import Faithfulness
from graph_rca.measuring import Measured
from graph_rca.scoring import Scores, summed

GAT = "graph attention"
ENSEMBLE = "mean of the three (shipped)"
_WITH_GRAPH_NETWORK = (GAT, ENSEMBLE)
_DETAILED = ("seen", "unseen faults", "unseen systems", "unseen both", "real")
Found = Mapping[str, Sequence[Measured]]
_Table = Mapping[str, Mapping[str, Scores]]
"""slice → ranker → scores"""


def tables(found: Found, megabytes: Mapping[str, float], faithful: Faithfulness | None) -> str:
    """Return everything as Markdown."""
    scores = {name: _scores(items) for name, items in found.items()}
    rankers = list(next(iter(scores.values())))
    main = [name for name in rankers if "/" not in name]
    lines = [
        "AC@1: the true service comes first. Percent with 95 % intervals.",
        "",
        *_overview(main, scores, found),
    ]
    lines += [_margin(found, main), "", "AC@3: the true service is among the first three.", ""]
    lines += _overview(main, scores, found, third=True)
    for name in _DETAILED:
        if name in scores:
            lines += ["", *_detail(name, {ranker: scores[name][ranker] for ranker in main}, megabytes)]
    if trained := [name for name in rankers if "/" in name]:
        lines += ["", "Networks of runs (run/network), trained for a comparison. AC@1.", ""]
        lines += _overview(trained, scores, found)
        lines += ["", "The same networks. AC@3.", "", *_overview(trained, scores, found, third=True)]
        lines += ["", *_costs(trained, scores, megabytes)]
    refused = sum(one.refused for items in found.values() for one in items)
    lines += [
        "",
        f"Refused for lack of evidence: {refused} incidents. {_told(faithful) if faithful else ''}".strip(),
    ]
    return "\n".join(lines) + "\n"


def _scores(items: Sequence[Measured]) -> dict[str, Scores]:
    counts, twins = [one.services for one in items], [one.twins for one in items]

    def of(ranker: str) -> Scores:
        return summed([one.rows[ranker] for one in items], counts, twins)

    return {name: of(name) for name in items[0].rows}


def _overview(rankers: Sequence[str], scores: _Table, found: Found, *, third: bool = False) -> list[str]:
    """Return a table of AC@1 (or AC@3): a row for each ranker, a column for each
    slice, and one for whole pairs.
    """
    heads = [f"{name} (n {len(found[name])})" for name in scores] + ["both twins of seen"]
    lines = [f"| ranker | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for ranker in rankers:
        cells = [_cell(one[ranker].third if third else one[ranker].first) for one in scores.values()]
        cells.append(_cell(scores["seen"][ranker].twins) if "seen" in scores and not third else "-")
        lines.append(f"| {ranker} | {' | '.join(cells)} |")
    return lines


def _cell(share: Interval) -> str:
    if not share.n:
        return "-"
    return f"{100 * share.value:.0f} [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def _margin(found: Found, rankers: Sequence[str]) -> str:
    """Return the row that says how far graph attention is ahead of the best row without it, in points."""
    others = [name for name in rankers if name not in _WITH_GRAPH_NETWORK]
    cells = []
    for items in found.values():
        best = max(others, key=lambda name: float(_firsts(items, name).mean()))
        ahead = paired_difference(_firsts(items, best), _firsts(items, GAT))
        cells.append(f"{_cell(ahead)} over {best}")
    return f"| *points that graph attention is ahead* | {' | '.join(cells)} | - |"


def _firsts(items: Sequence[Measured], ranker: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([one.rows[ranker].at[0] for one in items])


def _detail(name: str, scores: Mapping[str, Scores], megabytes: Mapping[str, float]) -> list[str]:
    lines = [
        f"Slice: {name}.", "",
        "| ranker | AC@1 | AC@3 | Avg@5 | lift over chance | path | ms | MB |", "|---" * 8 + "|",
    ]  # fmt: skip
    for ranker, one in scores.items():
        size = f"{megabytes[ranker]:.2f}" if ranker in megabytes else "-"
        lines.append(
            f"| {ranker} | {_cell(one.first)} | {_cell(one.third)} | {_cell(one.average)} | {one.lift:.1f} | "
            f"{_cell(one.path)} | {one.ms:.0f} | {size} |"
        )
    return lines


def _costs(rankers: Sequence[str], scores: _Table, megabytes: Mapping[str, float]) -> list[str]:
    """Return what each network costs: the median milliseconds of each slice, and
    its size without an encoder.
    """
    lines = [f"| milliseconds | {' | '.join(scores)} | MB |", "|---" * (2 + len(scores)) + "|"]
    for ranker in rankers:
        cells = [f"{one[ranker].ms:.0f}" for one in scores.values()]
        lines.append(f"| {ranker} | {' | '.join(cells)} | {megabytes[ranker]:.2f} |")
    return lines


def _told(one: Faithfulness) -> str:
    return (
        f"Reasons against real removal of the data ({one.pairs} reasons): mean error {100 * one.error:.1f} points, "
        f"correlation {one.correlation:.2f}, the strongest reason agrees in {100 * one.strongest_agrees:.0f} %. "
        f"Correlation of attention with the drop without a call: {one.attention_correlation:.2f}."
    )

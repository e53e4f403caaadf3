"""A scenario and its twin as a picture: the same suspicious rows in both, and requests
that fail at another time.

Drawn from the files alone. What is shown in a terminal is `showing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chaos.showing import COLUMNS, Axis, axis_of, moved
from project_types import Scenario

CAUSE, DECOY, FAILS = "#d9730d", "#8a8f98", "#2f81f7"
WIDTH_IN, HEIGHT_IN = 4.6, 3.4
ROW_SPACE = 0.25
"""Height of a line of rows; bars and curves are drawn as shares of their highest value."""


def draw(pair: Sequence[Scenario], picture: Path) -> None:
    """Draw one scenario, or a scenario and its twin side by side, into an .svg or .png file.

    Raises:
        OSError: the file cannot be written.
        ValueError: nothing in the scenario has a clock, or the file's ending is no picture's.
    """
    matplotlib.rcParams.update({"svg.hashsalt": "chaos", "font.size": 8, "text.parse_math": False})
    figure = Figure(figsize=(WIDTH_IN * len(pair), HEIGHT_IN), layout="constrained")
    for axes, scenario in zip(figure.subplots(1, len(pair), squeeze=False)[0], pair, strict=True):
        axis = axis_of(scenario)
        if axis is None:
            raise ValueError(f"nothing in {scenario.id} has a clock")
        _panel(axes, scenario, pair, axis)
    kind = picture.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(picture, format=kind, dpi=150, metadata=metadata)


def _panel(axes: Axes, scenario: Scenario, pair: Sequence[Scenario], axis: Axis) -> None:
    failed = axis.counts(span.start for span in scenario.spans if span.failed)
    most = max(failed) or 1.0
    axes.bar(range(COLUMNS), [count / most for count in failed], color=FAILS, label="spans that fail")
    for number, one in enumerate(sorted(pair, key=lambda one: one.id), start=1):
        _rows(axes, scenario, one, axis, -ROW_SPACE * number)
    if scenario.baseline:
        axes.axvline(axis.column(scenario.baseline.end), color=DECOY, linestyle=":", linewidth=1)
    truth = scenario.ground_truth
    axes.set_title(f"{truth.fault_type} at {truth.service}", loc="left")
    places = range(0, COLUMNS, 12)
    step = (axis.end - axis.start) / COLUMNS
    axes.set_xticks(places, [f"{axis.start + at * step:%H:%M}" for at in places])
    axes.set_yticks([])
    axes.set_ylim(-ROW_SPACE * (len(pair) + 1), 1.1)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, fontsize=7, frameon=False)


def _rows(axes: Axes, scenario: Scenario, one: Scenario, axis: Axis, height: float) -> None:
    """The rows that prove the cause of one of the pair, as this scenario has them,
    and the metric beside them.
    """
    guilty = one is scenario
    color = CAUSE if guilty else DECOY
    wanted = {(row.service, row.message) for row in one.logs if row.id in one.ground_truth.evidence_log_ids}
    rows = [row for row in scenario.logs if (row.service, row.message) in wanted and row.timestamp]
    at = [axis.column(row.timestamp) for row in rows if row.timestamp]
    label = f"rows of {one.ground_truth.service}: {'the cause' if guilty else 'harmless here'}"
    axes.scatter(at, [height] * len(at), marker="|", s=120, color=color, label=label)
    moving = {series.id for series in moved(one)}
    for curve in [series for series in scenario.metrics if series.id in moving][:1]:
        values = [value for _, value in curve.points]
        most = max(values) or 1.0
        places = [(moment - axis.start) / (axis.end - axis.start) * COLUMNS for moment, _ in curve.points]
        heights = [0.85 * value / most for value in values]
        axes.plot(places, heights, color=color, linewidth=1, label=curve.id)

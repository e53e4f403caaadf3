"""The learning curve as pictures: reward and accuracy by step, with the test before and after training.

Three outputs of one figure: PNG and SVG on white for a README, and an SVG whose lines and letters take the
page's own text colour, so that it reads in light and dark. Draws what it is given and computes nothing.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_INK = "#010203"
"""Stands for the page's text colour until it is replaced."""
TRAIN, VAL, TEST = "#8a8f98", "#2f81f7", "#d9730d"


class Pictures(NamedTuple):
    """One figure, three ways."""

    png: bytes
    svg: str
    inline_svg: str


def draw(
    train: Sequence[Mapping[str, Any]], val: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]
) -> Pictures:
    """Draw accuracy (left) and reward (right) against the training step."""
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "learning-curve"})
    matplotlib.rcParams.update({"font.size": 9, "font.family": "sans-serif"})
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    accuracy, reward = figure.subplots(1, 2)
    _accuracy(accuracy, train, val, summary)
    _line(reward, train, "reward", 1, color=TRAIN, marker=".", label="training, sampled")
    _line(reward, val, "reward", 1, color=VAL, marker="o", label="validation, temperature 0")
    for axes, title in ((accuracy, "root cause right"), (reward, "reward")):
        axes.set_title(title, color=_INK)
        axes.set_xlabel("training step", color=_INK)
        axes.set_xlim(-0.5, max([1.0, *_column(train, "step"), *_column(val, "step")]) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.tick_params(colors=_INK)
        axes.patch.set_alpha(0)
        for spine in axes.spines.values():
            spine.set_color(_INK)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, labelcolor=_INK, fontsize=8)
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=160, facecolor="white")
    figure.savefig(svg, format="svg", facecolor="white", metadata={"Date": None})
    inline = io.StringIO()
    figure.savefig(inline, format="svg", transparent=True, metadata={"Date": None})
    markup = inline.getvalue()
    return Pictures(
        png.getvalue(), svg.getvalue(), markup[markup.index("<svg") :].replace(_INK, "currentColor")
    )


def _accuracy(
    axes: Axes,
    train: Sequence[Mapping[str, Any]],
    val: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
) -> None:
    _line(axes, train, "accuracy", 100, color=TRAIN, marker=".", label="training, sampled")
    _line(axes, val, "accuracy", 100, color=VAL, marker="o", label="validation")
    low, high = (_column(val, f"accuracy_{side}", 100) for side in ("low", "high"))
    axes.fill_between(_column(val, "step"), low, high, color=VAL, alpha=0.15, linewidth=0)
    test = summary["splits"]["test"]
    ends = [(0, "before"), (summary["best_checkpoint"], "after")]
    for step, side in ends:
        value, bounds = test.get(f"accuracy_{side}"), test.get(f"ci95_{side}")
        if value is not None and bounds and step is not None:
            axes.errorbar(
                [step],
                [100 * value],
                yerr=[[100 * (value - bounds[0])], [100 * (bounds[1] - value)]],
                color=TEST,
                marker="D",
                markersize=5,
                capsize=3,
                linestyle="none",
                label="test, with 95 % interval" if side == "before" else None,
            )
    axes.set_ylim(-2, 102)
    axes.set_ylabel("percent", color=_INK)


def _line(axes: Axes, rows: Sequence[Mapping[str, Any]], name: str, scale: float, **look: str) -> None:
    if rows:
        axes.plot(_column(rows, "step"), _column(rows, name, scale), markersize=4, **look)  # type: ignore[arg-type]


def _column(rows: Iterable[Mapping[str, Any]], name: str, scale: float = 1.0) -> list[float]:
    return [float("nan") if row.get(name) is None else scale * float(row[name]) for row in rows]

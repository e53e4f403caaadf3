"""The plots of a run's report, as SVG that takes the page's own colours and carries a text for those who
cannot see it.

Draws numbers it is given; text in the pictures is escaped by the SVG writer. Slices are dots with 95 %
intervals, because bars hide how little a handful of scenarios says.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.intervals import Interval

_INK = "#010203"
"""Stands for the page's text colour until it is replaced."""
RIGHT, WRONG, DOT = "#2f81f7", "#8a8f98", "#d9730d"
WIDTH_IN = 7.2


class Picture(NamedTuple):
    """An inline SVG and the sentence that says what it shows."""

    svg: str
    says: str


def intervals(title: str, values: Mapping[str, Interval]) -> Picture:
    """Draw one row per name: the share in percent and its interval. At least one name."""
    names = list(values)
    figure, axes = _figure(0.9 + 0.26 * len(names))
    for row, interval in enumerate(values.values()):
        value, low, high = (100 * number for number in interval[:3])
        axes.plot([low, high], [row, row], color=DOT, linewidth=2, solid_capstyle="round")
        axes.plot([value], [row], marker="o", color=DOT, markersize=6)
    axes.set_yticks(range(len(names)), [f"{name} ({values[name].n})" for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("percent of samples with the right root cause (scenarios in brackets)", color=_INK)
    return _finished(
        figure, axes, title, "; ".join(f"{name} {interval.percent()}" for name, interval in values.items())
    )


def stacked(title: str, label: str, right: Mapping[int, int], wrong: Mapping[int, int]) -> Picture:
    """Draw counts of episodes by a whole number, right and not right on top of one another."""
    at = list(range(min((*right, *wrong)), max((*right, *wrong)) + 1))
    bottoms, tops = [right.get(number, 0) for number in at], [wrong.get(number, 0) for number in at]
    figure, axes = _figure(2.6)
    axes.bar(at, bottoms, color=RIGHT, label="right")
    axes.bar(at, tops, bottom=bottoms, color=WRONG, label="not right")
    axes.set_xticks(at)
    axes.set_xlabel(label, color=_INK)
    axes.set_ylabel("episodes", color=_INK)
    axes.legend(frameon=False, labelcolor=_INK)
    return _finished(
        figure, axes, title, "; ".join(f"{n}: {right.get(n, 0)} right, {wrong.get(n, 0)} not" for n in at)
    )


def histogram(title: str, label: str, right: Sequence[float], wrong: Sequence[float]) -> Picture:
    """Draw how a number is spread over episodes, right and not right. At least one episode."""
    figure, axes = _figure(2.6)
    axes.hist(
        [list(right), list(wrong)], bins=30, stacked=True, color=[RIGHT, WRONG], label=["right", "not right"]
    )
    axes.set_xlabel(label, color=_INK)
    axes.set_ylabel("episodes", color=_INK)
    axes.legend(frameon=False, labelcolor=_INK)
    everything = [*right, *wrong]
    low, high, mean = min(everything), max(everything), sum(everything) / len(everything)
    return _finished(
        figure,
        axes,
        title,
        f"{label} of {len(everything)} episodes from {low:.2f} to {high:.2f}, mean {mean:.2f}",
    )


def _figure(height_in: float) -> tuple[Figure, Axes]:
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "evaluation", "text.parse_math": False}
    )
    matplotlib.rcParams.update({"font.size": 9, "font.family": "sans-serif"})
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots()


def _finished(figure: Figure, axes: Axes, title: str, says: str) -> Picture:
    axes.set_title(title, color=_INK, loc="left")
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK)
    axes.patch.set_alpha(0)
    for spine in axes.spines.values():
        spine.set_color(_INK)
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    markup = text.getvalue()
    svg = markup[markup.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'<g id="[^"]*"', "<g", svg
    )  # the same in every figure, and an id may stand in a page only once
    return Picture(
        svg.replace("<svg ", f'<svg role="img" aria-label="{escape(f"{title}. {says}", quote=True)}" ', 1),
        says,
    )

"""Learning curves: rows of metrics.jsonl as series over the training step, for the plotting library and for
the table beneath it.

A value that is missing or no number is a gap. Nothing is smoothed: a point is what one step measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from core.episode_store.run_folder import number
from project_types import Frozen

Row = Mapping[str, Any]
Tone = Literal["accent", "quiet", "good", "bad", "warm", "violet", "teal", "rose"]
"""Colours of the page's palette."""


class Series(Frozen):
    """One line of a chart: a value or a gap for each x."""

    label: str
    tone: Tone
    values: tuple[float | None, ...]
    points: bool = False
    """Draw points only, unconnected."""
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    """An interval around it, or empty."""


class Chart(Frozen):
    """Series over one axis, for the plotting library and for the table beneath it."""

    id: str
    title: str
    unit: Literal["%", "", "tokens/s", "s", "failures"]
    x: tuple[float, ...]
    x_is: Literal["step", "time"] = "step"
    series: tuple[Series, ...]
    bars: bool = False
    """Stacked bars instead of lines."""


class _Line(Frozen):
    label: str
    split: str
    name: str
    tone: Tone
    scale: float = 1.0
    points: bool = False
    interval: bool = False


_CHARTS: tuple[tuple[str, str, Literal["%", "", "s", "tokens/s"], tuple[_Line, ...]], ...] = (
    (
        "accuracy",
        "Root cause right",
        "%",
        (
            _Line(label="training, sampled", split="train", name="accuracy", tone="quiet", scale=100),
            _Line(label="validation", split="val", name="accuracy", tone="accent", scale=100, interval=True),
            _Line(
                label="test, sampled",
                split="test_sampled",
                name="accuracy",
                tone="violet",
                scale=100,
                points=True,
                interval=True,
            ),
            _Line(
                label="test",
                split="test",
                name="accuracy",
                tone="warm",
                scale=100,
                points=True,
                interval=True,
            ),
        ),
    ),
    (
        "reward",
        "Reward",
        "",
        (
            _Line(label="training, sampled", split="train", name="reward", tone="quiet"),
            _Line(label="validation", split="val", name="reward", tone="accent"),
        ),
    ),
    (
        "evidence",
        "Evidence, in training rollouts",
        "%",
        (
            _Line(label="right, citing what it saw", split="train", name="grounded", tone="good", scale=100),
            _Line(label="gold evidence opened", split="train", name="opened", tone="accent", scale=100),
            _Line(label="cites what does not exist", split="train", name="fabricated", tone="bad", scale=100),
        ),
    ),
    (
        "lost",
        "Lost rollouts and flat groups",
        "%",
        (
            _Line(
                label="groups with equal rewards", split="train", name="flat_share", tone="warm", scale=100
            ),
            _Line(label="rollouts that failed", split="train", name="failed_share", tone="bad", scale=100),
        ),
    ),
    (
        "seconds",
        "Seconds per step",
        "s",
        (
            _Line(label="whole step", split="train", name="seconds", tone="quiet"),
            _Line(label="rollouts", split="train", name="rollout_seconds", tone="accent"),
            _Line(label="training job", split="train", name="job_seconds", tone="warm"),
        ),
    ),
    (
        "speed",
        "Tokens per second",
        "tokens/s",
        (_Line(label="training rollouts", split="train", name="tokens_per_s", tone="accent"),),
    ),
)


def curves(rows: Sequence[Row]) -> tuple[Chart, ...]:
    """The charts of a training run that have anything to show."""
    by_split: dict[str, dict[float, dict[str, Any]]] = {}
    for row in rows:
        step = number(row.get("step"))
        if step is not None:
            by_split.setdefault(str(row.get("split")), {})[step] = dict(row) | _shares(row)
    charts: list[Chart] = []
    for id, title, unit, lines in _CHARTS:
        steps = tuple(sorted({step for line in lines for step in by_split.get(line.split, {})}))
        series = tuple(_series(line, steps, by_split.get(line.split, {})) for line in lines)
        series = tuple(one for one in series if any(value is not None for value in one.values))
        if series:
            charts.append(Chart(id=id, title=title, unit=unit, x=steps, series=series))
    return tuple(charts)


def _series(line: _Line, steps: Sequence[float], rows: Mapping[float, Row]) -> Series:
    def column(name: str) -> tuple[float | None, ...]:
        found = (number(rows.get(step, {}).get(name)) for step in steps)
        return tuple(None if value is None else round(value * line.scale, 4) for value in found)

    low, high = (column(f"{line.name}_low"), column(f"{line.name}_high")) if line.interval else ((), ())
    return Series(
        label=line.label, tone=line.tone, values=column(line.name), points=line.points, low=low, high=high
    )


def _shares(row: Row) -> dict[str, float | None]:
    groups, flat = number(row.get("groups")), number(row.get("flat_groups"))
    kept, failed = number(row.get("rollouts")), number(row.get("failed"))
    tried = (kept or 0) + (failed or 0)
    return {
        "flat_share": flat / groups if groups and flat is not None else None,
        "failed_share": failed / tried if tried and failed is not None else None,
    }

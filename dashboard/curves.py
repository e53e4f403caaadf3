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
        "gaming",
        "Signs of gaming",
        "%",
        (
            _Line(label="right by the judge alone", split="train", name="judge_only", tone="bad", scale=100),
            _Line(label="blames no service", split="train", name="invented_services", tone="warm", scale=100),
            _Line(
                label="searches no service",
                split="train",
                name="missing_service_searches",
                tone="violet",
                scale=100,
            ),
            _Line(label="verdicts that flip", split="train", name="verdict_flips", tone="rose", scale=100),
        ),
    ),
    (
        "length",
        "Reward by length (correlation)",
        "",
        (
            _Line(label="words of the report", split="train", name="reward_by_words", tone="accent"),
            _Line(label="tokens", split="train", name="reward_by_tokens", tone="teal"),
        ),
    ),
    (
        "loss",
        "Loss",
        "",
        (_Line(label="training job", split="train", name="loss", tone="accent"),),
    ),
    (
        "kl",
        "KL divergence per token",
        "",
        (
            _Line(label="from the sampling policy", split="train", name="kl_div", tone="accent"),
            _Line(label="from the base model", split="train", name="kl_policy_ref", tone="violet"),
        ),
    ),
    (
        "entropy",
        "Entropy per token",
        "",
        (_Line(label="of the policy", split="train", name="entropy", tone="teal"),),
    ),
    (
        "grad_norm",
        "Gradient norm",
        "",
        (_Line(label="before clipping", split="train", name="grad_norm", tone="warm"),),
    ),
    (
        "clipped",
        "Clipped tokens",
        "%",
        (
            _Line(
                label="outside the clip range", split="train", name="clipped_fraction", tone="rose", scale=100
            ),
        ),
    ),
    (
        "spread",
        "Spread of rewards",
        "",
        (_Line(label="standard deviation", split="train", name="reward_spread", tone="violet"),),
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
    by_split = _by_split(rows)
    charts: list[Chart] = []
    for id, title, unit, lines in _CHARTS:
        steps = tuple(sorted({step for line in lines for step in by_split.get(line.split, {})}))
        series = tuple(_series(line, steps, by_split.get(line.split, {})) for line in lines)
        series = tuple(one for one in series if set(one.values) - {None})
        if series:
            charts.append(Chart(id=id, title=title, unit=unit, x=steps, series=series))
    return tuple(charts)


MEASURES: dict[str, tuple[str, Literal["%", ""], tuple[_Line, ...]]] = {
    "accuracy": (
        "Root cause right on validation",
        "%",
        (_Line(label="", split="val", name="accuracy", tone="accent", scale=100, interval=True),),
    ),
    "test": (
        "Root cause right on test",
        "%",
        (_Line(label="", split="test", name="accuracy", tone="accent", scale=100, interval=True),),
    ),
    "reward": (
        "Reward of training rollouts",
        "",
        (_Line(label="", split="train", name="reward", tone="accent"),),
    ),
    "loss": ("Loss", "", (_Line(label="", split="train", name="loss", tone="accent"),)),
    "kl": ("KL divergence per token", "", (_Line(label="", split="train", name="kl_div", tone="accent"),)),
    "entropy": ("Entropy per token", "", (_Line(label="", split="train", name="entropy", tone="accent"),)),
    "grad_norm": ("Gradient norm", "", (_Line(label="", split="train", name="grad_norm", tone="accent"),)),
}
"""What several runs can be drawn together by."""
TONES: tuple[Tone, ...] = ("accent", "warm", "bad", "good", "violet", "teal", "rose", "quiet")


def together(runs: Mapping[str, Sequence[Row]]) -> tuple[Chart, ...]:
    """One chart for each measure, one line for each run (name → rows); as many runs as there are colours."""
    by_run = {name: _by_split(rows) for name, rows in [*runs.items()][: len(TONES)]}
    charts: list[Chart] = []
    for id, (title, unit, (line,)) in MEASURES.items():
        steps = tuple(sorted({step for splits in by_run.values() for step in splits.get(line.split, {})}))
        series = tuple(
            _series(line.model_copy(update={"label": name, "tone": tone}), steps, splits.get(line.split, {}))
            for (name, splits), tone in zip(by_run.items(), TONES, strict=False)
        )
        series = tuple(one for one in series if set(one.values) - {None})
        if series:
            charts.append(Chart(id=id, title=title, unit=unit, x=steps, series=series))
    return tuple(charts)


def _by_split(rows: Sequence[Row]) -> dict[str, dict[float, dict[str, Any]]]:
    """Split → step → row, with what its training job measured and a few shares."""
    found: dict[str, dict[float, dict[str, Any]]] = {}
    for row in rows:
        step = number(row.get("step"))
        if step is not None:
            found.setdefault(str(row.get("split")), {})[step] = {**_of_job(row), **row, **_shares(row)}
    return found


def _of_job(row: Row) -> dict[str, Any]:
    """What the training job of a step measured, by plain names: `loss/kl_div` is
    kl_div, `loss/train` is loss.
    """
    job = row.get("job")
    values = job if isinstance(job, Mapping) else {}
    plain = {str(name).rpartition("/")[2]: value for name, value in values.items()}
    return plain | ({"loss": values["loss/train"]} if "loss/train" in values else {})


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

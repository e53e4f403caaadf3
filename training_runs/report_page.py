"""The report of a training run as one self-contained HTML page: no script, nothing loaded, everything
escaped.

Turns numbers into what the template shows; the numbers come from `training_runs.summary`. The only text that
is not escaped is the SVG that `learning_curve` drew from numbers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.episode_store.run_folder import GREEDY, SAMPLED, RunFolder
from project_types import Ending, Episode
from training_runs.arithmetic import arithmetic
from training_runs.before_after import Comparison, before_and_after
from training_runs.headline import headline, percent

MOST_CHARACTERS = 6000
"""Longest piece of a transcript that is shown; the file holds all of it."""


class Slice(NamedTuple):
    """One bar pair: accuracy of a slice before and after, in percent, with its interval."""

    name: str
    n: int
    sides: tuple[tuple[str, float, float, float, str], ...]


class Turn(NamedTuple):
    """One message of a transcript."""

    role: str
    text: str
    calls: tuple[tuple[str, str], ...]


class Transcript(NamedTuple):
    """One episode, chosen for what it shows."""

    title: str
    why: str
    episode: Episode
    turns: tuple[Turn, ...]
    report: str


def page(run: RunFolder, summary: Mapping[str, Any], curve_svg: str) -> str:
    """Render report.html."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    test, val = before_and_after(run, "test"), before_and_after(run, "val")
    shown = test if test.before[GREEDY] or test.after[GREEDY] else val
    kind = SAMPLED if shown.before[SAMPLED] and shown.after[SAMPLED] else GREEDY
    found = summary["splits"][shown.split]
    key = f"avg{shown.samples}" if kind == SAMPLED else "accuracy"
    return environment.get_template("report.html").render(
        summary=summary,
        config=run.settings,
        earlier=[
            past["revision"]
            for past in run.settings.get("earlier", [])
            if past["revision"] != summary["revision"]
        ],
        settings=json.dumps(run.config, indent=2),
        curve=Markup(curve_svg),
        headline=headline(summary),
        split=shown.split,
        how=f"avg@{shown.samples} at temperature 1" if kind == SAMPLED else "temperature 0",
        sides=[
            side
            for side, episodes in (("before", shown.before[kind]), ("after", shown.after[kind]))
            if episodes
        ],
        slices=[
            (title, _slices(found["by_slice"].get(name, {}), key)) for name, title in SLICE_TITLES.items()
        ],
        components=_components(shown.before[kind], shown.after[kind]),
        endings=_endings(shown.before[kind], shown.after[kind]),
        transcripts=_transcripts(shown),
        steps=run.of("train"),
        arithmetic=arithmetic(summary["training_service"]),
        percent=percent,
    )


SLICE_TITLES = {
    "fault_family": "By family of fault",
    "seen": "Faults and systems seen in training, and not",
    "fault_type": "By type of fault",
}


def _slices(values: Mapping[str, Mapping[str, Any]], key: str) -> list[Slice]:
    bounds = "ci95" if key == "accuracy" else f"{key}_ci95"
    result = []
    for name, found in values.items():
        sides = []
        for side in ("before", "after"):
            value, interval = found[f"{key}_{side}"], found[f"{bounds}_{side}"]
            if value is not None and interval is not None:
                sides.append(
                    (side, 100 * value, 100 * interval[0], 100 * interval[1], percent(value, interval))
                )
        result.append(Slice(name, found["n"], tuple(sides)))
    return result


def _components(
    before: Sequence[Episode], after: Sequence[Episode]
) -> list[tuple[str, float | None, float | None]]:
    """Mean of each reward component, before and after."""
    names = list(dict.fromkeys(name for episode in (*before, *after) for name in episode.reward_components))
    rows = [(name, _mean_component(before, name), _mean_component(after, name)) for name in names]
    return [*rows, ("total", _mean(e.reward for e in before), _mean(e.reward for e in after))]


def _mean_component(episodes: Iterable[Episode], name: str) -> float | None:
    return _mean(episode.reward_components.get(name, 0.0) for episode in episodes)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _endings(
    before: Sequence[Episode], after: Sequence[Episode]
) -> list[tuple[str, float | None, float | None]]:
    """Share of each way to end, in percent; an answer counts as right or wrong."""
    shares = []
    for episodes in (before, after):
        counts = Counter(_ending(episode) for episode in episodes)
        shares.append({name: 100 * count / len(episodes) for name, count in counts.items()})
    order = ["answered: right", "answered: wrong", *(ending.value for ending in Ending)]
    return [
        (name, shares[0].get(name, 0.0) if before else None, shares[1].get(name, 0.0) if after else None)
        for name in order
        if name in shares[0] or name in shares[1]
    ]


def _ending(episode: Episode) -> str:
    if episode.outcome.ending is Ending.ANSWERED:
        return f"answered: {'right' if episode.outcome.correct else 'wrong'}"
    return episode.outcome.ending.value


def _transcripts(shown: Comparison) -> list[Transcript]:
    """Three episodes at temperature 0: one that training fixed, one still wrong, and one right both times (or
    what there is).
    """
    before = {episode.scenario_id: episode for episode in shown.before[GREEDY]}
    after = shown.after[GREEDY] or shown.before[GREEDY]
    trained = bool(shown.after[GREEDY])
    wanted: list[tuple[str, str, Callable[[Episode], bool]]] = [
        (
            "Solved after training",
            "wrong before, right after",
            lambda e: e.outcome.correct and trained and not _right(before, e),
        ),
        (
            "Still not solved",
            "the most instructive kind: what is left to learn",
            lambda e: not e.outcome.correct,
        ),
        ("Solved", "an ordinary success", lambda e: e.outcome.correct),
        *[("Another episode", "", _any)] * 3,
    ]
    chosen: list[Transcript] = []
    taken: set[str] = set()
    for title, why, fits in wanted:
        episode = next((e for e in after if e.scenario_id not in taken and fits(e)), None)
        if episode is not None and len(chosen) < 3:
            taken.add(episode.scenario_id)
            chosen.append(_transcript(title, why, episode))
    return chosen


def _any(_: Episode) -> bool:
    return True


def _right(before: Mapping[str, Episode], episode: Episode) -> bool:
    known = before.get(episode.scenario_id)
    return known is not None and known.outcome.correct


def _transcript(title: str, why: str, episode: Episode) -> Transcript:
    turns = []
    for message in episode.messages:
        calls = tuple(
            (str(call.get("function", {}).get("name")), _cut(str(call.get("function", {}).get("arguments"))))
            for call in message.get("tool_calls") or ()
        )
        turns.append(Turn(str(message.get("role")), _cut(str(message.get("content") or "")), calls))
    report = _cut(episode.report.model_dump_json(indent=2, exclude_defaults=True)) if episode.report else ""
    return Transcript(title, why, episode, tuple(turns), report)


def _cut(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return text[:MOST_CHARACTERS] + f"\n… {len(text) - MOST_CHARACTERS} more characters in the episode file"

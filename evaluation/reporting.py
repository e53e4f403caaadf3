"""The command behind `python -m evaluation report`: one self-contained HTML page about a run.

No script, nothing loaded, everything from logs and models escaped. It shows what the summary says, where the
policy is right, what it took, the hardest scenarios and a few transcripts; the page of a training run is
`training_runs.report`.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.command_line import printable
from core.episode_store.loading import Loaded, load_run
from evaluation.pictures import Picture, histogram, intervals, stacked
from evaluation.run_record import write_text
from evaluation.showing import transcript
from evaluation.summary import MEASURES, Row, Summary, Tally, summarise_tally
from evaluation.tables import LABELS, listed, measured_ones, shown, slice_rows
from project_types import Ending, Episode

HARDEST = 40
TRANSCRIPT_KINDS: Sequence[tuple[str, Callable[[Episode], bool]]] = (
    ("Right, with evidence", lambda e: e.outcome.grounded),
    ("Wrong answer", lambda e: e.outcome.ending is Ending.ANSWERED and not e.outcome.correct),
    (
        "Saw the evidence and still missed it",
        lambda e: e.outcome.gold_evidence_opened > 0 and not e.outcome.correct,
    ),
    ("No answer", lambda e: e.outcome.ending is not Ending.ANSWERED),
)


def command(arguments: argparse.Namespace) -> int:
    """Write the page."""
    found = load_run(arguments.run, split=arguments.split, sampling=arguments.sampling)
    for note in found.warnings():
        print(printable(f"note: {note}"), file=sys.stderr)
    # a training run has a report.html of its own, made by training_runs
    beside = found.again / "report.html" if found.again.is_dir() else found.again.with_suffix(".html")
    target: Path = arguments.out or beside
    write_text(target, page(found))
    print(f"{target}: {len(found.episodes)} episodes")
    return 0


def page(found: Loaded) -> str:
    """Return the page as HTML."""
    tally = Tally()
    for episode in found.episodes:
        tally.add(episode)
    summary = summarise_tally(tally, k=int(found.run["k"]) if "k" in found.run else None)
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("run_report.html").render(
        title=found.name,
        run={name: found.run.get(name) for name in ("split", "judge", "revision")},
        k=summary.k,
        notes=found.warnings(),
        whole=summary.whole,
        measures=[(LABELS[name], shown(name, of)) for name, of in measured_ones(summary.whole)],
        slices=[(kind, slice_rows(kind, parts)[1:]) for kind, parts in summary.slices.items()],
        slice_pictures=[_safe(picture) for picture in _slice_pictures(summary)],
        other_pictures=[_safe(picture) for picture in _other_pictures(found.episodes)],
        components=_components(found.episodes),
        hardest=_hardest(tally.rows()),
        transcripts=_transcripts(found.episodes),
    )


def _safe(picture: Picture) -> dict[str, Any]:
    return {"svg": Markup(picture.svg), "says": picture.says}


def _slice_pictures(summary: Summary) -> list[Picture]:
    titles = {"seen": "whether training shows the fault", "fault_family": "family of fault"}
    titles |= {"fault_type": "type of fault", "topology": "system"}
    pictures = []
    for kind, parts in summary.slices.items():
        accuracy = {value: part.measures["accuracy"] for value, part in parts.items()}
        pictures.append(intervals(f"Root cause right, by {titles[kind]}", accuracy))
    return pictures


def _other_pictures(episodes: Sequence[Episode]) -> list[Picture]:
    if not episodes:
        return []
    right = [episode for episode in episodes if episode.outcome.correct]
    wrong = [episode for episode in episodes if not episode.outcome.correct]
    turns = stacked("How many turns episodes took", "turns of the policy", _turns(right), _turns(wrong))
    rewards = _rewards(right), _rewards(wrong)
    return [turns, histogram("How rewards are spread", "reward", *rewards)] if any(rewards) else [turns]


def _turns(episodes: Iterable[Episode]) -> Counter[int]:
    return Counter(episode.outcome.turns for episode in episodes)


def _rewards(episodes: Iterable[Episode]) -> list[float]:
    return [episode.reward for episode in episodes if episode.reward is not None]


def _components(episodes: Sequence[Episode]) -> list[tuple[str, float]]:
    """Return the mean of each reward component over the scored episodes."""
    sums: Counter[str] = Counter()
    scored = [episode for episode in episodes if episode.reward is not None]
    for episode in scored:
        sums.update(episode.reward_components)
    return [(name, total / len(scored)) for name, total in sums.items()]


def _hardest(rows: Sequence[Row]) -> list[tuple[str, str, str, str, str]]:
    opened = list(MEASURES).index("opened")
    hardest = sorted(rows, key=lambda row: (row.right / row.samples, row.scenario_id))[:HARDEST]
    return [
        (
            row.scenario_id,
            row.slices.get("fault_type", ""),
            f"{row.right}/{row.samples}",
            "-" if isnan(row.values[opened]) else f"{100 * row.values[opened]:.0f} %",
            listed(row.endings),
        )
        for row in hardest
    ]


def _transcripts(episodes: Sequence[Episode]) -> list[tuple[str, Episode, str]]:
    """Return the first episode of each kind worth reading."""
    chosen: dict[int, tuple[str, Episode, str]] = {}
    for why, fits in TRANSCRIPT_KINDS:
        found = next((e for e in episodes if id(e) not in chosen and fits(e)), None)
        if found is not None:
            chosen[id(found)] = (why, found, "\n".join(transcript(found)))
    return list(chosen.values())

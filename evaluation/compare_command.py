"""The command behind `python -m evaluation compare A B`: what changed, as text or as JSON.

Each flip cites the episodes, which `python -m evaluation show` prints.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import Any

from core.command_line import printable
from core.episode_store.lines import EpisodesError
from core.episode_store.loading import Loaded, load_run
from core.intervals import as_json
from core.tables import aligned
from evaluation.comparing import Change, Comparison, Flip, compare
from evaluation.summary import is_share
from evaluation.tables import LABELS

SHOWN_FLIPS = 20
SHOW = "python -m evaluation show"


def command(arguments: argparse.Namespace) -> int:
    """Load both, compare, print. Returns 0."""
    chosen = {"split": arguments.split, "sampling": arguments.sampling}
    before, after = load_run(arguments.before, **chosen), load_run(arguments.after, **chosen)
    for note in (*before.warnings(), *after.warnings(), *_same(before, after)):
        print(printable(f"note: {note}"), file=sys.stderr)
    found = compare(before.episodes, after.episodes)
    if not found.scenarios:
        raise EpisodesError(
            f"{arguments.before} and {arguments.after} share no scenario; compare runs of the same split"
        )
    if arguments.json:
        print(json.dumps(to_json(found), indent=2))
    else:
        print(
            "\n\n".join(_paragraphs(before, after, found, len(found.flips) if arguments.all else SHOWN_FLIPS))
        )
    return 0


def _same(before: Loaded, after: Loaded) -> list[str]:
    """Say that both sides are one file, as when the best checkpoint of a training run is the start."""
    if before.file.path != after.file.path:
        return []
    return [f"A and B are the same episodes, {before.file.path}; name another run or checkpoint, RUN@STEP"]


def to_json(found: Comparison) -> dict[str, Any]:
    """Return the shape of `--json`."""
    return {
        "scenarios": found.scenarios,
        "only_before": found.only_before,
        "only_after": found.only_after,
        "changed_files": list(found.changed_files),
        "measures": _changes_json(found.measures),
        "slices": {kind: _changes_json(parts) for kind, parts in found.slices.items()},
        "flips": [_flip_json(flip) for flip in found.flips],
    }


def _changes_json(changes: Any) -> dict[str, Any]:
    return {
        name: {"before": change.before, "after": change.after, "difference": as_json(change.difference)}
        for name, change in changes.items()
    }


def _flip_json(flip: Flip) -> dict[str, Any]:
    return {**flip._asdict(), "slices": dict(flip.slices), "gain": flip.gain}


def _paragraphs(before: Loaded, after: Loaded, found: Comparison, most_flips: int) -> list[str]:
    """Return what is printed: both sides, measures, slices, flips."""
    paragraphs = [
        f"A  {before.name}  ({before.again})\nB  {after.name}  ({after.again})",
        _counts(found),
        aligned([["", "A", "B", "B - A"], *_measure_rows(found)]),
    ]
    for kind, changes in found.slices.items():
        rows = [
            _row(f"{value} ({change.difference.n})", "accuracy", change) for value, change in changes.items()
        ]
        paragraphs.append(aligned([[kind, "A", "B", "B - A"], *rows]))
    lost = [flip for flip in found.flips if flip.gain < 0]
    won = [flip for flip in found.flips if flip.gain > 0]
    paragraphs.append(_flips("less often right in B", lost, most_flips, before, after))
    paragraphs.append(_flips("more often right in B", won, most_flips, before, after))
    return paragraphs


def _counts(found: Comparison) -> str:
    changed = f"{len(found.changed_files)} whose file changed"
    left_out = f"{found.only_before} only in A, {found.only_after} only in B, {changed}"
    paired = "B - A is paired by scenario, 95 % interval"
    return f"{found.scenarios} scenarios in both (left out: {left_out}); {paired}"


def _measure_rows(found: Comparison) -> list[list[str]]:
    return [_row(LABELS[name], name, change) for name, change in found.measures.items()]


def _row(label: str, measure: str, change: Change) -> list[str]:
    scale, digits = (100, 1) if is_share(measure) else (1, 3)
    unit = " %" if scale == 100 else ""
    value, low, high = (scale * number for number in change.difference[:3])
    difference = f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    return [label, *(f"{scale * number:.{digits}f}{unit}" for number in change[:2]), difference]


def _flips(title: str, flips: list[Flip], most: int, before: Loaded, after: Loaded) -> str:
    if not flips:
        return f"{title}: none"
    rows = [["scenario", "fault", "A", "B", "right in A", "right in B"], *map(_flip_row, flips[:most])]
    more = f"\n... {len(flips) - most} more; --all shows them" if len(flips) > most else ""
    first = shlex.quote(flips[0].scenario_id)
    shows = [f"{SHOW} {shlex.quote(str(side.again))} {first}" for side in (after, before)]
    return f"{title}: {len(flips)}\n{aligned(rows)}{more}\nread one: {printable('    '.join(shows))}"


def _flip_row(flip: Flip) -> list[str]:
    return [
        flip.scenario_id,
        flip.slices.get("fault_type", ""),
        f"{len(flip.before)}/{flip.before_samples}",
        f"{len(flip.after)}/{flip.after_samples}",
        _cited(flip.before),
        _cited(flip.after),
    ]


def _cited(samples: tuple[int, ...]) -> str:
    return " ".join(f"#{sample}" for sample in samples) or "-"

"""The command behind `python -m evaluation compare A B`: what changed on the scenarios both runs played, and
where.

Differences are paired: B minus A on each scenario, averaged, with a bootstrap interval by scenario. A
scenario has flipped when its share of right samples rose or fell; each flip cites the episodes, which `python
-m evaluation show` prints. Scenarios that only one side has, or whose file changed in between, are left out
and counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

from core.command_line import printable
from core.episode_store.lines import EpisodesError
from core.episode_store.loading import Loaded, load_run
from core.intervals import Interval, as_json, paired_difference, proportion
from evaluation.summary import MEASURES, PASS, slices_of
from evaluation.tables import LABELS, aligned
from project_types import Episode

BY_SCENARIO = tuple(name for name in MEASURES if name not in ("fabricated", "opened"))
SHOWN_FLIPS = 20


class Flip(NamedTuple):
    """A scenario that one side solves more often, and the samples that were right."""

    scenario_id: str
    slices: Mapping[str, str]
    before: tuple[int, ...]
    before_samples: int
    after: tuple[int, ...]
    after_samples: int

    @property
    def gain(self) -> float:
        """Share of right samples after, minus before."""
        return len(self.after) / self.after_samples - len(self.before) / self.before_samples


class Change(NamedTuple):
    """One measure on both sides and its paired difference."""

    before: float
    after: float
    difference: Interval


class Comparison(NamedTuple):
    """Everything `compare` says."""

    scenarios: int
    only_before: int
    only_after: int
    changed_files: tuple[str, ...]
    measures: Mapping[str, Change]
    slices: Mapping[str, Mapping[str, Change]]
    """Root cause right, by slice."""
    flips: tuple[Flip, ...]


Sides = dict[str, tuple[list[Episode], list[Episode]]]


def command(arguments: argparse.Namespace) -> int:
    """Load both, compare, print."""
    chosen = {"split": arguments.split, "sampling": arguments.sampling}
    before, after = load_run(arguments.before, **chosen), load_run(arguments.after, **chosen)
    for note in (*before.warnings(), *after.warnings()):
        print(printable(f"note: {note}"), file=sys.stderr)
    found = compare(before.episodes, after.episodes)
    if not found.scenarios:
        raise EpisodesError(
            f"{arguments.before} and {arguments.after} share no scenario; compare runs of the same split"
        )
    print(
        json.dumps(to_json(found), indent=2) if arguments.json else _text(before, after, found, arguments.all)
    )
    return 0


def compare(before: Iterable[Episode], after: Iterable[Episode]) -> Comparison:
    """Pair two sets of episodes by scenario."""
    left, right = _by_scenario(before), _by_scenario(after)
    shared = sorted(left.keys() & right.keys())
    changed = tuple(name for name in shared if _digest(left[name]) != _digest(right[name]))
    sides: Sides = {name: (left[name], right[name]) for name in shared if name not in changed}
    groups: dict[str, dict[str, Sides]] = defaultdict(lambda: defaultdict(dict))
    for name, pair in sides.items():
        for kind, value in slices_of(pair[1][0]).items():
            groups[kind][value][name] = pair
    return Comparison(
        len(sides),
        len(left.keys() - right.keys()),
        len(right.keys() - left.keys()),
        changed,
        {name: _change(sides, name) for name in BY_SCENARIO},
        {
            kind: {value: _change(part, "accuracy") for value, part in sorted(parts.items())}
            for kind, parts in groups.items()
        },
        _flips(sides),
    )


def to_json(found: Comparison) -> dict[str, Any]:
    """The shape of `--json`."""
    return {
        "scenarios": found.scenarios,
        "only_before": found.only_before,
        "only_after": found.only_after,
        "changed_files": list(found.changed_files),
        "measures": {name: _change_json(change) for name, change in found.measures.items()},
        "slices": {
            kind: {value: _change_json(c) for value, c in parts.items()}
            for kind, parts in found.slices.items()
        },
        "flips": [{**flip._asdict(), "slices": dict(flip.slices), "gain": flip.gain} for flip in found.flips],
    }


def _by_scenario(episodes: Iterable[Episode]) -> dict[str, list[Episode]]:
    groups: dict[str, list[Episode]] = defaultdict(list)
    for episode in episodes:
        groups[episode.scenario_id].append(episode)
    return groups


def _digest(episodes: Iterable[Episode]) -> set[object]:
    """The contents of the scenario file these episodes were played on; `{None}` where nobody wrote it down."""
    return {episode.metadata.get("scenario_digest") for episode in episodes}


def _change(sides: Sides, measure: str) -> Change:
    """The paired difference of one measure, over the scenarios where both sides have it."""
    _, share, of = MEASURES[measure]
    means = [tuple(sum(map(of, side)) / len(side) for side in pair) for pair in sides.values()]
    known = [(was, now) for was, now in means if not (isnan(was) or isnan(now))]
    before, after = [was for was, _ in known], [now for _, now in known]
    difference = paired_difference(before, after)
    count = max(1, len(known))
    return Change(
        sum(before) / count, sum(after) / count, proportion(difference, lowest=-1.0) if share else difference
    )


def _flips(sides: Sides) -> tuple[Flip, ...]:
    """Scenarios whose share of right samples changed: the largest losses first, then the largest gains."""
    flips = []
    for name, (before, after) in sides.items():
        was, now = (tuple(sorted(e.sample for e in side if e.outcome.correct)) for side in (before, after))
        flips.append(Flip(name, slices_of(after[0]), was, len(before), now, len(after)))
    changed = [flip for flip in flips if abs(flip.gain) > 1e-9]
    return tuple(sorted(changed, key=lambda flip: (flip.gain > 0, -abs(flip.gain), flip.scenario_id)))


def _change_json(change: Change) -> dict[str, Any]:
    return {"before": change.before, "after": change.after, "difference": as_json(change.difference)}


def _text(before: Loaded, after: Loaded, found: Comparison, everything: bool) -> str:
    parts = [f"A  {before.name}  ({before.again})\nB  {after.name}  ({after.again})"]
    left_out = f"{found.only_before} only in A, {found.only_after} only in B, {len(found.changed_files)} whose file changed"
    parts.append(
        f"{found.scenarios} scenarios in both (left out: {left_out}); B - A is paired by scenario, 95 % interval"
    )
    rows = [["", "A", "B", "B - A"]]
    rows += [_row(LABELS[name], name, change) for name, change in found.measures.items()]
    parts.append(aligned(rows))
    for kind, changes in found.slices.items():
        head = [kind, "A", "B", "B - A"]
        parts.append(
            aligned(
                [head, *(_row(f"{value} ({c.difference.n})", "accuracy", c) for value, c in changes.items())]
            )
        )
    lost, won = ([flip for flip in found.flips if (flip.gain > 0) is gained] for gained in (False, True))
    for title, flips in (("less often right in B", lost), ("more often right in B", won)):
        parts.append(
            _flip_text(
                title, flips if everything else flips[:SHOWN_FLIPS], len(flips), before.again, after.again
            )
        )
    return "\n\n".join(parts)


def _row(label: str, measure: str, change: Change) -> list[str]:
    scale, digits = (100, 1) if measure == PASS or MEASURES[measure].share else (1, 3)
    unit = " %" if scale == 100 else ""
    value, low, high = (scale * number for number in change.difference[:3])
    difference = f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    return [label, *(f"{scale * number:.{digits}f}{unit}" for number in change[:2]), difference]


def _flip_text(title: str, flips: list[Flip], count: int, before: Path, after: Path) -> str:
    if not flips:
        return f"{title}: none"
    rows = [["scenario", "fault", "A", "B", "right in A", "right in B"]]
    for flip in flips:
        shares = [f"{len(flip.before)}/{flip.before_samples}", f"{len(flip.after)}/{flip.after_samples}"]
        cited = [" ".join(f"#{sample}" for sample in samples) or "-" for samples in (flip.before, flip.after)]
        rows.append([flip.scenario_id, flip.slices.get("fault_type", ""), *shares, *cited])
    more = f"\n... {count - len(flips)} more; --all shows them" if count > len(flips) else ""
    first = flips[0].scenario_id
    hint = (
        f"\nread one: python -m evaluation show {after} {first}    python -m evaluation show {before} {first}"
    )
    return f"{title}: {count}\n{aligned(rows)}{more}{hint}"

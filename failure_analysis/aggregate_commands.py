"""The commands behind `python -m failure_analysis groups`, `counts`, `similar` and `compare`: tables, or JSON
with --json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from core.episode_store.runs import parse_run
from core.tables import aligned
from failure_analysis.aggregates import Count, Group, counts, groups, similar
from failure_analysis.comparing import Comparison, Flip, Side, compare
from failure_analysis.records import ExperimentType, StoreError
from failure_analysis.store import FailureStore, Wanted

SHOWN_FLIPS = 20


def command(arguments: argparse.Namespace) -> int:
    """Print what was asked for."""
    store = FailureStore(arguments.failures)
    return {"groups": _groups, "counts": _counts, "similar": _similar, "compare": _compare}[
        arguments.command
    ](arguments, store)


def _wanted(arguments: argparse.Namespace) -> Wanted:
    known = ", ".join(ExperimentType)
    if arguments.type and arguments.type not in set(ExperimentType):
        raise StoreError(f"--type {arguments.type!r}: no such type; known: {known}")
    types = (ExperimentType(arguments.type),) if arguments.type else ()
    run, step = parse_run(arguments.run) if arguments.run else (None, None)
    return Wanted(types=types, run=run, split=arguments.split, step=step)


def _groups(arguments: argparse.Namespace, store: FailureStore) -> int:
    page = groups(store, _wanted(arguments), order=arguments.order, limit=arguments.limit)
    if arguments.json:
        return _json(page.rows)
    day = "%Y-%m-%d"
    rows = [
        (g.signature, g.severity, g.kind or g.category, g.failures, _trend(g), f"{g.first_seen:{day}}", f"{g.last_seen:{day}}",
         g.template[:80]) for g in page.rows
    ]  # fmt: skip
    _table(("group", "severity", "what", "failures", "trend", "first seen", "last seen", "like"), rows)
    if page.total > len(page.rows):
        print(f"{page.total - len(page.rows)} more groups; raise --limit")
    return 0


def _counts(arguments: argparse.Namespace, store: FailureStore) -> int:
    found = counts(store, arguments.by, arguments.bucket, _wanted(arguments))
    if arguments.json:
        return _json(found)
    rows = [(_bucket(c), c.name, c.failures, c.tried or "", _share(c)) for c in found]
    _table((arguments.bucket, arguments.by, "failures", "tried", "share"), rows)
    return 0


def _trend(group: Group) -> str:
    if group.shares is None:
        return str(group.trend)
    earlier, later = group.shares
    return f"{group.trend}, {earlier:.1%} -> {later:.1%}"


def _bucket(count: Count) -> str | int:
    """The day or the step that is counted, or "all" when nothing is told apart."""
    if count.at:
        return f"{count.at:%Y-%m-%d %H:%M}"
    return "all" if count.step is None else count.step


def _share(count: Count) -> str:
    if count.share is None or count.low is None or count.high is None:
        return ""
    return f"{count.share:.1%} [{count.low:.1%}, {count.high:.1%}]"


def _similar(arguments: argparse.Namespace, store: FailureStore) -> int:
    found = similar(store, arguments.asked, arguments.limit)
    if arguments.json:
        return _json(found)
    if not found:
        print("nothing stored is like it")
        return 0
    rows = [
        (f"{s.likeness:.2f}", s.group, s.failures, s.template[:60], _cause(s.experiment.failure)[:80])
        for s in found
    ]
    _table(("likeness", "group", "failures", "like", "cause of the latest"), rows)
    return 0


def _cause(failure: Any) -> str:
    return failure.analysis.root_cause if failure else ""


def _compare(arguments: argparse.Namespace, store: FailureStore) -> int:
    found = compare(store, _side(arguments, arguments.before), _side(arguments, arguments.after))
    if arguments.json:
        return _json([found])
    _print_comparison(found)
    return 0


def _side(arguments: argparse.Namespace, text: str) -> Side:
    """RUN or RUN@STEP; a checkpoint of a training run is compared on its greedy test episodes unless told
    otherwise.
    """
    run, step = parse_run(text)
    if step is None:
        return Side(run=run, split=arguments.split, sampling=arguments.sampling)
    return Side(run=run, step=step, split=arguments.split or "test", sampling=arguments.sampling or "t0")


def _print_comparison(found: Comparison) -> None:
    print(f"{found.before} -> {found.after}: {found.scenarios} scenarios tried by both")
    print(
        f"fixed {len(found.fixed)}, introduced {len(found.introduced)}, still failing {len(found.still_failing)}"
    )
    for name, flips in (("fixed", found.fixed), ("introduced", found.introduced)):
        if flips:
            print(f"\n{name}")
            _table(
                ("scenario", "fault", "before", "after", "look at"),
                [_flip(flip) for flip in flips[:SHOWN_FLIPS]],
            )
        if len(flips) > SHOWN_FLIPS:
            print(f"... and {len(flips) - SHOWN_FLIPS} more; --json lists all")
    if found.kinds:
        print("\nscenarios that show each kind of failure")
        _table(("kind", "before", "after"), found.kinds)


def _flip(flip: Flip) -> tuple[Any, ...]:
    def side(one: Any) -> str:
        return f"{one.failed}/{one.tried} failed {', '.join(one.kinds[:2])}".strip()

    return (
        flip.scenario_id,
        flip.fault_type,
        side(flip.before),
        side(flip.after),
        (flip.after.experiments or ("",))[0],
    )


def _json(rows: Iterable[BaseModel]) -> int:
    print(json.dumps([row.model_dump(mode="json") for row in rows], indent=2))
    return 0


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    print(aligned([head, *rows], left=len(head)))

"""Ends a run: reads its episodes once, writes `summary.json`, prints the table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.command_line import printable
from core.episode_store.episodes import BadLine, Key, read
from core.episode_store.failures import FAILURES, Failure, latest_failures
from core.episode_store.run_folder import EPISODES, SUMMARY
from evaluation.run_record import read_run, write_json
from evaluation.summary import Summary, Tally, summarise_tally
from evaluation.tables import summary_table


def conclude(folder: Path) -> int:
    """Summarise a run's folder; returns 1 when samples failed."""
    tally, seen, bad = Tally(), set[Key](), 0
    for item in read(folder / EPISODES):
        if isinstance(item, BadLine):
            bad += 1
            print(printable(f"note: {item}"), file=sys.stderr)
        else:
            seen.add((item.scenario_id, item.sample))
            tally.add(item)
    failures = latest_failures(folder / FAILURES)
    failures = [failure for failure in failures if (failure.scenario_id, failure.sample) not in seen]
    run = read_run(folder)
    summary = summarise_tally(tally, k=int(run["k"]) if "k" in run else None)
    write_json(folder / SUMMARY, to_json(run, summary, failed=len(failures), bad_lines=bad))
    print(summary_table(summary, str(run.get("policy", folder.name))))
    return _tell_failed(failures)


def _tell_failed(failures: Sequence[Failure]) -> int:
    """Say which samples have no episode; returns 1 when some have none."""
    for failure in failures[:3]:
        why = f"{failure.scenario_id}#{failure.sample}: {failure.error}: {failure.message[:300]}"
        print(printable(f"failed: {why}"), file=sys.stderr)
    if failures:
        print(f"{len(failures)} samples have no episode; the same command plays them again", file=sys.stderr)
    return int(bool(failures))


def to_json(run: dict[str, Any], summary: Summary, *, failed: int, bad_lines: int) -> dict[str, Any]:
    """Return the content of `summary.json` (docs/episodes.md)."""
    asked = {name: run.get(name) for name in ("policy", "split", "seed", "judge", "revision")}
    return {**asked, **summary.to_json(), "failed": failed, "bad_lines": bad_lines}

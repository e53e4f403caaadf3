"""The command behind `python -m evaluation export`: stored episodes as one parquet table, a row per episode.

Facts become columns of their own; messages, the report and lists of ids become JSON text or lists, so that
nothing is lost. Reads and writes a batch at a time. The columns are listed in docs/episodes.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.command_line import printable
from core.episode_store.episodes import BadLine, read
from core.episode_store.loading import choose
from core.episode_store.run_folder import RunFolder
from core.episode_store.runs import find_run
from evaluation.summary import SLICES, slices_of
from project_types import ConfigurationError, Episode, Outcome

ROWS_AT_ONCE = 1000
_TEXTS = ("root_cause", "suspected_service", "report", "messages", "metadata")
_IDS = ("shown_log_ids", "shown_trace_ids", "cited_log_ids", "cited_trace_ids")
_KINDS: Mapping[str, Any] = {str(int): pa.int64(), str(float): pa.float64(), str(bool): pa.bool_()}


def schema() -> Any:
    """Return the columns, as a pyarrow schema."""
    facts = [name for name in Outcome.model_fields if name != "ending"]
    columns = {
        **dict.fromkeys(("scenario_id", "split", "policy"), pa.string()),
        "sample": pa.int64(),
        **dict.fromkeys((*SLICES, "ending"), pa.string()),
        **{name: _KINDS[str(Outcome.model_fields[name].annotation)] for name in facts},
        "grounded": pa.bool_(),
        "reward": pa.float64(),
        "reward_components": pa.string(),
        "cost_usd": pa.float64(),
        "judge": pa.string(),
        "verdict_correct": pa.bool_(),
        "verdict_reason": pa.string(),
        "judge_cost_usd": pa.float64(),
        **dict.fromkeys(_TEXTS, pa.string()),
        **dict.fromkeys(_IDS, pa.list_(pa.string())),
    }
    return pa.schema(list(columns.items()))


def row(episode: Episode) -> dict[str, Any]:
    """Return one episode as the columns of `schema`."""
    verdict, report = episode.verdict, episode.report
    return {
        **episode.model_dump(include={"scenario_id", "split", "policy", "sample", "reward", "cost_usd"}),
        **dict.fromkeys(SLICES) | slices_of(episode),
        **episode.outcome.model_dump(mode="json"),
        "grounded": episode.outcome.grounded,
        "reward_components": json.dumps(episode.reward_components),
        "judge": verdict.judge if verdict else None,
        "verdict_correct": verdict.correct if verdict else None,
        "verdict_reason": verdict.reason if verdict else None,
        "judge_cost_usd": verdict.cost_usd if verdict else 0.0,
        "root_cause": report.root_cause if report else None,
        "suspected_service": report.suspected_service if report else None,
        "report": report.model_dump_json() if report else None,
        "messages": json.dumps(episode.messages, ensure_ascii=False),
        "metadata": json.dumps(episode.metadata),
        **{name: list(getattr(episode, name)) for name in _IDS},
    }


def command(arguments: argparse.Namespace) -> int:
    """Write the table, whole or not at all."""
    target: Path = arguments.out
    path, step = find_run(arguments.run)
    source = choose(RunFolder(path), step=step, split=arguments.split, sampling=arguments.sampling)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        count = _write(source.path, target)
    except OSError as trouble:
        raise ConfigurationError(
            f"{target}: cannot be written ({trouble.strerror}); choose another --out"
        ) from trouble
    print(f"{target}: {count} episodes, {len(schema())} columns, {target.stat().st_size} bytes")
    return 0


def _write(source: Path, target: Path) -> int:
    latest = {(item.scenario_id, item.sample): number for number, item in _numbered(source)}
    wanted, count = set(latest.values()), 0
    half = target.with_name(target.name + ".half")
    try:
        with pq.ParquetWriter(half, schema(), compression="zstd") as writer:
            rows = (row(item) for number, item in _numbered(source, complain=True) if number in wanted)
            while batch := list(islice(rows, ROWS_AT_ONCE)):
                writer.write_table(pa.Table.from_pylist(batch, schema()))
                count += len(batch)
        os.replace(half, target)
    finally:
        half.unlink(missing_ok=True)
    return count


def _numbered(source: Path, *, complain: bool = False) -> Iterator[tuple[int, Episode]]:
    """Give the position and the episode of every line that can be read."""
    for number, item in enumerate(read(source)):
        if not isinstance(item, BadLine):
            yield number, item
        elif complain:
            print(printable(f"note: {item}"), file=sys.stderr)

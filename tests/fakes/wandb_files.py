"""Reads back what wandb wrote offline: the records of its `.wandb` files, in wandb's own protobuf classes.

The file is LevelDB's log format (https://github.com/google/leveldb/blob/main/doc/log_format.md) after a
header of 7 bytes; this version of wandb ships no reader of its own for Python. Checksums are not checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER, BLOCK, PREFIX = 7, 32768, 7


def _records(content: bytes) -> Iterator[bytes]:
    assert content[:4] == b":W&B", content[:HEADER]
    at, whole = HEADER, b""
    while at + PREFIX <= len(content):
        if BLOCK - at % BLOCK < PREFIX:  # the rest of a block that no prefix fits into is zeros
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        whole += content[at + PREFIX : at + PREFIX + length]
        at += PREFIX + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


def _unfolded(items: Any) -> dict[str, Any]:
    """Values by name; those of a nested name as a dict."""
    row: dict[str, Any] = {}
    for item in items:
        place, names = row, list(item.nested_key) or [item.key]
        for name in names[:-1]:
            place = place.setdefault(name, {})
        place[names[-1]] = json.loads(item.value_json)
    return row


class OfflineRun:
    """One offline session of a run: its id, configuration, history, artifacts and files."""

    def __init__(self, folder: Path) -> None:
        from wandb.proto.wandb_internal_pb2 import Record

        self.id = self.project = self.job_type = ""
        self.config: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.exit_code: int | None = None
        self.steps: dict[str, str] = {}
        """Metrics (or globs of metrics) that have a metric of ours as their x-axis."""
        self.files = folder / "files"
        (path,) = folder.glob("*.wandb")
        for content in _records(path.read_bytes()):
            record: Any = Record()
            record.ParseFromString(content)
            self._take(record)

    def _take(self, record: Any) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.id, self.project, self.job_type = record.run.run_id, record.run.project, record.run.job_type
            self._configured(record.run.config)
        elif kind == "config":
            self._configured(record.config)
        elif kind == "history":
            self.history.append(_unfolded(record.history.item))
        elif kind == "metric" and record.metric.step_metric:
            self.steps[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "artifact":
            self._logged(record.artifact)
        elif kind == "request" and record.request.WhichOneof("request_type") == "log_artifact":
            self._logged(record.request.log_artifact.artifact)
        elif kind == "exit":
            self.exit_code = record.exit.exit_code

    def _configured(self, config: Any) -> None:
        self.config |= _unfolded(config.update)

    def _logged(self, artifact: Any) -> None:
        files = {entry.path for entry in artifact.manifest.contents}
        self.artifacts[artifact.name] = {
            "type": artifact.type,
            "files": files,
            "metadata": json.loads(artifact.metadata or "{}"),
        }

    def metrics(self) -> set[str]:
        """Every name in the history, without wandb's own."""
        return {name for row in self.history for name in row if not name.startswith("_")}

    def table(self, name: str) -> dict[str, Any]:
        """The last table logged by that name: its columns and data."""
        logged = [row[name] for row in self.history if name in row][-1]
        found: dict[str, Any] = json.loads((self.files / logged["path"]).read_text(encoding="utf-8"))
        return found


def offline_runs(folder: Path) -> list[OfflineRun]:
    """The sessions below a WANDB_DIR, oldest first."""
    return [
        OfflineRun(path)
        for path in sorted(folder.glob("wandb/offline-run-*"), key=lambda path: path.stat().st_mtime_ns)
    ]

"""`ingest`: take in logs of a run from the terminal, and follow plain logs of a run that is still going.

A file or URL that grows is read on from where it was, in whole lines; its rows are stored as they come, so
that queries answer up to now. Archives cannot grow and are read once.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from core.archives import DEFAULT_LIMITS, lines
from core.command_line import printable
from core.downloads import Access, opened
from core.log_stores.contract import LogStore
from core.redaction import redact
from core.sct_logs import Stream, by_column, rows, stream_of
from project_types import ConfigurationError, InvestigatorError
from testrun_investigator.argus import run_id_of
from testrun_investigator.ingestion import State, Task, shown, task_id_of
from testrun_investigator.settings import Settings, read_settings
from testrun_investigator.toolbox import Toolbox

_AT_ONCE = 8 << 20
_LOOK_S = 0.5


def command(arguments: argparse.Namespace) -> int:
    """Ingest, with progress, or follow."""
    run_id = run_id_of(arguments.run_id)
    settings = read_settings()
    named = (Path(one).resolve().parent for one in arguments.source if "://" not in one)
    typed = tuple(folder for folder in named if folder.is_dir())
    settings = settings._replace(log_folders=(*settings.log_folders, *typed))  # a person named them
    toolbox = Toolbox(settings)
    try:
        if arguments.follow:
            follow(toolbox, settings, run_id, arguments.source, arguments.node, arguments.every)
            return 0
        return max(_ingest(toolbox, run_id, one) for one in arguments.source)
    finally:
        toolbox.close()


def _ingest(toolbox: Toolbox, run_id: str, source: str) -> int:
    info = asyncio.run(toolbox.ingest_logs(source, run_id))
    said = ""
    while (task := toolbox.logs.tasks.wait(info.task_id, _LOOK_S)) and task.state == "running":
        line = _progress(task)
        if line != said:
            print(printable(line), flush=True)
            said = line
    assert task is not None
    print(printable(_ended(task)), flush=True)
    return int(task.state != "done")


def _progress(task: Task) -> str:
    share = "" if task.share is None else f"{100 * task.share:3.0f} %  "
    return f"{share}{task.counts.get('rows', 0):>10,} rows  {task.file}"


def _ended(task: Task) -> str:
    counts = ", ".join(f"{number:,} {name}" for name, number in sorted(task.counts.items()))
    told = [f"{task.state}: {counts}{' ' + task.error if task.error else ''}"]
    told += [f"  left out {one.name}: {one.why}" for one in task.skipped]
    return "\n".join(told)


# ---------------------------------------------------------------------------------------------------- follow


def follow(
    toolbox: Toolbox, settings: Settings, run_id: str, sources: Sequence[str], node: str, every_s: float
) -> None:
    """Read on until it is stopped. What cannot be read now is told and tried again.

    To the tools each log is an ingestion that is still running, and one that is done when this ends.
    """
    tails = [Tail(run_id, source, node, settings.access) for source in sources]
    store, tasks = toolbox.logs.open_store(run_id), toolbox.logs.tasks
    try:
        while True:
            for tail in tails:
                if said := _looked(tail, store):
                    print(printable(said), flush=True)
                tasks.note(tail.task("running"))
            time.sleep(every_s)
    finally:
        for tail in tails:
            tasks.note(tail.task("done"))


def _looked(tail: Tail, store: LogStore) -> str:
    """Read what came since and return what is to be said of it. A trouble that goes on is said once."""
    try:
        number = tail.more(store)
    except InvestigatorError as trouble:
        before, tail.trouble = tail.trouble, redact(str(trouble))
        return "" if tail.trouble == before else f"{tail.name}: {tail.trouble}"
    tail.trouble = ""
    return f"{tail.name}: {number} more rows, {tail.at:,} bytes read" if number else ""


class Tail:
    """A plain log that grows."""

    def __init__(self, run_id: str, source: str, node: str, access: Access) -> None:
        path = source.partition("?")[0]
        self.name = path.rpartition("/")[2]
        stream, why = stream_of(self.name)
        if stream is None or self.name.endswith((".zst", ".gz", ".tgz", ".tar")):
            raise ConfigurationError(
                f"{self.name}: cannot be followed ({why or 'it is packed'}); give a plain log"
            )
        self._stream: Stream = stream
        folder = node or path.rpartition("/")[0].rpartition("/")[2]
        self._named = f"{folder}/{self.name}" if folder else self.name
        self._run_id, self._source, self._access = run_id, source, access
        self.at = 0
        """Bytes that were read and stored."""
        self.trouble = ""
        """Why it cannot be read now."""
        self._lines = self._rows = 0
        self._began = datetime.now(UTC)

    def more(self, store: LogStore) -> int:
        """Store the whole lines that came since; returns how many rows they made."""
        with opened(self._source, self._access, self.at) as source:
            if source.total is not None and source.total < self.at:  # it was replaced by a shorter one
                self.at = self._lines = 0
                return 0
            new = b"".join(iter(lambda: source.read(_AT_ONCE), b""))
        whole = new[: new.rfind(b"\n") + 1]
        if not whole:
            return 0
        counts: Counter[str] = Counter()
        content = lines(io.BytesIO(whole), DEFAULT_LIMITS)
        found = list(rows(self._run_id, self._named, self._stream, content, counts, self._lines + 1))
        store.ingest(by_column(found))
        self.at += len(whole)
        self._lines += counts["lines"]
        self._rows += len(found)
        return len(found)

    def task(self, state: State) -> Task:
        """Return how far it is, as the tools see it."""
        return Task(
            id=task_id_of(self._run_id, self._source),
            run_id=self._run_id,
            source=shown(self._source),
            state=state,
            began=self._began,
            pid=os.getpid(),
            bytes_read=self.at,
            file=self._named,
            counts={"rows": self._rows},
            streams={self._stream: self._rows},
            error=self.trouble,
        )

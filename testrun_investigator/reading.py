"""Read an archive of logs, in a process of its own where that is worth it.

Python runs one thread at a time. Reading a large archive in the server's process would make every tool call
wait for it, again and again. So another process downloads, unpacks, reads and orders the rows, while this one
stores those that came before. What it finds comes as messages of plain values. The process ends with the one
that started it. Storing rows and telling how far it is are `ingestion`.
"""

from __future__ import annotations

import marshal
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from core.archives import DEFAULT_LIMITS, lines, members
from core.downloads import Access, Source, opened
from core.log_stores.line_columns import LineColumns
from core.redaction import redact
from core.sct_logs import Row, by_column, rows, stream_of
from project_types import InvestigatorError
from testrun_investigator.local_prometheus import is_snapshot, unpack_snapshot
from testrun_investigator.metrics import mark_ready

BATCH = 10_000
_SMALL_BYTES = 256 << 10
"""Starting a process takes longer than reading a file of this size."""
_ROOT = Path(__file__).parent.parent
_LENGTH_BYTES = 4


class ReadingError(InvestigatorError):
    """A source cannot be read to its end. The text says why."""


class Begun(NamedTuple):
    """The source is open."""

    total: int | None
    """Its size in bytes, where it is known."""
    is_logs: bool
    """False for a snapshot of metrics, which has no rows."""


class NextFile(NamedTuple):
    """A file begins."""

    name: str
    bytes_read: int


class Skipped(NamedTuple):
    """A file is passed over."""

    name: str
    why: str


class Batch(NamedTuple):
    """Rows of one file, and what was counted so far."""

    columns: LineColumns
    stream: str
    counts: Mapping[str, int]
    bytes_read: int


class Ended(NamedTuple):
    """All is read."""

    counts: Mapping[str, int]


class _Failed(NamedTuple):
    why: str


Message = Begun | NextFile | Skipped | Batch | Ended
_KINDS: Mapping[str, Any] = {
    kind.__name__: kind for kind in (Begun, NextFile, Skipped, Batch, Ended, _Failed)
}


class Request(NamedTuple):
    """What is to be read."""

    url: str
    run_id: str
    metrics: str
    """The folder that a snapshot of metrics is unpacked into."""
    access: Access


# ---------------------------------------------------------------------------------------------------- reading


def read(request: Request) -> Iterator[Message]:
    """Read an archive or a bare log to its end.

    Raises:
        ArchiveError, DownloadError: the source is damaged, cut short or refused.
    """
    with opened(request.url, request.access) as source:
        is_logs = not is_snapshot(source.name)
        yield Begun(source.total, is_logs)
        if is_logs:
            yield from _read_logs(source, request.run_id)
        else:
            _unpack_metrics(source, Path(request.metrics))
            yield Ended({"metrics": 1})


def _unpack_metrics(source: Source, folder: Path) -> None:
    """A monitor's archive holds no rows: its snapshot of Prometheus is unpacked beside the run's logs."""
    shutil.rmtree(folder, ignore_errors=True)
    mark_ready(folder, unpack_snapshot(source, source.name, folder))


def _read_logs(source: Source, run_id: str) -> Iterator[Message]:
    counts: Counter[str] = Counter()
    for member in members(source, source.name, DEFAULT_LIMITS):
        stream, why = stream_of(member.name)
        if stream is None:
            counts["skipped_files"] += 1
            yield Skipped(member.name, why)
            continue
        yield NextFile(member.name, source.taken)
        # a batch never spans two files: a line without a clock takes the time of its neighbour
        found = rows(run_id, member.name, stream, lines(member.content, DEFAULT_LIMITS), counts)
        for batch in _batches(found):
            yield Batch(by_column(batch), stream, dict(counts), source.taken)
    yield Ended(dict(counts))


def _batches(found: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in found:
        batch.append(row)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


# ----------------------------------------------------------------------------------------- in another process


@contextmanager
def messages(request: Request) -> Iterator[Iterator[Message]]:
    """Give what is found in a source, as it is found. Leaving ends the reading.

    Raises:
        InvestigatorError: the source is damaged, cut short or refused; raised by the iterator.
    """
    if _is_small_file(request.url):
        yield read(request)
        return
    command = [sys.executable, "-P", "-m", "testrun_investigator.reading"]
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # whoever types Ctrl-C means the server
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        try:
            yield _received(process, request)
        finally:
            process.kill()


def _is_small_file(url: str) -> bool:
    try:
        return len(urlsplit(url).scheme) < 2 and Path(url).stat().st_size <= _SMALL_BYTES
    except (OSError, ValueError):
        return False


def _received(process: subprocess.Popen[bytes], request: Request) -> Iterator[Message]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _send(process.stdin, _plain(request))
    except OSError as trouble:
        raise _ended_early(process) from trouble
    while True:
        message = _next(process.stdout)
        if message is None:
            raise _ended_early(process)
        if isinstance(message, _Failed):
            raise ReadingError(message.why)
        yield message
        if isinstance(message, Ended):
            return


def _ended_early(process: subprocess.Popen[bytes]) -> ReadingError:
    code = process.wait()
    return ReadingError(
        f"the process that reads the logs ended early (exit code {code}); memory may be short: call ingest_logs again"
    )


def _next(stream: IO[bytes]) -> Any:
    length = stream.read(_LENGTH_BYTES)
    if len(length) < _LENGTH_BYTES:
        return None
    content = stream.read(int.from_bytes(length, "little"))
    try:
        name, fields = marshal.loads(content)
    except (EOFError, ValueError, TypeError):  # cut short: it was killed
        return None
    if name == Batch.__name__:
        return Batch(LineColumns._make(fields[0]), *fields[1:])
    return _KINDS[name](*fields)


def _send(stream: IO[bytes], value: Any) -> None:
    content = marshal.dumps(value)
    stream.write(len(content).to_bytes(_LENGTH_BYTES, "little"))
    stream.write(content)
    stream.flush()


def _plain(request: Request) -> tuple[Any, ...]:
    """The request as marshal takes it."""
    access = request.access
    headers = {name: dict(fields) for name, fields in access.headers.items()}
    folders = tuple(map(str, access.folders))
    rest = tuple(access[3:])
    return request.url, request.run_id, request.metrics, (access.private_hosts, folders, headers, *rest)


def _request(plain: tuple[Any, ...]) -> Request:
    url, run_id, metrics, (hosts, folders, *rest) = plain
    return Request(url, run_id, metrics, Access(hosts, tuple(map(Path, folders)), *rest))


def _send_message(message: Message | _Failed) -> None:
    fields: tuple[Any, ...] = tuple(message)
    if isinstance(message, Batch):
        fields = (tuple(message.columns), *message[1:])  # marshal takes no named tuple
    _send(sys.stdout.buffer, (type(message).__name__, fields))


def _end_with_parent() -> None:
    """Wait until the other end of stdin is gone: nobody hears what is read any longer."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """Read what the request on stdin names, and write messages to stdout."""
    length = int.from_bytes(os.read(0, _LENGTH_BYTES), "little")
    plain = marshal.loads(_whole(length))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        for message in read(_request(plain)):
            _send_message(message)
    except InvestigatorError as trouble:
        _send_message(_Failed(str(trouble)))
    except BrokenPipeError:
        os._exit(1)
    except Exception as bug:
        said = f"{type(bug).__name__} in the reading of logs; this is a bug: {redact(str(bug))[:300]}"
        _send_message(_Failed(said))
        raise


def _whole(length: int) -> bytes:
    """Read so many bytes from stdin, and none that come later."""
    content = b""
    while len(content) < length and (more := os.read(0, length - len(content))):
        content += more
    return content


if __name__ == "__main__":
    main()

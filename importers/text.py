"""Plain logs of any program: a folder of files becomes one incident.

What a file looks like is found by looking at its first lines: what carries them, whether they have clocks,
and so which lines continue the one before (a stack trace, a pretty-printed object). The service is what a
line says, or what carried it, or the file's name without what names a pod or a day. Files that are no text
are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from core.archives import Line
from core.service_names import UNNAMED, service_name, workload
from importers.carriers import Carried, carried, carriers_of
from importers.counting import Counts
from importers.draft import MOST_MESSAGE, Draft, Output
from importers.levels import level_in
from importers.options import Options
from importers.reading import Source, SourceFile
from importers.rows import LogRow
from importers.text_formats import Forms, Said, Setting, plain

_SAMPLE = 300
"""Lines that are looked at."""
CLOCKED_SHARE = 0.2
"""Share of the lines with a clock of their own from which on a line without one continues the one before."""
_CONTINUES = re.compile(
    r"\s+\S|at [\w.$<>/]+[(\[:]|Caused by: |Suppressed: |\.\.\. \d+ (?:more|common)|[})\]]+[,;]?$|goroutine \d+ \["
    r"|created by \S+|[\w./*()-]+\((?:0x[0-9a-f]+|\.\.\.|\{)|Traceback \(most recent call last\)|During handling of the above"
    r"|(?:[a-z]\w*\.)+[A-Z]\w*(?:Exception|Error)\b|[A-Z]\w*(?:Error|Exception): "
)
"""How a line begins that continues another one."""
_NOT_TEXT = re.compile(
    r"\.(?:png|jpe?g|gif|pdf|so|jar|class|pyc|db|sqlite|parquet|bin|exe|woff2?|zip|7z|bz2)$", re.IGNORECASE
)


def read(source: Source, output: Output, options: Options) -> None:
    """Write one incident of all files."""
    with output.incident(f"text {source.where}") as draft:
        for file in source.files():
            draft.next_file()
            read_file(source, file, draft, options)


def read_file(source: Source, file: SourceFile, draft: Draft, options: Options) -> None:
    """Take the rows of one file into a draft."""
    if _NOT_TEXT.search(file.name):
        source.counts.drop("file that is no text")
        return
    lines = source.lines(file)
    sample = list(islice(lines, _SAMPLE))
    if any(b"\0" in line.text for line in sample[:20]):
        source.counts.drop("file that is no text")
        return
    service = options.service or service_of_file(file.path_parts, file.shared)
    log = _Log(sample, Setting(file.modified, options.utc_offset), service, source.counts)
    for row in log.rows(chain(sample, lines)):
        draft.log(row)


# ------------------------------------------------------------------------------------------- names of files

_GENERIC = {
    "log", "logs", "app", "application", "server", "service", "main", "out", "stdout", "stderr", "output", "console",
    "current", "previous", "messages", "error", "errors", "access", "container", "all", "data", "events", "run", "test",
    "raw", "tmp", "temp", "var", "pods", "containers",
}  # fmt: skip
"""Names of files and folders that name no service."""
_ENDINGS = re.compile(
    r"(?:[._-](?:log|logs|txt|json|jsonl|ndjson|out|err|gz|zst|xz|\d{1,3}|\d{4}-?\d\d-?\d\d(?:[T_-]?\d\d[-:]?\d\d(?:[-:]?\d\d)?)?"
    r"|current|previous))+$",
    re.IGNORECASE,
)
_CONTAINER_FILE = re.compile(
    r"(?P<pod>[a-z0-9.-]+)_(?P<namespace>[a-z0-9-]+)_(?P<container>[a-z0-9-]+)-[0-9a-f]{12,64}"
)
_POD_FOLDER = re.compile(r"[a-z0-9-]+_(?P<pod>[a-z0-9.-]+)_[0-9a-f-]{8,36}")


def service_of_file(parts: tuple[str, ...], shared: int = 0) -> str:
    """Return the service that a file's path names, its own name first.

    Its first `shared` folders hold every other file too, so they name no service, unless they are a pod's.
    """
    stem = _ENDINGS.sub("", parts[-1])
    if found := _CONTAINER_FILE.fullmatch(stem):  # /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log
        return service_name(workload(found["pod"]))
    for part in reversed((*parts[:-1], stem)):
        if found := _POD_FOLDER.fullmatch(part):  # /var/log/pods/NAMESPACE_POD_UID/CONTAINER/0.log
            return service_name(workload(found["pod"]))
    for part in (stem, *reversed(parts[shared:-1])):
        name = workload(_ENDINGS.sub("", part).strip("._-"))
        if name and name.lower() not in _GENERIC and not name.isdecimal():
            return service_name(name)
    return UNNAMED


# ------------------------------------------------------------------------------------------------------ rows


class _Pending:
    """A row that may go on."""

    def __init__(self, line: Carried, said: Said | None) -> None:
        self.line, self.said = line, said
        self.more: list[str] = []
        self.length = 0

    def join(self, text: str) -> None:
        if self.length < MOST_MESSAGE:
            self.more.append(text)
            self.length += len(text)

    def row(self, service: str) -> LogRow:
        line, said = self.line, self.said or plain(self.line.text, self.line.text, None)
        message = "\n".join((said.message, *self.more)) if self.more else said.message
        return LogRow(
            # the clock of who carried a line has a zone, the program's own often has none
            said.at_ns if line.at_ns is None else line.at_ns,
            said.service or line.service or service,
            level_in(message) if said.level == "UNKNOWN" else said.level,
            message,
            said.trace_id,
            said.span_id,
            said.attributes,
        )


class _Log:
    """One file: how its lines are read, and which of them belong together."""

    def __init__(self, sample: Iterable[Line], setting: Setting, service: str, counts: Counts) -> None:
        texts = [_decoded(line) for line in sample]
        self._carriers = carriers_of(texts)
        self._forms, self._service, self._counts = Forms(setting), service, counts
        bare = [carried(text, self._carriers).text for text in texts]
        starts = [text for text in bare if text.strip() and not _CONTINUES.match(text)]
        clocked = sum(self._forms.read(text) is not None for text in starts)
        self._clocked = clocked >= CLOCKED_SHARE * len(starts) and clocked > 0

    def rows(self, lines: Iterable[Line]) -> Iterator[LogRow]:
        """Yield the rows, each when the next one of its stream begins."""
        pending: dict[tuple[str | None, str], _Pending] = {}
        parts: dict[str, Carried] = {}
        for line in lines:
            text = _decoded(line)
            if not text.strip():
                self._counts.drop("empty line")
                continue
            found = carried(text, self._carriers)
            whole = self._whole(found, parts)
            if whole is None:
                continue
            key = whole.service, whole.stream
            said = self._forms.read(whole.text)
            if said is None and key in pending and self._continues(whole.text):
                self._counts.joined += 1
                pending[key].join(whole.text)
                continue
            if key in pending:
                yield self._finished(pending[key])
            pending[key] = _Pending(whole, said)
        for left in pending.values():
            yield self._finished(left)
        for part in parts.values():
            self._counts.repair("line whose last part is missing")
            yield _Pending(part, None).row(self._service)

    def _finished(self, pending: _Pending) -> LogRow:
        row = pending.row(self._service)
        if row.at_ns is None:
            self._counts.repair("row without a clock placed behind the one before")
        return row

    def _whole(self, found: Carried, parts: dict[str, Carried]) -> Carried | None:
        """Put the parts of a long line together; None while it goes on."""
        before = parts.pop(found.stream, None)
        if before is not None:
            self._counts.joined += 1
            found = found._replace(text=(before.text + found.text)[: 4 * MOST_MESSAGE], at_ns=before.at_ns)
        if found.is_part:
            parts[found.stream] = found
            return None
        return found

    def _continues(self, text: str) -> bool:
        return self._clocked or _CONTINUES.match(text) is not None


def _decoded(line: Line) -> str:
    return line.text.decode("utf-8", "replace").rstrip("\r\n").lstrip("\ufeff")

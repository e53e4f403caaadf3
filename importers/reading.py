"""The one streaming reader: the files of a folder, an archive or a URL, as lines,
JSON elements or table rows.

Packed files are unpacked on the way (`core.archives`), so memory does not grow with a source. What is read is
counted, and shown as progress. Not here: what a line means (each format's module).
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from core.archives import DEFAULT_LIMITS, Line, RawStream, Readable, extract, members
from core.archives import lines as archive_lines
from core.downloads import Access, opened
from importers.counting import Counts, ImportTrouble
from importers.json_elements import Element, elements

LIMITS = DEFAULT_LIMITS._replace(total_bytes=256 << 30)
_MOST_CELL = 1 << 20
"""Characters of one cell of a table; a stack trace of 16 kB is normal."""


class SourceFile(NamedTuple):
    """One file of a source, unpacked."""

    name: str
    """Path below the source; what is inside an archive follows a `!`."""
    content: Readable
    modified: datetime
    """When the file, or the archive it lies in, was written last."""
    shared: int = 0
    """Its first folders that tell it from no other file. They may be named after the answer."""

    @property
    def path_parts(self) -> tuple[str, ...]:
        """Folders and name, archives left out."""
        return tuple(self.name.rpartition("!")[2].split("/"))


class Source:
    """What is imported: a file, a folder, an archive or the URL of one."""

    def __init__(self, where: str, counts: Counts, *, progress: bool = False) -> None:
        self.where, self.counts, self.progress = where, counts, progress
        self.is_url = urlsplit(where).scheme in ("http", "https")
        if not self.is_url and not Path(where).exists():
            raise ImportTrouble(f"{where}: does not exist; check the path")
        if not (self.is_url or Path(where).is_dir() or Path(where).is_file()):  # a pipe would be waited for
            raise ImportTrouble(f"{where}: is neither a file nor a folder; write it to a file and give that")

    @property
    def path(self) -> Path:
        """Return the file or folder. Raises ImportTrouble for a URL."""
        if self.is_url:
            raise ImportTrouble(f"{self.where}: this format is read from files; download it first")
        return Path(self.where)

    def files(self) -> Iterator[SourceFile]:
        """Yield every file. Each is read before the next is asked for.

        Raises:
            ArchiveError, DownloadError: a file is damaged, cut short or cannot be read.
        """
        places = self._places()
        shared = _shared([name for _, name in places])
        with _bar(self) as bar:
            for where, name in places:
                with opened(where, self._access()) as stream:
                    self.counts.bytes += stream.total or 0
                    watched = _Watched(stream, bar)
                    path = None if self.is_url else Path(where)
                    for member in members(watched, name, LIMITS):
                        self.counts.files += 1
                        alike = _named_as_archive(member.name) if "!" in member.name else shared
                        yield SourceFile(member.name, member.content, _modified(path), alike)

    def _places(self) -> list[tuple[str, str]]:
        """Where each file lies, and what it is called."""
        if self.is_url:
            return [(self.where, urlsplit(self.where).path.rpartition("/")[2] or "download")]
        if self.path.is_file():
            return [(self.where, self.path.name)]
        return [(str(path), path.relative_to(self.path).as_posix()) for path in files_below(self.path)]

    def _access(self) -> Access:
        if self.is_url:  # whoever types an address means it, also when it is a private one
            host = urlsplit(self.where).netloc.rpartition("@")[2]
            return Access(private_hosts=frozenset({host}), takes_json=True)
        return Access(folders=(self.path if self.path.is_dir() else self.path.parent,))

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give the source as a folder on disk: itself, or a temporary one that an archive is unpacked into.

        Data sets of many files that speak of one another are read from here.
        """
        if not self.is_url and self.path.is_dir():
            self.counts.bytes += sum(path.stat().st_size for path in files_below(self.path))
            yield self.path
            return
        scratch = Path(tempfile.mkdtemp(prefix="import-"))
        try:
            for where, name in self._places():
                with _bar(self) as bar, opened(where, self._access()) as stream:
                    self.counts.bytes += stream.total or 0
                    extract(_Watched(stream, bar), name, scratch, LIMITS)
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    # -------------------------------------------------------------------------------------- kinds of content

    def lines(self, file: SourceFile) -> Iterator[Line]:
        """Yield the lines of a file, and count them."""
        for line in archive_lines(file.content, LIMITS):
            self.counts.lines += 1
            if line.cut:
                self.counts.repair("line of more than 1 MB cut")
            yield line

    def elements(self, file: SourceFile, wanted: Sequence[tuple[str, ...]]) -> Iterator[Element]:
        """Yield what stands at the wanted paths of a file's JSON documents, and count it.

        Raises:
            ImportTrouble: the file is not JSON.
        """
        for element in elements(file.content, file.name, wanted):
            self.counts.lines += 1
            yield element

    def table(self, file: SourceFile, needed: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Yield line number and cells of a CSV file, and count the rows.

        Raises:
            ImportTrouble: a needed column is missing.
        """
        yield from table(text_of(file.content), file.name, needed, self.counts)

    def open_table(self, path: Path, needed: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Yield line number and cells of a CSV file on disk, packed or not, and count the rows."""
        with path.open("rb") as packed:
            for member in members(packed, path.name, LIMITS):
                self.counts.files += 1
                yield from table(text_of(member.content), str(path), needed, self.counts)


def table(
    text: IO[str], name: str, needed: Sequence[str], counts: Counts
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield line number and cells of each row of a CSV text."""
    csv.field_size_limit(_MOST_CELL)
    rows = csv.reader(line.replace("\0", "") for line in text)
    head = next(rows, None)
    if head is None:
        counts.drop("empty file")
        return
    head = [cell.strip().lstrip("\ufeff") for cell in head]
    if missing := [column for column in needed if column not in head]:
        raise ImportTrouble(f"{name}:1: has no column {missing[0]!r}; its columns: {', '.join(head)[:300]}")
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as trouble:
            counts.drop(f"unreadable table row ({trouble})")
            continue
        if cells is None:
            return
        counts.lines += 1
        if len(cells) != len(head):
            counts.drop("table row with another number of cells")
        else:
            # of two columns of one name the first counts
            yield rows.line_num, dict(zip(reversed(head), reversed(cells), strict=True))


def text_of(content: Readable) -> IO[str]:
    """Return the content as text; bytes that are no UTF-8 are replaced."""
    return io.TextIOWrapper(
        io.BufferedReader(RawStream(content), 1 << 18), encoding="utf-8", errors="replace", newline=""
    )


HEAD_BYTES = 16 << 10


class _Peeked:
    """Content whose beginning was looked at."""

    def __init__(self, content: Readable) -> None:
        self._content, self.head = content, b""
        while len(self.head) < HEAD_BYTES and (more := content.read(HEAD_BYTES - len(self.head))):
            self.head += more
        self._ahead = self.head

    def read(self, size: int, /) -> bytes:
        if not self._ahead:
            return self._content.read(size)
        got, self._ahead = self._ahead[:size], self._ahead[size:]
        return got


def peeked(file: SourceFile) -> tuple[bytes, SourceFile]:
    """Return how a file begins, and the file to be read from its beginning."""
    content = _Peeked(file.content)
    return content.head, file._replace(content=content)


def files_below(folder: Path) -> list[Path]:
    """Return the files of a folder and its folders by name, hidden ones left out."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in found if not _is_hidden(path.relative_to(folder)))


def _is_hidden(path: Path) -> bool:
    return any(part[0] == "." for part in path.parts)


def _shared(names: Sequence[str]) -> int:
    """Return how many leading folders all files have in common."""
    levels = zip(*(name.split("/")[:-1] for name in names), strict=False)  # as many as every file has
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))


def _named_as_archive(name: str) -> int:
    """Return 1 where the first folder in an archive has the archive's own name, as
    `tar -cf x.tar x/` makes it.
    """
    archive, _, inner = name.rpartition("!")
    return int(inner.startswith(f"{PurePosixPath(archive).stem}/"))


def _modified(path: Path | None) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path else datetime.now(UTC)


class _Watched:
    """A stream that moves the progress bar."""

    def __init__(self, stream: Readable, bar: Any) -> None:
        self._stream, self._bar = stream, bar

    def read(self, size: int, /) -> bytes:
        got = self._stream.read(size)
        if self._bar is not None:
            self._bar.update(len(got))
        return got


@contextmanager
def _bar(source: Source) -> Iterator[Any]:
    """Show how many bytes are read."""
    if not source.progress:
        yield None
        return
    from tqdm import tqdm

    total = None
    if not source.is_url:
        paths = [source.path] if source.path.is_file() else files_below(source.path)
        total = sum(path.stat().st_size for path in paths)
    with tqdm(total=total, unit="B", unit_scale=True, desc="reading", disable=None, leave=False) as bar:
        yield bar

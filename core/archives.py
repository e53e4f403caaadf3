"""Read archives of logs as streams: zstd, gzip, xz and tar, whatever is nested in whatever.

The bytes may come from anybody. So nothing is written to disk by reading, only one block is held in memory,
and limits on size, ratio, depth and count stop an archive that unpacks without end. A stream that ends early
is an error and never a shorter file. Where the bytes come from is `core.downloads`; what the lines mean is
the reader's business.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol, Self

import zstandard

from project_types import InvestigatorError

BLOCK_BYTES = 256 << 10
_ZSTD, _GZIP, _XZ = b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\xfd7zX"
_TAR_MAGIC_AT, _TAR_MAGIC = 257, b"ustar"
_HEADER_BYTES = 1 << 20
"""Most that tarfile may read between two members: a header with long names, never a gigabyte of them."""
_ZSTD_FEED_BYTES = 1024
"""A zstd block of 4 bytes can stand for 128 KiB, so one feed unpacks to 32 MiB at most."""
_ZSTD_WINDOW_BYTES = 128 << 20
_XZ_MEMORY_BYTES = 256 << 20


class ArchiveError(InvestigatorError):
    """An archive is damaged, cut short, or unpacks to more than it may. The text says what and where."""


class Limits(NamedTuple):
    """What an archive may ask for."""

    total_bytes: int = 64 << 30
    """Unpacked bytes of the whole archive."""
    ratio: int = 2000
    """Unpacked bytes per packed byte, once `free_bytes` are unpacked. Real logs stay below 200."""
    free_bytes: int = 64 << 20
    members: int = 20_000
    depth: int = 3
    """Archives inside archives."""
    line_bytes: int = 1 << 20
    """A longer line is cut."""


DEFAULT_LIMITS = Limits()


class Readable(Protocol):
    """Something with `read`; an empty answer is the end."""

    def read(self, size: int, /) -> bytes: ...


class Member(NamedTuple):
    """One file of an archive. `content` is read to its end before the next member is asked for."""

    name: str
    content: Readable


class Line(NamedTuple):
    """One line without its newline."""

    text: bytes
    cut: bool = False
    """It was longer than the limit; `text` is its beginning."""


class _Peekable:
    """A stream whose first bytes can be looked at. It counts what was read."""

    def __init__(self, source: Readable) -> None:
        self._source, self._ahead, self.taken = source, b"", 0

    def peek(self, size: int) -> bytes:
        while len(self._ahead) < size and (more := self._source.read(size - len(self._ahead))):
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int, /) -> bytes:
        got = self._ahead[:size] or self._source.read(size)
        self._ahead = self._ahead[size:]
        self.taken += len(got)
        return got


class _Unpacked:
    """Unpacked bytes of a compressed stream, checked against the limits block by block."""

    def __init__(self, packed: _Peekable, pieces: Iterator[bytes], name: str, limits: Limits) -> None:
        self._packed, self._pieces, self._name, self._limits = packed, pieces, name, limits
        self._ahead, self._given = b"", 0

    def read(self, size: int, /) -> bytes:
        while not self._ahead:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._ahead = piece
            self._check(len(piece))
        got, self._ahead = self._ahead[:size], self._ahead[size:]
        return got

    def _check(self, more: int) -> None:
        self._given += more
        allowed = max(self._limits.free_bytes, self._limits.ratio * self._packed.taken)
        if self._given > self._limits.total_bytes or self._given > allowed:
            raise ArchiveError(
                f"{self._name}: unpacks to more than {min(allowed, self._limits.total_bytes):,} bytes from "
                f"{self._packed.taken:,}; it is refused as an archive bomb"
            )


def _zstd_pieces(packed: Readable, name: str) -> Iterator[bytes]:
    """Unpack frame after frame. A frame that does not end is an error."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    frame, fed = unpacker.decompressobj(), False
    try:
        while chunk := packed.read(_ZSTD_FEED_BYTES):
            while chunk:
                piece, fed = frame.decompress(chunk), True
                chunk = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame, fed = unpacker.decompressobj(), False
                if piece:
                    yield piece
    except zstandard.ZstdError as trouble:
        raise ArchiveError(f"{name}: is damaged ({trouble}); download it again") from trouble
    if fed:
        raise ArchiveError(f"{name}: ends in the middle of a zstd frame; download it again")


class RawStream(io.RawIOBase):
    """What GzipFile, tarfile and io's buffers want to read from."""

    def __init__(self, source: Readable) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        got = self._source.read(len(buffer))
        buffer[: len(got)] = got
        return len(got)


def _gzip_pieces(packed: Readable, name: str) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=io.BufferedReader(RawStream(packed))) as unpacked:
            while piece := unpacked.read1(BLOCK_BYTES):
                yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as trouble:
        raise _damaged(name, trouble) from trouble


def _xz_pieces(packed: Readable, name: str) -> Iterator[bytes]:
    """Unpack the one stream of an xz file."""
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
    try:
        while not unpacker.eof:
            chunk = packed.read(BLOCK_BYTES) if unpacker.needs_input else b""
            if unpacker.needs_input and not chunk:
                raise ArchiveError(f"{name}: ends in the middle of an xz stream; download it again")
            if piece := unpacker.decompress(chunk, BLOCK_BYTES):
                yield piece
    except lzma.LZMAError as trouble:
        raise ArchiveError(f"{name}: is damaged ({trouble}); download it again") from trouble


def members(
    source: Readable,
    name: str,
    limits: Limits = DEFAULT_LIMITS,
    _depth: int = 0,
    _seen: list[int] | None = None,
) -> Iterator[Member]:
    """Yield the files in a stream, in the order they are packed. A plain file is its own only member.

    Archives inside an archive are opened too, as `outer!inner`; one nested deeper than the limit is yielded
    as it is.

    Raises:
        ArchiveError: the archive is damaged, cut short, or breaks a limit.
    """
    seen = [0] if _seen is None else _seen
    stream = _Peekable(source)
    pieces = _pieces(stream, name) if _depth <= limits.depth else None
    if pieces is not None:
        unpacked = _Unpacked(stream, pieces, name, limits)
        yield from members(unpacked, _without_packing(name), limits, _depth + 1, seen)
    elif _depth <= limits.depth and _is_tar(stream):
        for member in _tar_members(stream, name, limits, seen):
            yield from members(member.content, member.name, limits, _depth + 1, seen)
    else:
        yield Member(name, stream)


def _pieces(stream: _Peekable, name: str) -> Iterator[bytes] | None:
    magic = stream.peek(4)
    if magic == _ZSTD:
        return _zstd_pieces(stream, name)
    if magic == _XZ:
        return _xz_pieces(stream, name)
    return _gzip_pieces(stream, name) if magic[:2] == _GZIP else None


def _is_tar(stream: _Peekable) -> bool:
    return stream.peek(_TAR_MAGIC_AT + len(_TAR_MAGIC))[_TAR_MAGIC_AT:] == _TAR_MAGIC


def _without_packing(name: str) -> str:
    for ending in (".zst", ".gz", ".xz"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return f"{name[:-4]}.tar" if name.lower().endswith(".tgz") else name


class _HeaderBudget:
    """Stops tarfile from collecting a header without end. Content is not counted: it is read in blocks."""

    def __init__(self, source: Readable, name: str) -> None:
        self._source, self._name, self.left = source, name, _HEADER_BYTES

    def read(self, size: int, /) -> bytes:
        self.left -= size
        if self.left < 0:
            raise ArchiveError(f"{self._name}: a header in this tar file is too large; it is refused")
        return self._source.read(size)


class _Content:
    """The bytes of one tar member, given out in blocks."""

    def __init__(self, file: Readable, budget: _HeaderBudget, name: str) -> None:
        self._file, self._budget, self._name = file, budget, name

    def read(self, size: int, /) -> bytes:
        size = min(size, BLOCK_BYTES)
        self._budget.left = size + _HEADER_BYTES
        try:
            return self._file.read(size)
        except tarfile.TarError as trouble:
            raise _damaged(self._name, trouble) from trouble


class _CheckedHeader(tarfile.TarInfo):
    """A header of a tar file. One that is cut or damaged is an error, where tarfile takes it for the end."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark at the end
            raise
        except tarfile.HeaderError as trouble:
            raise tarfile.ReadError(str(trouble)) from trouble


def _damaged(name: str, trouble: Exception) -> ArchiveError:
    return ArchiveError(f"{name}: is damaged or cut short ({trouble}); download it again")


def _tar_members(stream: Readable, name: str, limits: Limits, seen: list[int]) -> Iterator[Member]:
    """Yield the regular files of a tar stream. Links, devices and folders are passed over."""
    budget = _HeaderBudget(stream, name)
    try:
        with tarfile.open(
            fileobj=RawStream(budget), mode="r|", bufsize=64 << 10, tarinfo=_CheckedHeader
        ) as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has seen
                seen[0] += 1
                if seen[0] > limits.members:
                    raise ArchiveError(f"{name}: holds more than {limits.members:,} files; it is refused")
                # a sparse file claims bytes that are not in the stream, so no limit would see them
                file = tar.extractfile(info) if info.isreg() and not info.issparse() else None
                if file is not None:
                    content = _Content(file, budget, name)
                    yield Member(f"{name}!{safe_name(info.name)}", content)
                    _drain(content)
                budget.left = _HEADER_BYTES
    except tarfile.TarError as trouble:
        raise _damaged(name, trouble) from trouble


def _drain(content: Readable) -> None:
    while content.read(BLOCK_BYTES):
        pass


def safe_name(name: str) -> str:
    """Return a member's path without what could leave a folder: no root, no `..`, nothing unprintable."""
    kept = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    printable = "".join(char if char.isprintable() else "_" for char in "/".join(kept))
    return printable[-400:] or "unnamed"


def lines(content: Readable, limits: Limits = DEFAULT_LIMITS) -> Iterator[Line]:
    """Yield the lines of a stream. A line over the limit is cut; what follows in it is passed over."""
    tail, skipping = b"", False
    while block := content.read(BLOCK_BYTES):
        first, *rest = (tail + block).split(b"\n")
        for line in [first, *rest[:-1]] if rest else ():
            if not skipping:
                yield _line(line, limits)
            skipping = False
        tail = rest[-1] if rest else first
        if len(tail) > limits.line_bytes:
            if not skipping:
                yield _line(tail, limits)
            tail, skipping = b"", True
    if tail and not skipping:
        yield _line(tail, limits)


def _line(text: bytes, limits: Limits) -> Line:
    text = text.removesuffix(b"\r")
    return Line(text) if len(text) <= limits.line_bytes else Line(text[: limits.line_bytes], cut=True)


def extract(content: Readable, name: str, folder: Path, limits: Limits = DEFAULT_LIMITS) -> int:
    """Unpack a (packed) tar stream into `folder` and return how many files it held.

    Only regular files are written, each below `folder`, whatever its name says.

    Raises:
        ArchiveError: as `members`, or a file cannot be written; files written before the trouble stay.
    """
    number = 0
    for member in members(content, name, limits._replace(depth=1)):
        number += 1
        target = folder / safe_name(member.name.partition("!")[2] or member.name)
        try:
            _write(member.content, target)
        except OSError as trouble:
            raise ArchiveError(f"{target}: cannot be written ({trouble.strerror})") from trouble
    return number


def _write(content: Readable, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        while block := content.read(BLOCK_BYTES):
            file.write(block)

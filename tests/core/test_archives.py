"""Archives are read as streams, and what is hostile in them is refused."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from core.archives import DEFAULT_LIMITS, ArchiveError, Limits, extract, lines, members, safe_name


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zst(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


def read_all(
    packed: bytes, name: str = "a.tar.zst", limits: Limits = DEFAULT_LIMITS
) -> dict[str, list[bytes]]:
    found = {}
    for member in members(io.BytesIO(packed), name, limits):
        found[member.name] = [line.text for line in lines(member.content, limits)]
    return found


FILES = {"run/actions.log": b"one\ntwo\n", "run/empty.log": b"", "run/raw_events.log": b"three"}
CONTENT = {"run/actions.log": [b"one", b"two"], "run/empty.log": [], "run/raw_events.log": [b"three"]}


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.tar", bytes),
        ("a.tar.zst", zst),
        ("a.tar.gz", gzip.compress),
        ("a.tgz", gzip.compress),
        ("a.tar.xz", lzma.compress),
    ],
)
def test_a_tar_file_is_read_whatever_it_is_packed_with(name: str, pack: Callable[[bytes], bytes]) -> None:
    assert read_all(pack(tar_of(FILES)), name) == {f"a.tar!{file}": rows for file, rows in CONTENT.items()}


@pytest.mark.parametrize("pack", [bytes, zst, gzip.compress, lzma.compress])
def test_a_bare_log_is_its_own_only_member(pack: Callable[[bytes], bytes]) -> None:
    assert list(read_all(pack(b"one\r\ntwo"), "system.log").values()) == [[b"one", b"two"]]


def test_frames_that_follow_one_another_are_one_file() -> None:
    assert read_all(zst(b"one\nt") + zst(b"wo\n"), "a.log.zst") == {"a.log": [b"one", b"two"]}


def test_an_archive_inside_an_archive_is_opened() -> None:
    inner = zst(tar_of({"node/system.log": b"x"}))
    assert read_all(tar_of({"db/inner.tar.zst": inner}), "a.tar") == {
        "a.tar!db/inner.tar!node/system.log": [b"x"]
    }


def test_what_is_nested_too_deep_is_left_packed() -> None:
    packed = b"x"
    for _ in range(9):
        packed = zst(packed)
    (member,) = members(io.BytesIO(packed), "a")
    assert member.content.read(4) == b"\x28\xb5\x2f\xfd"


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("pack", [zst, gzip.compress, lzma.compress])
def test_a_stream_that_ends_early_is_an_error(pack: Callable[[bytes], bytes], kept: float) -> None:
    packed = pack(tar_of({"a.log": os.urandom(50_000)}))
    with pytest.raises(ArchiveError, match="download it again"):
        read_all(packed[: int(len(packed) * kept)])


def test_a_bare_log_that_ends_early_is_an_error_too() -> None:
    packed = zst(os.urandom(5000).hex().encode())
    with pytest.raises(ArchiveError, match="ends in the middle"):
        read_all(packed[:-5], "a.log.zst")


@pytest.mark.parametrize("at", [0, 10, 1000])
def test_damage_is_an_error_that_names_the_file(at: int) -> None:
    packed = bytearray(
        zstandard.ZstdCompressor(write_checksum=True).compress(tar_of({"a": os.urandom(9000)}))
    )
    packed[len(packed) - 1 - at] ^= 0x55
    with pytest.raises(ArchiveError, match=r"^a\.tar"):
        read_all(bytes(packed))


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(packed: bytes) -> None:
    for magic in (b"", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08"):
        with suppress(ArchiveError):
            read_all(magic + packed)


def test_a_bomb_is_stopped_before_it_fills_the_memory() -> None:
    packed = zst(bytes(1 << 28))
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="archive bomb"):
        read_all(packed, limits=Limits(free_bytes=8 << 20, ratio=100))
    assert tracemalloc.get_traced_memory()[1] < 120 << 20
    tracemalloc.stop()


def test_a_header_without_end_is_refused() -> None:
    info = tarfile.TarInfo("x" * (8 << 20))
    packed = zst(info.tobuf(format=tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ArchiveError, match="header"):
        read_all(packed)


def test_a_sparse_file_does_not_claim_bytes_that_are_not_there() -> None:
    info = tarfile.TarInfo("huge.log")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,0",
        "GNU.sparse.size": str(1 << 40),
        "GNU.sparse.name": "huge.log",
    }
    assert read_all(info.tobuf(format=tarfile.PAX_FORMAT) + bytes(1024), "a.tar") == {}


def test_too_many_files_are_refused() -> None:
    with pytest.raises(ArchiveError, match="more than 5 files"):
        read_all(tar_of({f"{number}.log": b"" for number in range(6)}), limits=Limits(members=5))


def test_links_and_devices_are_passed_over() -> None:
    link = tarfile.TarInfo("shadow.log")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
    device = tarfile.TarInfo("null.log")
    device.type = tarfile.CHRTYPE
    assert read_all(link.tobuf() + device.tobuf() + tar_of({"a.log": b"x"}), "a.tar") == {
        "a.tar!a.log": [b"x"]
    }


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/abs/a.log", "abs/a.log"),
        ("..\\..\\a.log", "a.log"),
        ("a\x1b[2J.log", "a_[2J.log"),
        ("..", "unnamed"),
    ],
)
def test_a_name_never_leaves_its_folder(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(max_size=60))
def test_a_safe_name_is_relative_and_printable(name: str) -> None:
    safe = Path(safe_name(name))
    assert not safe.is_absolute()
    assert ".." not in safe.parts
    assert str(safe).isprintable()


def test_extracting_writes_below_the_folder_only(tmp_path: Path) -> None:
    packed = zst(tar_of({"../../out.txt": b"1", "data/chunks/000001": b"2"}))
    assert extract(io.BytesIO(packed), "prometheus.tar.zst", tmp_path / "in") == 2
    assert (tmp_path / "in/out.txt").read_bytes() == b"1"
    assert (tmp_path / "in/data/chunks/000001").read_bytes() == b"2"
    assert not list(tmp_path.glob("*.txt"))


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))))
def test_lines_are_what_was_written(written: list[bytes]) -> None:
    content = io.BytesIO(b"".join(line + b"\n" for line in written))
    assert [line.text for line in lines(content)] == written


class Dribble(io.BytesIO):
    """Gives out three bytes at a time, as a slow connection may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(3, size or 3))


@given(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))))
def test_a_long_line_is_cut_and_the_next_one_is_whole(written: list[bytes]) -> None:
    content = Dribble(b"".join(line + b"\n" for line in written))
    limits = Limits(line_bytes=5)
    assert [(line.text, line.cut) for line in lines(content, limits)] == [
        (line[:5], len(line) > 5) for line in written
    ]


def test_a_tar_file_that_is_cut_anywhere_is_refused() -> None:
    whole = tar_of({"a.log": b"x" * 700, "b.log": b"y" * 700})
    ends = whole.rindex(b"y") // 512 * 512 + 512
    for size in range(300, ends, 100):
        with pytest.raises(ArchiveError, match=r"^a\.tar: is damaged or cut short"):
            read_all(whole[:size], "a.tar")
    assert len(read_all(whole[: ends + 512], "a.tar")) == 2

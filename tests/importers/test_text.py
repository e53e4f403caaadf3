"""Plain logs of any form become rows: clock, level, service, whole stack traces,
and nothing lost in silence.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from importers.clocks import moment
from importers.text import service_of_file
from importers.text_formats import Forms, Said, Setting
from tests.builders.examples import examples
from tests.importers.imported import Imported, imported, write

WRITTEN = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
AT_NS = int(datetime(2026, 3, 4, 14, 5, 1, tzinfo=UTC).timestamp()) * 10**9
HALF = AT_NS + 500_000_000


def said(text: str, utc_offset: str | None = None) -> Said:
    found = Forms(Setting(WRITTEN, utc_offset)).read(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("line", "at_ns", "level", "message"),
    [
        ("2026-03-04T14:05:01.500Z ERROR disk full", HALF, "ERROR", "disk full"),
        ("2026-03-04 14:05:01,500 WARN  [main] slow", HALF, "WARN", "[main] slow"),
        ("[2026-03-04 14:05:01.500] INFO: started", HALF, "INFO", "started"),
        ("2026-03-04T15:05:01+01:00 [error] disk full", AT_NS, "ERROR", "disk full"),
        ("2026/03/04 14:05:01 [crit] 12#12: bind() failed", AT_NS, "FATAL", "12#12: bind() failed"),
        ("ERROR 2026-03-04 14:05:01,500 [shard 0] compaction - failed", HALF, "ERROR", "[shard 0] compaction - failed"),
        ("04-Mar-2026 14:05:01.500 SEVERE [main] stopped", HALF, "ERROR", "[main] stopped"),
        ("Wed Mar 04 14:05:01 2026 daemon started", AT_NS, "UNKNOWN", "daemon started"),
        ("[Wed Mar 04 14:05:01.500 2026] [core:error] denied", HALF, "ERROR", "[core:error] denied"),
        ("1772633101.500 WARN slow", HALF, "WARN", "slow"),
        ("1772633101500 INFO fine", HALF, "INFO", "fine"),
        ("14:05:01.500 ERROR late", HALF, "ERROR", "late"),
        ("2026-03-04T14:05:01.500Z Failure to connect", HALF, "UNKNOWN", "Failure to connect"),
        ("2026-03-04T14:05:01.500Z error connecting", HALF, "ERROR", "error connecting"),
        ("worker-3 | 2026-03-04 14:05:01 FATAL gone", AT_NS, "FATAL", "worker-3 | 2026-03-04 14:05:01 FATAL gone"),
        ("E0304 14:05:01.500000       1 store.go:12] disk full", HALF, "ERROR", "store.go:12] disk full"),
        ("Mar  4 14:05:01 db-1 mysqld[12]: error: disk full", AT_NS, "ERROR", "error: disk full"),
        ("<11>1 2026-03-04T14:05:01.5Z db-1 mysqld 12 - - disk full", HALF, "ERROR", "disk full"),
        ("2026-03-04T14:05:01Z db-1 mysqld[12]: WARNING low", AT_NS, "WARN", "WARNING low"),
        ('10.0.0.9 - - [04/Mar/2026:14:05:01 +0000] "GET /cart HTTP/1.1" 502 17', AT_NS, "ERROR",
         '10.0.0.9 - - "GET /cart HTTP/1.1" 502 17'),
        ('time="2026-03-04T14:05:01.5Z" level=warning msg="disk \\"a\\" low"', HALF, "WARN", 'disk "a" low'),
        ('{"timestamp":"2026-03-04T14:05:01.5Z","level":"error","message":"disk full"}', HALF, "ERROR", "disk full"),
        ('{"time":1772633101500,"level":50,"msg":"disk full"}', HALF, "ERROR", "disk full"),
        ('{"ts":1772633101.5,"severity":"CRITICAL","event":"disk full"}', HALF, "FATAL", "disk full"),
    ],
)  # fmt: skip
def test_a_line_says_when_how_bad_and_what(line: str, at_ns: int, level: str, message: str) -> None:
    found = said(line)
    assert (found.at_ns, found.level, found.message) == (at_ns, level, message)


def test_a_clock_without_a_zone_is_of_the_zone_that_is_given() -> None:
    assert said("2026-03-04 22:05:01 INFO late", "+08:00").at_ns == AT_NS
    assert said("2026-03-04 14:05:01Z INFO late", "+08:00").at_ns == AT_NS


@examples(60)
@given(st.datetimes(), st.sampled_from(["seconds", "milliseconds", "microseconds"]))
def test_a_moment_is_the_same_however_its_zone_is_written(at: datetime, precision: str) -> None:
    text = at.isoformat(timespec=precision)
    expected = (datetime.fromisoformat(f"{text}Z") - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )
    assert {moment(f"{text}Z"), moment(f"{text} UTC"), moment(f"{text}+00:00")} == {expected * 1000}


def test_a_clock_without_a_year_is_not_of_the_future() -> None:
    assert (
        said("Dec 31 23:59:59 db-1 cron[1]: done").at_ns
        == int(datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 10**9
    )


def test_fields_name_service_trace_and_the_rest() -> None:
    row = {"@timestamp": "2026-03-04T14:05:01Z", "message": "declined", "service": {"name": "cart"}, "trace.id": "aa11",
           "http": {"status": 502}, "took_ms": 17}  # fmt: skip
    found = said(json.dumps(row))
    assert (found.service, found.trace_id) == ("cart", "aa11")
    assert found.attributes == {"http.status": 502, "took_ms": 17}


def test_ids_of_a_trace_are_found_in_a_text() -> None:
    found = said(
        "2026-03-04T14:05:01Z INFO TraceID: 422b86c3069c0f5ec72edee6757be1ef SpanID: ac90db776213cfb4 done"
    )
    assert (found.trace_id, found.span_id) == ("422b86c3069c0f5ec72edee6757be1ef", "ac90db776213cfb4")


@examples(60)
@given(st.text(max_size=120))
def test_any_line_is_read_or_left_alone(text: str) -> None:
    found = Forms(Setting(WRITTEN)).read(text)
    assert found is None or found.level in ("UNKNOWN", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("cart.log", "cart"),
        ("cart-6d5f7c9b4-x2x4z.log", "cart"),
        ("cart.log.2026-03-04.gz", "cart"),
        ("cart/current", "cart"),
        ("shop/cart/server.log", "cart"),
        ("shop_cart-6d5f7c9b4-x2x4z_0f1e2d3c-aaaa-bbbb-cccc-0123456789ab/server/0.log", "cart"),
        ("cart-6d5f7c9b4-x2x4z_shop_server-0123456789abcdef.log", "cart"),
        ("app.log", "unnamed"),
    ],
)
def test_a_path_names_its_service(path: str, service: str) -> None:
    assert service_of_file(tuple(path.split("/"))) == service


# ------------------------------------------------------------------------------------------------ whole files

JAVA = """\
2026-03-04 14:05:01.500 ERROR Cart - checkout failed
java.lang.IllegalStateException: no stock
\tat shop.Cart.checkout(Cart.java:17)
\tat shop.Main.run(Main.java:3)
Caused by: java.io.IOException: disk full
\t... 12 more

2026-03-04 14:05:02.000 INFO  Cart - retried
"""
STAMPED = "".join(
    f"2026-03-04T14:05:01.{number:09d}Z {line}\n"
    for number, line in enumerate(
        ["Traceback (most recent call last):", '  File "cart.py", line 3, in <module>', "    checkout()",
         "ValueError: no stock", "ready"]
    )
)  # fmt: skip
LONG = "x" * 20_000
DOCKER = "".join(
    json.dumps({"log": text, "stream": "stdout", "time": f"2026-03-04T14:05:0{second}.5Z"}) + "\n"
    for second, text in enumerate([LONG[:16_384], LONG[16_384:] + "\n", "INFO short\n"])
)
CRI = f"2026-03-04T14:05:01.5Z stdout P {LONG[:10]}\n2026-03-04T14:05:01.6Z stdout F {LONG[10:20]}\n"


def rows_of(tmp_path: Path, files: dict[str, str | bytes]) -> Imported:
    return imported("text", write(tmp_path / "in", files), tmp_path / "out")


def test_a_stack_trace_is_one_row_and_its_lines_are_counted(tmp_path: Path) -> None:
    found = rows_of(tmp_path, {"cart.log": JAVA})
    first, second = found.incident.logs
    assert first.message.startswith("Cart - checkout failed\njava.lang")
    assert first.message.endswith("12 more")
    assert (first.level, second.level, first.service) == ("ERROR", "INFO", "cart")
    assert (found.counts.lines, found.counts.joined, dict(found.counts.dropped)) == (8, 5, {"empty line": 1})


def test_frames_that_kubectl_stamped_one_by_one_are_one_row(tmp_path: Path) -> None:
    found = rows_of(tmp_path, {"cart-6d5f7c9b4-x2x4z.log": STAMPED})
    assert [row.message.splitlines()[-1] for row in found.incident.logs] == ["ValueError: no stock", "ready"]
    assert found.incident.logs[0].level == "ERROR"


@pytest.mark.parametrize(("content", "rows"), [(DOCKER, [LONG, "short"]), (CRI, ["x" * 20])])
def test_parts_of_a_long_line_are_put_together(tmp_path: Path, content: str, rows: list[str]) -> None:
    found = rows_of(tmp_path, {"cart.log": content})
    assert [row.message for row in found.incident.logs] == rows
    assert found.counts.joined == 1


def test_what_a_stamped_line_says_itself_is_read_too(tmp_path: Path) -> None:
    stamped = "2026-03-04T14:05:01.5Z WARN low on disk trace_id=5b8efff798038103d269b633813fc60c\n" * 2
    row = rows_of(tmp_path, {"cart.log": stamped}).incident.logs[0]
    assert (row.level, row.message[:11], row.trace_id) == (
        "WARN",
        "low on disk",
        "5b8efff798038103d269b633813fc60c",
    )


def test_compose_and_kubectl_prefixes_name_the_service(tmp_path: Path) -> None:
    found = rows_of(tmp_path, {
        "compose.txt": "cart-1  | 2026-03-04T14:05:01Z INFO one\ndb-1    | 2026-03-04T14:05:02Z INFO two\n",
        "pods.txt": "[pod/web-6d5f7c9b4-x2x4z/server] 2026-03-04T14:05:03Z INFO three\n",
    })  # fmt: skip
    assert [(row.service, row.message) for row in found.incident.logs] == [
        ("cart", "one"),
        ("db", "two"),
        ("web", "three"),
    ]


def test_rows_without_any_clock_keep_their_order(tmp_path: Path) -> None:
    found = rows_of(tmp_path, {"cart.log": "starting\nlistening\nERROR gone\n"})
    assert [(row.timestamp, row.message) for row in found.incident.logs] == [
        (None, "starting"), (None, "listening"), (None, "gone")]  # fmt: skip


def test_nanoseconds_are_kept(tmp_path: Path) -> None:
    found = rows_of(tmp_path, {"cart.log": "2026-03-04T14:05:01.123456789Z INFO a\n"})
    assert found.incident.logs[0].nanosecond == 789


def test_rows_that_two_files_share_are_dropped_and_counted(tmp_path: Path) -> None:
    lines = [f"2026-03-04T14:05:{second:02d}Z INFO tick {second}\n" for second in range(6)]
    found = rows_of(tmp_path, {"cart.log": "".join(lines[:4]), "cart.log.1": "".join(lines[2:])})
    assert len(found.incident.logs) == 6
    assert found.counts.dropped["row that an earlier file has too"] == 2


def test_a_line_that_a_program_wrote_twice_stays_twice(tmp_path: Path) -> None:
    found = rows_of(tmp_path, {"cart.log": "2026-03-04T14:05:01Z INFO tick\n" * 2})
    assert len(found.incident.logs) == 2


def test_packed_and_nested_sources_are_read_as_they_are(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in {"pods/web.log": b"2026-03-04T14:05:01Z INFO one\n",
                              "pods/db.log.zst": zstandard.compress(b"2026-03-04T14:05:02Z INFO two\n")}.items():  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path = tmp_path / "logs.tar.gz"
    path.write_bytes(buffer.getvalue())
    found = imported("text", path, tmp_path / "out")
    assert [(row.service, row.message) for row in found.incident.logs] == [("web", "one"), ("db", "two")]


def test_what_is_no_text_is_passed_over_and_counted(tmp_path: Path) -> None:
    found = rows_of(
        tmp_path, {"a.png": b"\x89PNG", "core": b"\0\0\0\1", "cart.log": "2026-03-04T14:05:01Z INFO a\n"}
    )
    assert found.counts.dropped["file that is no text"] == 2


def test_a_damaged_archive_is_refused_by_name_and_nothing_is_written(tmp_path: Path) -> None:
    whole = gzip.compress(os.urandom(5000))
    folder = write(tmp_path / "in", {"a.log": "2026-03-04T14:05:01Z INFO a\n", "cart.log.gz": whole[:-9]})
    with pytest.raises(Exception, match=r"cart\.log\.gz: is damaged or cut short"):
        imported("text", folder, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


ROW = "2026-03-04T14:05:01Z INFO a\n"


@pytest.mark.parametrize("files", [["cart.log"], ["app.log"], ["logs/app.log", "logs/cart.log"]])
@pytest.mark.parametrize("where", ["", "..", "disk_full_of_ledger.tar"])
def test_an_incident_names_its_source_nowhere(tmp_path: Path, files: list[str], where: str) -> None:
    folder = write(tmp_path / "in" / "disk_full_of_ledger", dict.fromkeys(files, ROW))
    if where.endswith(".tar"):
        folder = tmp_path / where
        with tarfile.open(folder, "w") as tar:
            tar.add(tmp_path / "in" / "disk_full_of_ledger", "disk_full_of_ledger")
    (path,) = imported("text", folder.parent if where == ".." else folder, tmp_path / "out").paths
    assert "ledger" not in path.name + path.read_text(encoding="utf-8")


def test_folders_that_tell_files_apart_name_their_services(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"shop/cart/app.log": ROW, "shop/db/app.log": ROW})
    assert imported("text", folder, tmp_path / "out").incident.services == ("cart", "db")

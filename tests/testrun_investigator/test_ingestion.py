"""Logs of a run are taken in from archives, in the background, once, and what was not taken is told."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.log_stores.contract import LogQuery
from project_types import InvestigatorError, Level
from testrun_investigator.ingestion import Task
from testrun_investigator.reading import Request, messages, read
from testrun_investigator.settings import Settings, read_settings
from testrun_investigator.victoria_logs import LogsError, VictoriaLogsHandler
from tests.core.test_archives import tar_of, zst
from tests.fakes.file_server import FileServer, Page, file_server
from tests.testrun_investigator.conftest import RUN_ID

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0


@pytest.fixture
def settings(tmp_path: Path, runs: Path) -> Settings:
    environment = {"TESTRUN_CACHE_DIR": str(tmp_path / "cache"), "TESTRUN_LOG_DIRS": f"{runs}:{tmp_path}"}
    return read_settings(environment, tmp_path)


@pytest.fixture
def handler(settings: Settings) -> VictoriaLogsHandler:
    return VictoriaLogsHandler(settings)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as files:
        yield files


def archive(runs: Path, kind: str) -> str:
    return str(next((runs / RUN_ID).glob(f"{kind}-*.tar.zst")))


def ingested(handler: VictoriaLogsHandler, url: str) -> Task:
    task = handler.tasks.wait(handler.ingest_logs(url, RUN_ID), WAIT_S)
    assert task is not None
    return task


def test_the_runners_archive_becomes_actions_and_events(handler: VictoriaLogsHandler, runs: Path) -> None:
    task = ingested(handler, archive(runs, "sct-runner-events"))
    assert (task.state, task.share, task.error) == ("done", 1.0, "")
    assert set(task.streams) == {"action", "event"}
    assert task.counts["stored"] == task.counts["rows"] == sum(task.streams.values())
    assert task.counts["repaired_clocks"] == task.streams["action"]
    assert {one.name.rpartition("/")[2]: one.why for one in task.skipped} == {
        "events.log": "repeats raw_events.log",
        "argus.log": "configuration or credentials",
    }
    actions = handler.query_actions_log(RUN_ID)
    assert actions.matched == task.streams["action"]
    assert "Cluster of 6 nodes is up" in actions.rows[0].text
    events = handler.query_raw_events_log(RUN_ID, keywords="NO_SPACE_ERROR", severity=Level.ERROR)
    assert events.matched == 3
    assert "No space left on device" in events.rows[0].text


def test_what_is_ingested_twice_is_stored_once(handler: VictoriaLogsHandler, runs: Path) -> None:
    first = ingested(handler, archive(runs, "sct-runner-events"))
    again = ingested(handler, archive(runs, "sct-runner-events"))
    assert again.id == first.id
    assert again.counts["duplicates"] == first.counts["stored"] == again.counts["rows"]
    assert "stored" not in again.counts


@pytest.mark.parametrize(
    ("name", "why"),
    [("a.tar.zst", "unknown kind of file"), ("scylla.yaml", "configuration or credentials")],
)
def test_a_source_without_a_log_fails_and_says_why(
    handler: VictoriaLogsHandler, tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / name).write_bytes(b"neither an archive nor a log")
    task = ingested(handler, str(tmp_path / name))
    assert (task.state, task.error) == ("failed", f"it holds no log that can be used: {why}")
    assert [one.why for one in task.skipped] == [why]


def test_the_nodes_of_a_run_are_its_services(handler: VictoriaLogsHandler, runs: Path) -> None:
    ingested(handler, archive(runs, "db-cluster"))
    ingested(handler, archive(runs, "loader-set"))
    nodes = handler.page(RUN_ID, "node", limit=5)
    assert [line.at_us for line in nodes.rows] == sorted(line.at_us for line in nodes.rows)
    node = nodes.rows[0].service
    assert handler.page(RUN_ID, "node", node=node).matched < nodes.matched
    stress = handler.page(RUN_ID, "stress", min_level=Level.ERROR)
    assert stress.matched == 4
    assert "WriteTimeoutException" in stress.rows[0].text
    pages = [
        line.id for at in range(0, 30, 7) for line in handler.page(RUN_ID, "node", limit=7, offset=at).rows
    ]
    assert pages[:30] == [line.id for line in handler.page(RUN_ID, "node", limit=30).rows]


def test_a_bare_log_by_url_is_taken_in(settings: Settings, server: FileServer, runs: Path) -> None:
    handler = VictoriaLogsHandler(settings._replace(private_hosts=frozenset({server.host})))
    server.pages["/b/db-node-9/system.log.zst"] = Page(zst(b"2026-05-17T04:44:00Z n !ERR | boom\n"))
    task = ingested(handler, f"{server.url}/b/db-node-9/system.log.zst?X-Amz-Signature=secret")
    assert task.counts["stored"] == 1
    assert "secret" not in task.model_dump_json()
    saved = (settings.cache / "tasks" / f"{task.id}.json").read_text()
    assert "secret" not in saved


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (zst(tar_of({"a/actions.log": os.urandom(50_000)}))[:-400], "download it again"),
        (b"\x28\xb5\x2f\xfdgarbage that is long enough", "damaged"),
    ],
)  # fmt: skip
def test_a_source_that_is_no_good_fails_and_says_why(
    handler: VictoriaLogsHandler, tmp_path: Path, body: bytes, words: str
) -> None:
    (tmp_path / "actions.log.zst").write_bytes(body)
    task = ingested(handler, str(tmp_path / "actions.log.zst"))
    assert task.state == "failed"
    assert words in task.error


def test_a_page_in_place_of_a_log_fails_and_says_so(settings: Settings, server: FileServer) -> None:
    handler = VictoriaLogsHandler(settings._replace(private_hosts=frozenset({server.host})))
    server.pages["/actions.log.zst"] = Page(b"<html>sign in</html>", kind="text/html")
    task = ingested(handler, f"{server.url}/actions.log.zst")
    assert task.state == "failed"
    assert "neither a log nor an archive" in task.error


@pytest.mark.parametrize("url", ["/etc/passwd", "file:///etc/shadow", "http://127.0.0.1:1/x", "ftp://a/b"])
def test_what_may_not_be_read_is_refused(settings: Settings, url: str) -> None:
    with pytest.raises(InvestigatorError):
        list(read(Request(url, RUN_ID, "unused", settings.access)))


def test_a_task_that_may_not_read_its_source_fails(handler: VictoriaLogsHandler) -> None:
    assert ingested(handler, "/etc/passwd").state == "failed"


def test_hostile_names_in_an_archive_reach_nothing(handler: VictoriaLogsHandler, tmp_path: Path) -> None:
    log = b"2026-05-17T04:44:00Z n !ERR | x\n"
    (tmp_path / "bad.tar.zst").write_bytes(
        zst(
            tar_of(
                {"../../../etc/cron.d/system.log": log, "/abs/system.log": log, "n\x1b[2J/system.log": log}
            )
        )
    )
    task = ingested(handler, str(tmp_path / "bad.tar.zst"))
    assert task.counts["stored"] == 3
    assert all(name.isprintable() and ".." not in name for name in task.services)


def test_nothing_ingested_is_an_error_that_says_what_to_call(handler: VictoriaLogsHandler) -> None:
    with pytest.raises(LogsError, match="call ingest_logs"):
        handler.query_actions_log(RUN_ID)


def test_a_second_call_while_it_runs_gets_the_same_task(settings: Settings, server: FileServer) -> None:
    handler = VictoriaLogsHandler(settings._replace(private_hosts=frozenset({server.host})))
    release = threading.Event()
    server.pages["/system.log"] = Page(
        b"2026-05-17T04:44:00Z n !ERR | x\n" * 2, kind="text/plain", hold=release
    )
    first = handler.ingest_logs(f"{server.url}/system.log", RUN_ID)
    assert handler.ingest_logs(f"{server.url}/system.log", RUN_ID) == first
    release.set()
    task = handler.tasks.wait(first, WAIT_S)
    assert task is not None
    assert task.counts["stored"] == 2
    assert len(server.requests) == 1


@pytest.mark.slow
def test_a_process_of_its_own_finds_the_same_as_reading_here(settings: Settings, runs: Path) -> None:
    path = archive(runs, "db-cluster")
    here, there = (Request(url, RUN_ID, "unused", settings.access) for url in (path, f"file://{path}"))
    with messages(there) as received:
        assert list(received) == list(read(here))


def started_by(process: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = Path(f"/proc/{process}/task").glob("*/children")
    return [int(pid) for path in found for pid in path.read_text().split()]


def test_a_reader_that_is_killed_ends_the_task_and_says_so(settings: Settings, server: FileServer) -> None:
    handler = VictoriaLogsHandler(settings._replace(private_hosts=frozenset({server.host})))
    release, others = threading.Event(), set(started_by(os.getpid()))
    server.pages["/system.log"] = Page(
        b"2026-05-17T04:44:00Z n !ERR | x\n" * 2, kind="text/plain", hold=release
    )
    task_id = handler.ingest_logs(f"{server.url}/system.log", RUN_ID)
    while not server.requests:
        handler.tasks.wait(task_id, 0.02)
    for pid in set(started_by(os.getpid())) - others:
        os.kill(pid, signal.SIGKILL)
    task = handler.tasks.wait(task_id, WAIT_S)
    release.set()
    assert task is not None
    assert (task.state, "ended early (exit code -9)" in task.error) == ("failed", True)


CHILD = """
import sys
from pathlib import Path
from testrun_investigator.reading import Request, messages, read
from testrun_investigator.settings import read_settings
from testrun_investigator.victoria_logs import VictoriaLogsHandler
handler = VictoriaLogsHandler(read_settings({"TESTRUN_CACHE_DIR": sys.argv[1], "TESTRUN_PRIVATE_HOSTS": sys.argv[2]}))
task = handler.ingest_logs(sys.argv[3], sys.argv[4])
while not handler.status(task).counts.get("rows"):
    handler.tasks.wait(task, 0.02)
print(task, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_server_that_was_killed_says_so_and_goes_on_where_it_can(
    settings: Settings, server: FileServer
) -> None:
    release = threading.Event()
    text = b"".join(b"2026-05-17T04:44:00Z n !INFO | row %d\n" % number for number in range(30_000))
    server.pages["/n/system.log"] = Page(text, kind="text/plain", hold=release)
    url = f"{server.url}/n/system.log"
    command = [sys.executable, "-c", CHILD, str(settings.cache), server.host, url, RUN_ID]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        task_id = child.stdout.readline().decode().strip()
        (reader,) = map(os.pidfd_open, started_by(child.pid))
        child.send_signal(signal.SIGKILL)
    assert select.select([reader], [], [], WAIT_S)[0]  # it ends with the server, though its source hangs
    os.close(reader)
    release.set()
    handler = VictoriaLogsHandler(settings._replace(private_hosts=frozenset({server.host})))
    before = handler.status(task_id)
    assert before is not None
    assert (before.state, "call ingest_logs again" in before.error) == ("interrupted", True)
    after = ingested(handler, url)
    assert after.state == "done"
    assert handler.store(RUN_ID).count(LogQuery()).lines == 30_000
    assert after.counts["stored"] + after.counts.get("duplicates", 0) == 30_000


@pytest.mark.slow
def test_queries_answer_while_an_ingestion_runs(settings: Settings, server: FileServer) -> None:
    handler = VictoriaLogsHandler(settings._replace(private_hosts=frozenset({server.host})))
    release = threading.Event()
    text = b"".join(b"2026-05-17T04:44:00Z n !INFO | row %d\n" % number for number in range(30_000))
    server.pages["/n/system.log"] = Page(text, kind="text/plain", hold=release)
    task_id = handler.ingest_logs(f"{server.url}/n/system.log", RUN_ID)
    while not (task := handler.status(task_id)) or not task.counts.get("rows"):
        handler.tasks.wait(task_id, 0.02)
    assert task.state == "running"
    assert 0 < (task.share or 0) < 1
    while not handler.page(RUN_ID, "node").matched:
        handler.tasks.wait(task_id, 0.02)
    release.set()
    done = handler.tasks.wait(task_id, WAIT_S)
    assert done is not None
    assert handler.page(RUN_ID, "node").matched == done.counts["stored"] == 30_000


def test_a_store_that_fails_ends_the_task_with_its_words(settings: Settings, runs: Path) -> None:
    handler = VictoriaLogsHandler(settings)
    folder = settings.run_folder(RUN_ID)
    folder.mkdir(parents=True)
    (folder / "logs.db").write_bytes(b"no database" * 100)
    task = ingested(handler, archive(runs, "sct-runner-events"))
    assert task.state == "failed"
    assert "logs.db" in task.error


@pytest.mark.slow
def test_a_large_archive_takes_little_memory() -> None:
    """A tenth of what benchmarks/testrun.py measures: what is held does not depend on the size."""
    code = "import asyncio, json, sys, tempfile, pathlib; from benchmarks.testrun import measure\n"
    code += "with tempfile.TemporaryDirectory() as f: print(json.dumps(asyncio.run(measure(pathlib.Path(f), 100 << 20, 60))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["lines"] > 500_000
    assert found["peak_mb"] <= 300, found
    assert found["p99_s"] < found["deadline_s"], found

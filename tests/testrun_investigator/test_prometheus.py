"""Metrics come from a real Prometheus over the run's own snapshot, for the time of the run."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from project_types import Window
from testrun_investigator.demo_runs.generator import Played, play
from testrun_investigator.demo_runs.plots import plots
from testrun_investigator.local_prometheus import served, unpack_snapshot
from testrun_investigator.metrics import RunMetrics
from testrun_investigator.prometheus import (
    NAMED,
    Metrics,
    PrometheusError,
    query_of,
    query_range,
    step_of,
)
from testrun_investigator.settings import read_settings
from tests.fakes.file_server import Page, file_server
from tests.testrun_investigator.conftest import RUN_ID

if os.environ.get("NEED_PROMETHEUS"):
    assert shutil.which("prometheus"), "CI promises Prometheus"
    assert shutil.which("promtool"), "CI promises promtool"
installed = pytest.mark.skipif(
    not shutil.which("promtool"), reason="no Prometheus: apt-get install prometheus"
)


@pytest.fixture(scope="module")
def played() -> Played:
    return play(plots()["disk-full"])


@pytest.fixture(scope="module")
def server(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    archive = next((runs / RUN_ID).glob("monitor-set-*"))
    with archive.open("rb") as file:
        data = unpack_snapshot(file, archive.name, tmp_path_factory.mktemp("prometheus"))
    with served(data) as url:
        yield url


def window(played: Played) -> Window:
    return Window(start=played.start, end=played.end)


@installed
async def test_the_metrics_of_a_run_are_those_of_its_snapshot(server: str, played: Played) -> None:
    metrics = await query_range(server, NAMED["disk_free"].promql, window(played))
    assert metrics.step_s == 45
    first = metrics.series[0]
    assert first.labels == {"instance": played.culprit}
    truth = played.metrics["node_filesystem_avail_bytes", played.culprit]
    assert first.lowest[1] == min(value for _, value in truth)
    assert first.points[0][0] == played.start.replace(microsecond=0)
    assert len(metrics.series) == 6


@installed
async def test_the_series_that_moved_furthest_comes_first(server: str, played: Played) -> None:
    metrics = await query_range(server, NAMED["disk_free"].promql, window(played))
    moved = [one.moved for one in metrics.series]
    assert moved == sorted(moved, reverse=True)
    first = metrics.series[0]
    assert first.labels["instance"] == played.culprit
    assert first.usual > 10 * first.lowest[1]


@installed
async def test_a_query_that_is_wrong_is_refused_with_the_servers_words(server: str, played: Played) -> None:
    with pytest.raises(PrometheusError, match=r"refused the query.*parse error"):
        await query_range(server, "sum(", window(played))


@installed
async def test_a_metric_nobody_has_is_empty_and_no_error(server: str, played: Played) -> None:
    assert (await query_range(server, "no_such_metric", window(played))).series == []


@installed
async def test_values_that_are_no_numbers_are_left_out(server: str, played: Played) -> None:
    assert (await query_range(server, "vector(1) / 0", window(played))).series == []


async def test_nobody_listening_is_an_error_that_names_the_setting(played: Played) -> None:
    with pytest.raises(PrometheusError, match="check PROMETHEUS_URL"):
        await query_range("http://127.0.0.1:9", "up", window(played), 5)


async def test_a_server_that_hangs_is_given_up_at_the_deadline(played: Played) -> None:
    with file_server() as files:
        release = threading.Event()
        files.pages["/api/v1/query_range"] = Page(b"x" * 1000, kind="application/json", hold=release)
        try:
            with pytest.raises(PrometheusError, match=r"did not answer|cannot be read"):
                await query_range(files.url, "up", window(played), 0.3)
        finally:
            release.set()


async def test_what_a_server_said_of_the_past_is_kept_and_not_asked_again(
    played: Played, tmp_path: Path
) -> None:
    at = played.start.timestamp()
    body = {"status": "success", "data": {"result": [{"metric": {"instance": "n1"}, "values": [[at, "7"]]}]}}
    ended, going_on = (round(moment.timestamp() * 1e6) for moment in (played.end, datetime.now(UTC)))
    with file_server() as files:
        files.pages["/api/v1/query_range"] = Page(json.dumps(body).encode(), kind="application/json")
        settings = read_settings({"PROMETHEUS_URL": files.url, "TESTRUN_CACHE_DIR": str(tmp_path)}, tmp_path)

        async def asked(until_us: int) -> Metrics:
            whole = (round(at * 1e6), until_us)
            return await RunMetrics(settings).query(RUN_ID, "up", whole, None, None, 5)

        first = await asked(ended)
        assert (await asked(going_on)).series == first.series
        files.pages.clear()
        assert await asked(ended) == first
        with pytest.raises(PrometheusError):  # its points may still come
            await asked(going_on)


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"data": {"result": 7}}', b'{"data": {"result": [{"metric": {}, "values": 3}]}}',
     b'{"data": {"result": [{"values": [[1, "x"]]}]}}'],
)  # fmt: skip
async def test_an_answer_of_another_shape_is_an_error(played: Played, body: bytes) -> None:
    with file_server() as files:
        files.pages["/api/v1/query_range"] = Page(body, kind="application/json")
        with pytest.raises(PrometheusError):
            await query_range(files.url, "up", window(played), 5)


async def test_a_name_or_a_query_is_asked_for_and_never_both() -> None:
    assert query_of("disk_free", None) == NAMED["disk_free"].promql
    assert query_of(None, " up ") == "up"
    for name, query in ((None, None), ("load", "up"), ("nonsense", None), (None, " ")):
        with pytest.raises(PrometheusError, match="disk_free"):
            query_of(name, query)


@given(st.floats(0, 1e9), st.integers(1, 100_000))
def test_a_range_never_has_more_points_than_a_server_gives(seconds: float, points: int) -> None:
    start = datetime(2026, 5, 17, tzinfo=UTC)
    step = step_of(Window(start=start, end=start + timedelta(seconds=seconds)), points)
    assert seconds / step + 1 <= 11_000
    assert seconds / step <= points


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        Window(start=datetime(2026, 5, 17), end=datetime(2026, 5, 18))


def test_an_archive_without_metrics_says_so(runs: Path, tmp_path: Path) -> None:
    archive = next((runs / RUN_ID).glob("loader-set-*"))
    with archive.open("rb") as file, pytest.raises(PrometheusError, match="holds no metrics"):
        unpack_snapshot(file, archive.name, tmp_path)


def test_a_folder_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "01HZZZZZZZZZZZZZZZZZZZZZZZ").write_text("x")
    (tmp_path / "wal").write_text("not a folder")
    if shutil.which("prometheus"):
        with pytest.raises(PrometheusError, match="prometheus ended"), served(tmp_path):
            pass

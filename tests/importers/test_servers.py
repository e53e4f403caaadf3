"""Loki and Prometheus are asked page by page for the time that was given, over real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from importers.counting import ImportTrouble
from tests.importers.imported import Imported, imported

Answer = Callable[[str, dict[str, str]], tuple[int, Any]]
BEGIN, END = "2026-03-04T14:00:00Z", "2026-03-04T15:00:00Z"
FIRST_NS = 1772632800 * 10**9


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A server that answers a GET with what a function makes of its path and parameters."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status, content = answer(parts.path, dict(parse_qsl(parts.query)))
            body = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def loki(clocks: list[int], most: int) -> Answer:
    """Loki as it is: rows of a half-open stretch of time, cut at a limit in
    silence, a larger limit refused.
    """
    rows = [(at, f"row {number}") for number, at in enumerate(clocks)]

    def answer(path: str, asked: dict[str, str]) -> tuple[int, Any]:
        assert (path, asked["direction"]) == ("/loki/api/v1/query_range", "forward")
        limit = int(asked["limit"])
        if limit > most:
            return (
                400,
                f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {most})",
            )
        found = [row for row in rows if int(asked["start"]) <= row[0] < int(asked["end"])][:limit]
        values = [[str(at), text] for at, text in found]
        return 200, {
            "data": {"resultType": "streams", "result": [{"stream": {"app": "cart"}, "values": values}]}
        }

    return answer


def ask(name: str, url: str, out: Path, **options: str) -> Imported:
    return imported(name, url, out, **{"query": '{app="cart"}', "start": BEGIN, "end": END} | options)


@pytest.mark.parametrize(
    ("clocks", "most"),
    [
        pytest.param([FIRST_NS + number for number in range(25)], 10, id="several pages"),
        pytest.param(
            [FIRST_NS + number // 4 for number in range(25)], 10, id="clocks that several rows share"
        ),
        pytest.param([FIRST_NS + number for number in range(20)], 10, id="a last page that is full"),
        pytest.param([], 10, id="nothing"),
    ],
)
def test_all_rows_come_once_whatever_the_servers_limit(tmp_path: Path, clocks: list[int], most: int) -> None:
    with serving(loki(clocks, most)) as url:
        found = ask("loki", url, tmp_path)
    rows = found.incident.logs if found.paths else ()
    assert [row.message for row in rows] == [f"row {number}" for number in range(len(clocks))]
    assert not [note for note in found.counts.notes if "limit" in note]


def test_more_rows_of_one_moment_than_a_page_holds_are_said_to_be_cut(tmp_path: Path) -> None:
    with serving(loki([FIRST_NS] * 15 + [FIRST_NS + 9], 10)) as url:
        found = ask("loki", url, tmp_path)
    assert len(found.incident.logs) == 11
    assert any("the server's limit cut them" in note for note in found.counts.notes)


@pytest.mark.parametrize("where", ["/saved/rows.json", "/loki/api/v1/query_range?query=x&limit=9"])
def test_an_answer_that_lies_at_a_url_is_read_as_a_file(tmp_path: Path, where: str) -> None:
    streams = [{"stream": {"app": "cart"}, "values": [[str(FIRST_NS), "row"]]}]
    saved = {"data": {"resultType": "streams", "result": streams}}
    with serving(lambda path, asked: (200, saved)) as url:
        found = imported("loki", url + where, tmp_path)
    assert [row.message for row in found.incident.logs] == ["row"]


def test_metrics_are_asked_for_the_time_that_is_given_and_for_few_enough_points(tmp_path: Path) -> None:
    asked: list[dict[str, str]] = []

    def answer(path: str, parameters: dict[str, str]) -> tuple[int, Any]:
        asked.append(parameters)
        values = [[float(parameters["start"]), "1"], [float(parameters["end"]), "2"]]
        return 200, {
            "data": {"resultType": "matrix", "result": [{"metric": {"job": "cart"}, "values": values}]}
        }

    with serving(answer) as url:
        found = ask("prometheus", url, tmp_path, query="rate(x[1m])", end="2026-03-14T14:00:00Z")
    (series,) = found.incident.metrics
    assert (series.service, series.name, [value for _, value in series.points]) == (
        "cart",
        "rate(x[1m])",
        [1.0, 2.0],
    )
    assert 864_000 / int(asked[0]["step"]) <= 11_000


@pytest.mark.parametrize("name", ["loki", "prometheus"])
@pytest.mark.parametrize(
    ("status", "content", "options", "says"),
    [
        (401, "no org id", {}, "answered HTTP 401: no org id"),
        (200, "<html>", {}, "is no JSON"),
        (200, {"what": 1}, {}, "give the server's own address"),
        (200, {}, {"query": ""}, "--query is missing"),
        (200, {}, {"start": "noon"}, "--start noon: give a time"),
        (200, {}, {"end": BEGIN}, "--start is not before --end"),
    ],
)
def test_trouble_with_a_server_says_what_to_type(
    tmp_path: Path, name: str, status: int, content: Any, options: dict[str, str], says: str
) -> None:
    with serving(lambda path, asked: (status, content)) as url, pytest.raises(ImportTrouble, match=says):
        ask(name, url, tmp_path, **options)


def test_a_server_that_is_not_there_is_an_error_without_the_password(tmp_path: Path) -> None:
    with serving(lambda path, asked: (200, {})) as url:
        gone = url.replace("http://", "http://user:secret@")
    with pytest.raises(ImportTrouble, match="cannot be reached") as trouble:
        ask("loki", gone, tmp_path)
    assert "secret" not in str(trouble.value)

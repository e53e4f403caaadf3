"""A local stand-in for Argus: it serves generated runs over HTTP with Argus' routes, envelopes and oddities.

It ships with the product, so that the demonstration needs no account, and the tests have a real server to
talk to. It knows what reading needs and nothing else: no submitting, no pages, no users but one token.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from testrun_investigator.demo_runs.packing import FACTS, TEST_ID

TOKEN = "demo-token"
RUN_TYPE = "scylla-cluster-tests"
_SEVERITIES = ("CRITICAL", "ERROR", "WARNING", "NORMAL", "DEBUG")
_ID = r"(?P<run_id>[0-9a-fA-F-]{36})"


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes
    kind: str = "application/json"
    headers: Mapping[str, str] = {}


class Asked(NamedTuple):
    """A request: its path, its query and its headers in lower case."""

    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]


def ok(response: Any, name: str = "response") -> Answer:
    """Return an answer in the envelope of Argus."""
    return Answer(200, json.dumps({"status": "ok", name: response}).encode())


def trouble(exception: str, message: str) -> Answer:
    """Return an error as Argus does: HTTP 200, and the envelope says that it is one."""
    said = {"trace_id": "c3Rhbmqtaw==", "exception": exception, "message": message, "arguments": [message]}
    return Answer(200, json.dumps({"status": "error", "response": said}).encode())


class StandIn:
    """The answers of Argus over the runs in a folder."""

    def __init__(self, folder: Path, token: str = TOKEN) -> None:
        self.folder, self.token = folder, token
        self.base = ""
        """Where it listens; set when it is served."""
        self.before: Callable[[Asked], Answer | None] = lambda asked: None
        """A test's chance to answer in its place."""
        self._routes: tuple[tuple[re.Pattern[str], Callable[..., Answer]], ...] = (
            (re.compile(r"/api/v1/version"), lambda asked: ok({"commit_id": "demo"})),
            (re.compile(rf"/api/v1/run/{_ID}/type"), self._type),
            (re.compile(rf"/api/v1/run/{RUN_TYPE}/{_ID}"), self._run),
            (re.compile(rf"/api/v1/client/testrun/{RUN_TYPE}/{_ID}/get"), self._client_run),
            (re.compile(rf"/api/v1/client/testrun/{RUN_TYPE}/{_ID}/get_status"), self._status),
            (re.compile(rf"/api/v1/client/sct/{_ID}/resource/all"), self._resources),
            (re.compile(rf"/api/v1/client/sct/{_ID}/nemesis/get"), self._nemeses),
            (re.compile(rf"/api/v1/client/sct/{_ID}/events/get"), self._all_events),
            (re.compile(rf"/api/v1/client/sct/{_ID}/events/(?P<severity>[A-Z]+)/get"), self._events),
            (re.compile(rf"/api/v1/client/sct/{_ID}/events/(?P<severity>[A-Z]+)/count"), self._count),
            (re.compile(rf"/api/v1/run/{TEST_ID}/{_ID}/fetch_results"), self._tables),
            (re.compile(rf"/api/v1/run/{_ID}/comments"), self._comments),
            (re.compile(rf"/api/v1/test/{TEST_ID}/runs"), self._runs),
            (re.compile(rf"/api/v1/tests/{RUN_TYPE}/{_ID}/log/(?P<name>[^/]+)/download"), self._download),
        )

    def answer(self, asked: Asked) -> Answer:
        """Answer one request."""
        if asked.path.startswith("/bucket/"):
            return self._file(asked)
        refusal = self._refused(asked.headers.get("authorization", ""))
        if refusal is not None:
            return refusal
        for pattern, route in self._routes:
            if match := pattern.fullmatch(asked.path):
                return route(asked, **match.groupdict())
        return Answer(404, b"<html>not found</html>", "text/html")

    def _refused(self, authorization: str) -> Answer | None:
        scheme, _, token = authorization.partition(" ")
        if scheme != "token":
            return Answer(403, json.dumps({"status": "error", "message": "Authorization required"}).encode())
        if token != self.token:
            return trouble("APIException", "User not found for supplied token")
        return None

    # ------------------------------------------------------------------------------------------------- routes

    def _facts(self, run_id: str) -> dict[str, Any] | None:
        path = self.folder / run_id / FACTS
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def _part(self, run_id: str, part: str, empty: Any) -> Any:
        facts = self._facts(run_id)
        return facts[part] if facts else empty

    def _type(self, asked: Asked, run_id: str) -> Answer:
        known = self._facts(run_id) is not None
        return ok({"run_type": RUN_TYPE if known else "unknown-does-not-exist"})

    def _run(self, asked: Asked, run_id: str) -> Answer:
        facts = self._facts(run_id)
        if facts is None:
            return ok(None)
        return ok({**facts["run"], "nemesis_data": facts["nemeses"], "events": [], "junit_reports": []})

    def _client_run(self, asked: Asked, run_id: str) -> Answer:
        """The client's route knows no nemeses of the new table."""
        return ok(self._part(run_id, "run", None))

    def _status(self, asked: Asked, run_id: str) -> Answer:
        facts = self._facts(run_id)
        if facts is None:
            return trouble("DocumentNotFound", f"SCTTestRun not found: {run_id}")
        return ok(facts["run"]["status"])

    def _resources(self, asked: Asked, run_id: str) -> Answer:
        return ok(self._part(run_id, "run", {"allocated_resources": []})["allocated_resources"])

    def _nemeses(self, asked: Asked, run_id: str) -> Answer:
        return ok(self._part(run_id, "nemeses", []))

    def _all_events(self, asked: Asked, run_id: str) -> Answer:
        if "severity" in asked.query:  # the server takes the texts for enum members and fails
            return trouble("AttributeError", "'str' object has no attribute 'value'")
        found = [event for severity in _SEVERITIES for event in self._first(asked, run_id, severity)]
        return ok(sorted(found, key=lambda event: str(event["ts"])))

    def _events(self, asked: Asked, run_id: str, severity: str) -> Answer:
        if severity not in _SEVERITIES:
            return trouble("ValueError", f"'{severity}' is not a valid SCTEventSeverity")
        return ok(self._first(asked, run_id, severity))

    def _first(self, asked: Asked, run_id: str, severity: str) -> list[dict[str, Any]]:
        """Return the first events of a severity: its limit holds for each severity, oldest first."""
        limit = int(asked.query.get("limit", ["100"])[0])
        events = self._part(run_id, "events", [])
        return [event for event in events if event["severity"] == severity][:limit]

    def _count(self, asked: Asked, run_id: str, severity: str) -> Answer:
        events = self._part(run_id, "events", [])
        return ok(sum(event["severity"] == severity for event in events))

    def _tables(self, asked: Asked, run_id: str) -> Answer:
        return ok(self._part(run_id, "tables", []), "tables")

    def _comments(self, asked: Asked, run_id: str) -> Answer:
        return ok(self._part(run_id, "comments", []))

    def _runs(self, asked: Asked) -> Answer:
        runs = [
            json.loads(path.read_text(encoding="utf-8"))["run"] for path in self.folder.glob(f"*/{FACTS}")
        ]
        newest = sorted(runs, key=lambda run: str(run["start_time"]), reverse=True)
        return ok(newest[: int(asked.query.get("limit", ["10"])[0])])

    def _download(self, asked: Asked, run_id: str, name: str) -> Answer:
        links = dict(self._part(run_id, "run", {"logs": []})["logs"])
        if name not in links:
            return trouble("TestRunServiceException", f"Log name {name} not found.")
        target = (
            f"{self.base}/bucket/{run_id}/{quote(links[name])}?X-Amz-Signature=stand-in&X-Amz-Expires=3600"
        )
        return Answer(302, b"", "text/html", {"Location": target})

    def _file(self, asked: Asked) -> Answer:
        """Give out an archive as a bucket does, to whoever holds a signature."""
        _, _, run_id, name = asked.path.split("/", 3)
        path = self.folder / Path(run_id).name / Path(name).name
        if "X-Amz-Signature" not in asked.query:
            return Answer(403, b"<Error>AccessDenied</Error>", "application/xml")
        if not path.is_file():
            return Answer(404, b"<Error>NoSuchKey</Error>", "application/xml")
        return Answer(200, path.read_bytes(), "application/zstd")


# ------------------------------------------------------------------------------------------------- serving


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(parts.path, parse_qs(parts.query), headers)
        answer = self.server.stand_in.before(asked) or self.server.stand_in.answer(asked)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = "Content-Length" in answer.headers  # a lie about the length ends here

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet: this is the demonstration's terminal."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # with the usual 5, a reader that asks everything at once waits a second
    stand_in: StandIn

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: a reader that went away is no trouble."""


@contextmanager
def served(stand_in: StandIn) -> Iterator[str]:
    """Serve on a free port of loopback for the time of the block. Gives the address."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.stand_in = stand_in
    stand_in.base = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield stand_in.base
    finally:
        server.shutdown()
        server.server_close()

"""A trace server for tests: accepts everything Weave sends over HTTP on loopback, and remembers the calls and
objects.

It also answers what `weave.init` asks W&B. What it cannot show: whether the real service would accept any of
it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Received:
    """What arrived, by the path it was sent to."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []

    def calls(self) -> list[dict[str, Any]]:
        """Weave's calls in order of their start: name, name of the parent (`in`),
        inputs, output, attributes.
        """
        starts, ends = dict[str, dict[str, Any]](), dict[str, dict[str, Any]]()
        for path, body in self.posts:
            for one in body.get("batch", [body]):
                if path.endswith("/calls/complete"):
                    starts[one["id"]] = ends[one["id"]] = one
                elif path.endswith("/call/start"):
                    starts[one["start"]["id"]] = one["start"]
                elif path.endswith("/call/end"):
                    ends[one["end"]["id"]] = one["end"]
        names = {id_: start["op_name"].split("/op/")[-1].split(":")[0] for id_, start in starts.items()}
        return [
            {
                "name": names[one["id"]],
                "in": names.get(one["parent_id"]),
                "trace": one["trace_id"],
                "inputs": one["inputs"],
                "attributes": one["attributes"],
                "run": one.get("wb_run_id"),
                "output": ends.get(one["id"], {}).get("output"),
            }
            for one in sorted(starts.values(), key=lambda start: str(start["started_at"]))
        ]

    def objects(self, name: str) -> list[Any]:
        """The objects saved by a name."""
        saved = [body["obj"] for path, body in self.posts if path == "/obj/create"]
        return [obj["val"] for obj in saved if obj["object_id"] == name]


LOGIN = {
    "viewer": {"username": "tester", "entity": "team", "defaultEntity": {"name": "team"}},
    "project": {"name": "investigator"},
}
"""What W&B answers to the questions of `weave.init`."""
VERSIONS = {"min_required_weave_python_version": "0.0.1", "trace_server_version": "99.0.0"}


@contextmanager
def trace_server(received: Received) -> Iterator[None]:
    """While it lasts, the environment of this process names a W&B and a trace
    server on loopback, and a key.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(VERSIONS)

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if "json" in self.headers["Content-Type"]:  # else a file: the source of an op
                received.posts.append((self.path, json.loads(content)))
            taken = {"digest": "d" * 43, "id": "x", "trace_id": "t", "row_digests": [], "res": []}
            self._reply({"data": LOGIN} if self.path == "/graphql" else taken)

        def _reply(self, value: dict[str, Any]) -> None:
            reply = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    os.environ.update(
        WANDB_BASE_URL=url, WF_TRACE_SERVER_URL=url, WANDB_API_KEY=40 * "0", WANDB_MODE="online"
    )
    try:
        yield
    finally:
        server.shutdown()

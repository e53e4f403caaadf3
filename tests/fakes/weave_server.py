"""A trace server for tests: accepts everything Weave sends over HTTP on loopback, and remembers the calls and objects.

`trace_server()` gives the process a Weave client that talks to it. What it cannot show: whether the real service would accept it.
"""

from __future__ import annotations

import json
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
        """Weave's calls in order of their start: name, name of the parent (`in`), inputs, output, attributes."""
        starts, ends = dict[str, dict[str, Any]](), dict[str, dict[str, Any]]()
        for path, body in self.posts:
            if path.startswith("/call/"):
                starts |= {body["start"]["id"]: body["start"]} if "start" in body else {}
                ends |= {body["end"]["id"]: body["end"]} if "end" in body else {}
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


@contextmanager
def trace_server(received: Received) -> Iterator[Any]:
    """A Weave client of this process whose server is here; everything has arrived when the block ends."""
    from weave.trace import weave_client
    from weave.trace.context import weave_client_context
    from weave.trace_server_bindings.remote_http_trace_server import RemoteHTTPTraceServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if "json" in self.headers["Content-Type"]:  # else a file: the source of an op
                received.posts.append((self.path, json.loads(content)))
            reply = json.dumps({"digest": "d" * 43, "id": "x", "trace_id": "t", "row_digests": [], "res": []}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    remote = RemoteHTTPTraceServer(f"http://127.0.0.1:{server.server_address[1]}")
    client = weave_client.WeaveClient("team", "investigator", remote, ensure_project_exists=False)
    weave_client_context.set_weave_client_global(client)
    try:
        yield client
        client.flush()
    finally:
        weave_client_context.set_weave_client_global(None)
        server.shutdown()

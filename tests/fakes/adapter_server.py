"""A stand-in for `python -m alignment serve`: it answers `/v1/NAME` with fixed objects
and keeps what it was sent.

The real service is tested with a real model in tests/alignment/test_serving.py.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class AdapterServer(NamedTuple):
    """Its address, and the requests so far: path, bearer token, body."""

    url: str
    requests: list[tuple[str, str, dict[str, Any]]]


@contextmanager
def adapter_server(replies: Mapping[str, Any]) -> Iterator[AdapterServer]:
    """Serve `replies` by name (triage, score); a name that is not there is answered with 404."""
    seen: list[tuple[str, str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = self.path.removeprefix("/v1/")
            seen.append((self.path, self.headers["Authorization"].removeprefix("Bearer "), body))
            self.send_response(200 if name in replies else 404)
            self.end_headers()
            self.wfile.write(json.dumps(replies.get(name, {"error": {"message": "not here"}})).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield AdapterServer(f"http://127.0.0.1:{http.server_address[1]}", seen)
    finally:
        http.shutdown()
        http.server_close()
        thread.join()

"""An HTTP server of files on loopback that can do what real servers do wrong: cut a stream, lose its range,
redirect, hang, answer with a sign-in page."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Page:
    """One answer. `cut_after` closes the connection after so many bytes of it, `cuts` times."""

    body: bytes = b""
    status: int = 200
    kind: str | None = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    cuts: int = 0
    ranges: bool = True
    hold: threading.Event | None = None
    """Sends the headers and half of the body, then waits for this."""


@dataclass
class FileServer:
    """What a test gives out and what was asked for."""

    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        files: FileServer = self.server.files
        path = self.path.partition("?")[0]
        files.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self._send(files.pages.get(path, Page(b"not found", 404, "text/plain")))

    def _send(self, page: Page) -> None:
        start = self._start(page)
        body = page.body[start:]
        partial = start > 0 and bool(body)
        status = 206 if partial else page.status
        if start and not body:
            status = 416
        self.send_response(status)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
        if page.kind:
            self.send_header("Content-Type", page.kind)
        if page.ranges:
            self.send_header("ETag", '"one"')
        for name, value in page.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if page.hold:
            self.wfile.write(body[: len(body) // 2])
            page.hold.wait()
            body = body[len(body) // 2 :]
        if page.cuts and page.cut_after is not None and len(body) > page.cut_after:
            page.cuts -= 1
            self.wfile.write(body[: page.cut_after])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _start(self, page: Page) -> int:
        asked = self.headers.get("Range", "")
        return int(asked.removeprefix("bytes=").rstrip("-")) if page.ranges and asked else 0

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no trouble of ours."""


@contextmanager
def file_server() -> Iterator[FileServer]:
    server = _Server(("127.0.0.1", 0), _Handler)
    files = FileServer(f"http://127.0.0.1:{server.server_port}")
    server.files = files  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()

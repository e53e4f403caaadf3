"""A proxy in the environment does not stand between a run and its own service."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from core.serving.direct import reach_directly

NOBODY = "http://127.0.0.1:9"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def test_a_client_that_reads_the_environment_reaches_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, NOBODY)
    monkeypatch.setenv("NO_PROXY", "example.test")
    monkeypatch.delenv("no_proxy", raising=False)
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        with pytest.raises(httpx.HTTPError):
            httpx.get(url)
        reach_directly(url)
        assert httpx.get(url).status_code == 200
        server.shutdown()


def test_other_hosts_and_what_is_known_are_left_alone() -> None:
    environment = {"NO_PROXY": "*", "no_proxy": "example.test"}
    reach_directly("https://api.training.wandb.ai/v1", environment)
    assert environment == {"NO_PROXY": "*", "no_proxy": "example.test"}
    reach_directly("http://localhost:1234/v1", environment)
    reach_directly("http://localhost:1234/v1", environment)
    assert environment == {"NO_PROXY": "*", "no_proxy": "example.test,localhost"}

"""A server says where it listens in one line, and a taken port is an error that names the flag."""

from __future__ import annotations

import socket
from urllib.request import Request as Asking
from urllib.request import urlopen

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from core.serving.guard import BodyTooLarge, read_body
from core.serving.listening import LISTENING, announce, bind, in_background, is_loopback
from project_types import ConfigurationError


def test_the_line_that_is_printed_is_the_line_that_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1", 0) as listener:
        where = announce(listener)
    found = LISTENING.search(capsys.readouterr().out)
    assert found
    assert found[1] == where
    assert where == f"http://127.0.0.1:{found[2]}"


def test_a_taken_port_names_the_flag_to_change() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigurationError, match="choose another --port"),
    ):
        bind("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "only_here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("192.0.2.1", False)],
)
def test_loopback_is_told_from_other_addresses(host: str, only_here: bool) -> None:
    assert is_loopback(host) is only_here


@pytest.mark.parametrize(("sent", "answer"), [(b"x" * 100, "100"), (b"x" * 101, "too large"), (b"", "0")])
def test_a_body_is_read_up_to_its_limit_and_its_sender_hears_the_answer(sent: bytes, answer: str) -> None:
    async def length(request: Request) -> Response:
        try:
            return PlainTextResponse(str(len(await read_body(request.stream(), 100))))
        except BodyTooLarge:
            return PlainTextResponse("too large")

    app = Starlette(routes=[Route("/", length, methods=["POST"])])
    with in_background(app) as url, urlopen(Asking(url, data=sent, method="POST")) as got:
        assert got.read().decode() == answer

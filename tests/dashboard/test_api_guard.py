"""Who may talk to the dashboard: Host, Origin, token, sizes, headers; and the command that starts it."""

from __future__ import annotations

import html
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from core.serving.guard import COOKIE, Door
from dashboard.__main__ import main
from dashboard.guard import LARGEST_BODY
from tests.builders.runs import training_run
from tests.dashboard.served import captured, dashboard, visitor

TOKEN = "a token that nobody guesses"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One captured training run."""
    runs = tmp_path_factory.mktemp("guard") / "runs"
    training_run(runs)
    captured(runs)
    return runs


@pytest.fixture(scope="module")
def open_house(root: Path) -> Iterator[str]:
    """A dashboard on loopback that asks for no token."""
    with dashboard(root) as url:
        yield url


@pytest.fixture(scope="module")
def locked(root: Path) -> Iterator[str]:
    """A dashboard that asks for TOKEN and answers to any address."""
    with dashboard(root, Door(token=TOKEN, any_address=True)) as url:
        yield url


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost.evil.example"]
)
def test_a_foreign_host_header_is_refused(open_house: str, host: str) -> None:
    answer = visitor.get(f"{open_house}/api/runs", headers={"Host": host})
    assert answer.status_code in (400, 403)
    assert "seed1" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9999", "LOCALHOST", "[::1]:80"])
def test_loopback_is_known_by_its_names(open_house: str, host: str) -> None:
    assert visitor.get(f"{open_house}/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"), [("192.0.2.7:8321", 200), ("[2001:db8::7]", 200), ("rebound.example", 403)]
)
def test_a_listener_on_every_interface_answers_to_addresses_and_not_to_unknown_names(
    locked: str, host: str, status: int
) -> None:
    assert visitor.get(f"{locked}/health", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://localhost.evil.example"]
)
def test_a_request_from_another_site_is_refused(open_house: str, origin: str) -> None:
    assert visitor.get(f"{open_house}/api/experiments", headers={"Origin": origin}).status_code == 403


def test_a_request_from_our_own_page_is_answered(open_house: str) -> None:
    headers = {"Origin": open_house, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert visitor.get(f"{open_house}/api/experiments", headers=headers).status_code == 200


@pytest.mark.parametrize(("mode", "status"), [("no-cors", 403), ("cors", 403), ("navigate", 200)])
def test_another_site_may_link_here_and_embed_nothing(open_house: str, mode: str, status: int) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
    assert visitor.get(f"{open_house}/runs", headers=headers).status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer"},
        {"Cookie": f"{COOKIE}={'0' * 64}"},
        {"Cookie": f"{COOKIE}={TOKEN}"},
        {"Cookie": "\x00;;;="},
    ],
    ids=["nothing", "wrong", "basic", "empty", "made-up cookie", "token as cookie", "broken cookie"],
)
@pytest.mark.parametrize("path", ["/api/experiments", "/openapi.json", "/run/status?name=seed1"])
def test_without_the_token_nothing_is_shown(locked: str, path: str, headers: dict[str, str]) -> None:
    sent = {name.encode(): value.encode("latin-1") for name, value in headers.items() if "\x00" not in value}
    answer = visitor.get(f"{locked}{path}", headers=sent)
    assert answer.status_code == 401
    assert "seed1" not in answer.text


def test_with_the_token_the_api_answers(locked: str) -> None:
    assert (
        visitor.get(f"{locked}/api/runs", headers={"Authorization": f"Bearer {TOKEN}"}).json()[0]["name"]
        == "seed1"
    )


def test_a_browser_logs_in_and_carries_a_cookie_that_is_not_the_token(locked: str) -> None:
    with httpx.Client(base_url=locked, timeout=60, headers={"Accept": "text/html"}) as client:
        sent_away = client.get("/runs")
        assert sent_away.status_code == 303
        assert sent_away.headers["location"] == "/login?next=/runs"
        assert client.post("/login", data={"token": "wrong", "next": "/runs"}).status_code == 401
        logged_in = client.post("/login", data={"token": TOKEN, "next": "/runs"}, headers={"Origin": locked})
        assert logged_in.headers["location"] == "/runs"
        cookie = logged_in.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert TOKEN not in cookie
        assert "seed1" in client.get("/runs").text


def test_a_link_to_one_run_still_leads_to_that_run_after_the_login(locked: str) -> None:
    with httpx.Client(
        base_url=locked, timeout=60, headers={"Accept": "text/html"}, follow_redirects=True
    ) as client:
        assert "Log in" in client.get("/episodes?q=" + "%20" * 1000).text, "too long to be carried along"
        asked = client.get("/run", params={"name": "seed1"})
        kept = html.unescape(re.findall(r'name="next" value="([^"]*)"', asked.text)[0])
        shown = client.post("/login", data={"token": TOKEN, "next": kept})
        assert shown.url.path == "/run"
        assert shown.url.params["name"] == "seed1"
        assert shown.status_code == 200


@pytest.mark.parametrize(
    "next_page", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\nx"]
)
def test_logging_in_never_leads_to_another_site(locked: str, next_page: str) -> None:
    answer = httpx.post(f"{locked}/login", timeout=60, data={"token": TOKEN, "next": next_page})
    assert answer.headers["location"] == "/"


def test_logging_in_from_another_site_is_refused(locked: str) -> None:
    answer = httpx.post(
        f"{locked}/login", timeout=60, data={"token": TOKEN}, headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_body_that_says_it_is_too_large_is_refused(locked: str) -> None:
    assert (
        httpx.post(f"{locked}/login", timeout=60, content=b"token=" + b"x" * LARGEST_BODY).status_code == 413
    )


def test_a_body_that_does_not_say_how_large_it_is_is_cut_off(locked: str) -> None:
    sent = iter([b"token="] + [b"x" * 8192] * 64)
    try:
        answer = httpx.post(f"{locked}/login", content=sent, timeout=60)
    except httpx.TransportError:  # the connection was closed while it was still sending
        answer = None
    assert answer is None or answer.status_code >= 400
    assert visitor.get(f"{locked}/health").status_code == 200


def test_an_endless_address_is_refused(open_house: str) -> None:
    assert visitor.get(f"{open_house}/experiments?q={'x' * 5000}").status_code == 414


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/api/runs", 200),
        ("/nothing", 404),
        ("/experiments?x=1", 422),
        ("/static/page.js", 200),
        ("/static/../serve.py", 404),
    ],
)
def test_every_answer_forbids_foreign_and_inline_scripts(open_house: str, path: str, status: int) -> None:
    answer = visitor.get(f"{open_house}{path}")
    assert answer.status_code == status
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["script-src"] == "'self'"
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_static_files_cannot_be_used_to_leave_their_folder(open_house: str) -> None:
    where = urlsplit(open_house)
    for path in (
        "/static/../serve.py",
        "/static/%2e%2e/serve.py",
        "/static/..%2fserve.py",
        "/static//etc/passwd",
    ):
        with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            assert raw.recv(64).split()[1] == b"404", path


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed_over_http(open_house: str, method: str) -> None:
    assert httpx.request(method, timeout=60, url=f"{open_house}/api/experiments").status_code == 405


# ---------------------------------------------------------------------------------------------------- command


def started(root: Path, *flags: str, **environment: str) -> tuple[subprocess.Popen[str], list[str]]:
    """The command as a process, and what it printed until it listened (and named its token)."""
    command = [
        sys.executable,
        "-m",
        "dashboard",
        "serve",
        "--runs",
        str(root),
        "--port",
        "0",
        "--no-capture",
        *flags,
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FAILURE_ANALYSIS")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=kept | environment
    )
    assert process.stdout is not None
    lines = [process.stdout.readline().strip()]
    if "0.0.0.0" in flags:
        lines += [process.stdout.readline().strip() for _ in range(1 if environment else 2)]
    return process, lines


@pytest.mark.slow
def test_the_command_serves_until_it_is_told_to_stop(root: Path) -> None:
    process, (line,) = started(root)
    try:
        url = line.removeprefix("listening on ")
        assert url.startswith("http://127.0.0.1:")
        assert visitor.get(f"{url}/api/runs").json()[0]["name"] == "seed1"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0


@pytest.mark.slow
def test_away_from_loopback_the_command_makes_a_token_and_asks_for_it(root: Path) -> None:
    process, lines = started(root, "--host", "0.0.0.0")
    try:
        port = lines[0].rpartition(":")[2]
        token = lines[1].split()[1]
        assert "encrypted" in lines[2]
        assert visitor.get(f"http://127.0.0.1:{port}/api/runs").status_code == 401
        answer = visitor.get(
            f"http://127.0.0.1:{port}/api/runs", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
        assert answer.status_code == 200
    finally:
        process.terminate()
        process.wait(timeout=120)


def test_a_taken_port_is_an_error_that_names_the_flag(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--runs", str(root), "--port", str(taken.getsockname()[1])]) == 2
    assert "--port" in capsys.readouterr().err


def test_alerts_without_a_webhook_are_refused_before_anything_starts(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--runs", str(root), "--port", "0", "--alerts"]) == 2
    assert "FAILURE_ANALYSIS_WEBHOOK" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["login", "bearer"])
def test_guessing_the_token_ends_after_ten_tries(root: Path, how: str) -> None:
    with dashboard(root, Door(token=TOKEN)) as url, httpx.Client(base_url=url, timeout=60) as client:

        def guess(token: str) -> httpx.Response:
            if how == "login":
                return client.post("/login", data={"token": token})
            return client.get("/api/runs", headers={"Authorization": f"Bearer {token}"})

        assert [guess("wrong").status_code for _ in range(11)] == [401] * 10 + [429]
        assert guess(TOKEN).status_code == 429, "else the limit would limit nothing"
        assert client.get("/health").status_code == 200

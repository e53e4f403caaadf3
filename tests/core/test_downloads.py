"""A log is read from where it may be read, resumed where the server can, and never from a private place."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.downloads import Access, DownloadError, is_public, opened, shown_url
from tests.fakes.file_server import FileServer, Page, file_server


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as files:
        yield files


def allowed(server: FileServer, **more: object) -> Access:
    return Access(private_hosts=frozenset({server.host}), pause_s=0.001)._replace(**more)  # type: ignore[arg-type]


def body_of(where: str, access: Access, start: int = 0) -> bytes:
    with opened(where, access, start) as source:
        return b"".join(iter(lambda: source.read(1000), b""))


CONTENT = os.urandom(300_000)


def test_a_url_is_read_whole(server: FileServer) -> None:
    server.pages["/logs/a.tar.zst"] = Page(CONTENT)
    with opened(f"{server.url}/logs/a.tar.zst?X-Amz-Signature=abc", allowed(server)) as source:
        assert (source.name, source.total) == ("a.tar.zst", len(CONTENT))
        assert "abc" not in source.shown
    assert body_of(f"{server.url}/logs/a.tar.zst", allowed(server)) == CONTENT


def test_a_connection_that_breaks_is_resumed(server: FileServer) -> None:
    server.pages["/a"] = Page(CONTENT, cut_after=70_000, cuts=3)
    assert body_of(f"{server.url}/a", allowed(server)) == CONTENT
    asked = [headers.get("range") for _, headers in server.requests]
    assert asked == [None, "bytes=70000-", "bytes=140000-", "bytes=210000-"]


def test_a_break_that_cannot_be_resumed_says_how_far_it_got(server: FileServer) -> None:
    server.pages["/a"] = Page(CONTENT, cut_after=70_000, cuts=1, ranges=False)
    with pytest.raises(DownloadError, match="broke after 70,000 bytes"):
        body_of(f"{server.url}/a", allowed(server))


def test_a_server_that_breaks_again_and_again_is_given_up(server: FileServer) -> None:
    server.pages["/a"] = Page(CONTENT, cut_after=10, cuts=99)
    with pytest.raises(DownloadError, match="broke after"):
        body_of(f"{server.url}/a", allowed(server))
    assert len(server.requests) == 6


def test_a_server_that_hangs_ends_in_an_error(server: FileServer) -> None:
    server.pages["/a"] = Page(CONTENT, hold=threading.Event(), ranges=False)
    with pytest.raises(DownloadError, match="ReadTimeout"):
        body_of(f"{server.url}/a", allowed(server, read_s=0.05))


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json", "image/png"])
def test_a_page_that_is_no_log_is_refused(server: FileServer, kind: str) -> None:
    server.pages["/a"] = Page(b"<html>sign in</html>", kind=kind)
    with pytest.raises(DownloadError, match="neither a log nor an archive"):
        body_of(f"{server.url}/a", allowed(server))


@pytest.mark.parametrize(("status", "words"), [(403, "denied"), (404, "HTTP 404"), (500, "HTTP 500")])
def test_an_error_answer_is_an_error(server: FileServer, status: int, words: str) -> None:
    server.pages["/a"] = Page(b"x", status=status)
    with pytest.raises(DownloadError, match=words):
        body_of(f"{server.url}/a?token=hidden", allowed(server))


def test_loopback_is_refused_unless_it_is_allowed_by_name(server: FileServer) -> None:
    server.pages["/a"] = Page(CONTENT)
    with pytest.raises(DownloadError, match="private address"):
        body_of(f"{server.url}/a", Access())
    assert server.requests == []


def test_a_redirect_to_a_private_address_is_refused(server: FileServer) -> None:
    with file_server() as inner:
        inner.pages["/secret"] = Page(b"secret")
        server.pages["/a"] = Page(status=302, headers={"Location": f"{inner.url}/secret"})
        with pytest.raises(DownloadError, match="private address"):
            body_of(f"{server.url}/a", allowed(server))
        assert inner.requests == []


def test_a_redirect_keeps_the_token_at_its_own_server(server: FileServer) -> None:
    with file_server() as storage:
        storage.pages["/bucket/a.log"] = Page(b"row\n")
        server.pages["/log/download"] = Page(
            status=302, headers={"Location": f"{storage.url}/bucket/a.log?sig=1"}
        )
        access = allowed(server, private_hosts=frozenset({server.host, storage.host}))
        access = access._replace(headers={server.url: {"Authorization": "token t"}})
        with opened(f"{server.url}/log/download", access) as source:
            assert (source.read(9), source.name) == (b"row\n", "a.log")
        assert server.requests[0][1]["authorization"] == "token t"
        assert "authorization" not in storage.requests[0][1]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "http://[bad", ""])
def test_a_redirect_to_something_else_is_refused(server: FileServer, location: str) -> None:
    server.pages["/a"] = Page(status=302, headers={"Location": location})
    with pytest.raises(DownloadError, match="redirects"):
        body_of(f"{server.url}/a", allowed(server))


def test_a_body_over_the_limit_is_refused(server: FileServer) -> None:
    server.pages["/a"] = Page(CONTENT)
    with pytest.raises(DownloadError, match="larger than 1,000 bytes"):
        body_of(f"{server.url}/a", allowed(server, most_bytes=1000))


def test_nobody_listening_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(DownloadError, match="cannot be reached"):
            body_of(f"http://{host}/a", Access(private_hosts=frozenset({host})))


def test_reading_goes_on_from_a_byte_and_stops_at_the_end(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"0123456789")
    server.pages["/a"] = Page(b"0123456789")
    for where, access in (
        (f"{server.url}/a", allowed(server)),
        (str(tmp_path / "a.log"), Access(folders=(tmp_path,))),
    ):
        assert body_of(where, access, 7) == b"789"
        assert body_of(where, access, 10) == b""


def test_files_are_read_from_the_allowed_folders_only(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.log").write_bytes(b"x")
    (tmp_path / "out.log").write_bytes(b"y")
    (tmp_path / "in/link.log").symlink_to(tmp_path / "out.log")
    access = Access(folders=(tmp_path / "in",))
    assert body_of(str(tmp_path / "in/a.log"), access) == b"x"
    assert body_of((tmp_path / "in/a.log").as_uri(), access) == b"x"
    for name in ("out.log", "in/../out.log", "in/link.log"):
        with pytest.raises(DownloadError, match="outside the folders"):
            body_of(str(tmp_path / name), access)
    with pytest.raises(DownloadError, match="cannot be read"):
        body_of(str(tmp_path / "in/missing.log"), access)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.log")
    with pytest.raises(DownloadError, match="not a regular file"):
        body_of(str(tmp_path / "a.log"), Access(folders=(tmp_path,)))


@pytest.mark.parametrize("where", ["ftp://host/a", "s3://bucket/key", "data:text/plain,x"])
def test_other_schemes_are_refused(where: str) -> None:
    with pytest.raises(DownloadError, match="only http"):
        body_of(where, Access())


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "0.0.0.0",
     "64:ff9b::7f00:1", "2002:7f00:1::", "fd00::1", "224.0.1.1", "100.64.0.1"],
)  # fmt: skip
def test_a_private_address_is_known_in_every_wrapping(address: str) -> None:
    assert not is_public(address)


def test_a_public_address_is_public() -> None:
    assert is_public("8.8.8.8")
    assert is_public("2001:4860:4860::8888")


def test_what_is_shown_of_a_url_holds_no_secret() -> None:
    url = "https://user:pass@bucket.s3.amazonaws.com:8443/a/b.tar.zst?X-Amz-Credential=AK&X-Amz-Signature=1#x"
    assert shown_url(url) == "https://bucket.s3.amazonaws.com:8443/a/b.tar.zst"
    assert shown_url("http://[bad/?token=1") == "(a malformed URL)"

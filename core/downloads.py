"""Read a log or an archive from a URL or a file, as a stream, from a place that may be read.

An address can come from a log line or from a model, so it is not trusted. Private and loopback addresses are
refused unless their host is allowed by name. The check is made on the address that is connected to, at every
redirect. Credentials go to the origin they belong to and to no other. What is printed of a URL never holds
its query, which is where presigned URLs keep their signature. A connection that breaks is resumed when the
server can. Unpacking is `core.archives`.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import httpcore
import httpx

from core.archives import Readable
from project_types import InvestigatorError

_REDIRECTS, _RESUMES = 5, 5
_JSON = "application/json"
_NOT_LOGS = ("text/html", "application/xhtml", _JSON, "application/xml", "text/xml",
             "image/", "video/", "audio/")  # fmt: skip
"""What a sign-in page or an error looks like."""
_REDIRECT_CODES = {301, 302, 303, 307, 308}
_TROUBLE = (httpx.HTTPError, httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)


class DownloadError(InvestigatorError):
    """Something cannot be read, or may not be. The text says what and what to do."""


class Access(NamedTuple):
    """What may be read, and how."""

    private_hosts: frozenset[str] = frozenset()
    """Hosts (`host` or `host:port`) that may have a private or loopback address."""
    folders: tuple[Path, ...] = ()
    """Folders whose files may be read."""
    headers: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    """Headers by origin (`https://argus.example.com`): a token goes to its own server only."""
    takes_json: bool = False
    """Whether JSON is asked for; otherwise it is an error page."""
    most_bytes: int = 64 << 30
    connect_s: float = 10.0
    read_s: float = 60.0
    pause_s: float = 0.5
    """Before the first attempt to resume; each further one waits twice as long."""


class Source(Readable):
    """An open log or archive. `total` is its size in bytes where the server says it."""

    name: str
    shown: str
    total: int | None
    taken: int


def shown_url(url: str) -> str:
    """Return what may be printed of a URL: no user, no query, no fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(a malformed URL)"
    return f"{parts.scheme}://{host}{port}{parts.path}" if parts.scheme else parts.path


def origin(url: str) -> str:
    """Return `scheme://host[:port]` of a URL, in lower case."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


@contextmanager
def opened(where: str, access: Access, start: int = 0) -> Iterator[Source]:
    """Open a URL (http, https, file) or a path, at byte `start`. A start behind the end reads nothing.

    Raises:
        DownloadError: it is not there, may not be read, or is no log and no archive.
    """
    if urlsplit(where).scheme in ("http", "https"):
        with closing(_Download(where, access, start)) as download:
            yield download
    else:
        with closing(_File(_path(where), access, start)) as file:
            yield file


# ---------------------------------------------------------------------------------------------------- files


def _path(where: str) -> Path:
    parts = urlsplit(where)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if len(parts.scheme) > 1:
        raise DownloadError(f"{shown_url(where)}: only http, https, file and paths can be read")
    return Path(where)


class _File(Source):
    def __init__(self, path: Path, access: Access, start: int) -> None:
        try:
            real = path.resolve(strict=True)
            if not any(real.is_relative_to(folder.resolve()) for folder in access.folders):
                allowed = ", ".join(map(str, access.folders)) or "none"
                raise DownloadError(f"{path}: lies outside the folders that may be read ({allowed})")
            descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not block
        except OSError as trouble:
            raise DownloadError(f"{path}: cannot be read ({trouble.strerror}); check the path") from trouble
        self._file = os.fdopen(descriptor, "rb")
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            self._file.close()
            raise DownloadError(f"{path}: is not a regular file")
        self._file.seek(start)
        self.name, self.shown, self.total, self.taken = path.name, str(path), found.st_size, start

    def read(self, size: int, /) -> bytes:
        got = self._file.read(size)
        self.taken += len(got)
        return got

    def close(self) -> None:
        self._file.close()


# ----------------------------------------------------------------------------------------------------- HTTP


class _CheckedNetwork(httpcore.SyncBackend):
    """Connects to addresses that may be reached, and to exactly the address that was checked."""

    def __init__(self, access: Access) -> None:
        self._allowed = access.private_hosts

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as trouble:
            raise DownloadError(f"{host}: has no address ({trouble}); check the URL") from trouble
        addresses = [str(entry[4][0]) for entry in found]
        if not {host, f"{host}:{port}"} & self._allowed:
            for address in addresses:
                if not is_public(address):
                    raise DownloadError(
                        f"{host}: is at a private address, which may not be read from; "
                        f"if it is meant, allow it: TESTRUN_PRIVATE_HOSTS={host}:{port}"
                    )
        return super().connect_tcp(addresses[0], port, timeout, local_address, socket_options)


def is_public(address: str) -> bool:
    """Say whether an IP address belongs to the public internet, also when it is wrapped in IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or _nat64(ip)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


class _Transport(httpx.BaseTransport):
    """httpx over a connection pool whose network is checked. Proxies of the environment are not used."""

    def __init__(self, access: Access) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(), network_backend=_CheckedNetwork(access)
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _Download(Source):
    """The body of a URL. It follows redirects by hand and resumes where a connection broke."""

    def __init__(self, url: str, access: Access, start: int) -> None:
        self._url, self._access, self.taken = url, access, start
        self.shown, self.name = shown_url(url), _file_name(url)
        timeout = httpx.Timeout(access.read_s, connect=access.connect_s)
        self._client = httpx.Client(transport=_Transport(access), timeout=timeout, trust_env=False)
        self._ahead, self._resumes, self._done = b"", 0, False
        try:
            self._begin()
        except BaseException:
            self._client.close()
            raise

    def _begin(self) -> None:
        try:
            answer = self._answer({"Range": f"bytes={self.taken}-"} if self.taken else {})
        except _TROUBLE as trouble:
            raise DownloadError(f"{self.shown}: cannot be reached ({_why(trouble)})") from trouble
        self._done = answer.status_code == 416  # nothing behind the start: the file has not grown
        if not self._done:
            self._check(answer)
        length = answer.headers.get("Content-Length", "")
        self.total = self.taken + int(length) if length.isdecimal() and not self._done else None
        self._tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        self._body = answer.iter_raw()

    def _answer(self, extra: Mapping[str, str]) -> httpx.Response:
        """Send a GET and follow redirects. Each hop gets the headers of its own origin only."""
        url = self._url
        for _ in range(_REDIRECTS + 1):
            headers = {"Accept-Encoding": "identity", **self._access.headers.get(origin(url), {}), **extra}
            answer = self._client.send(self._client.build_request("GET", url, headers=headers), stream=True)
            if answer.status_code not in _REDIRECT_CODES:
                return answer
            answer.close()
            url = self._next(url, answer.headers.get("Location", ""))
            self.name = _file_name(url)
        raise DownloadError(f"{self.shown}: redirects more than {_REDIRECTS} times")

    def _next(self, url: str, location: str) -> str:
        try:
            target = urljoin(url, location)
            parts = urlsplit(target)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DownloadError(f"{self.shown}: redirects to something that is no web address")
        if urlsplit(url).scheme == "https" and parts.scheme == "http":
            raise DownloadError(f"{self.shown}: redirects from https to http; it is not followed")
        return target

    def _check(self, answer: httpx.Response) -> None:
        """Refuse an answer that is an error, or that is neither a log nor an archive."""
        code = answer.status_code
        if self.taken and code == 200:
            raise DownloadError(f"{self.shown}: the server cannot send a part of a file; start it again")
        if code in (401, 403):
            raise DownloadError(f"{self.shown}: access is denied (HTTP {code}); the link may have expired")
        if code not in (200, 206):
            raise DownloadError(f"{self.shown}: the server answered HTTP {code}")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind.startswith(_NOT_LOGS) and not (kind == _JSON and self._access.takes_json):
            raise DownloadError(
                f"{self.shown}: is {kind}, neither a log nor an archive; it may be a sign-in page"
            )

    def read(self, size: int, /) -> bytes:
        while not self._ahead and not self._done:
            self._ahead = self._more()
        got, self._ahead = self._ahead[:size], self._ahead[size:]
        self.taken += len(got)
        if self.taken > self._access.most_bytes:
            raise DownloadError(f"{self.shown}: is larger than {self._access.most_bytes:,} bytes")
        return got

    def _more(self) -> bytes:
        try:
            return next(self._body)
        except StopIteration:
            self._done = True
            return b""
        except _TROUBLE as trouble:
            self._resume(trouble)
            return b""

    def _resume(self, trouble: Exception) -> None:
        """Go on where the connection broke. The server must prove that it still has the same file."""
        self._resumes += 1
        if self._resumes > _RESUMES or self._tag is None:
            text = f"the connection broke after {self.taken:,} bytes ({_why(trouble)})"
            raise DownloadError(f"{self.shown}: {text}; start it again") from trouble
        time.sleep(self._access.pause_s * 2 ** (self._resumes - 1))
        try:
            answer = self._answer({"Range": f"bytes={self.taken}-", "If-Range": self._tag})
        except _TROUBLE as again:
            self._resume(again)
            return
        begins = answer.headers.get("Content-Range", "").startswith(f"bytes {self.taken}-")
        if answer.status_code != 206 or not begins:
            raise DownloadError(
                f"{self.shown}: the connection broke after {self.taken:,} bytes and the server cannot go on "
                "from there; start it again"
            ) from trouble
        self._body = answer.iter_raw()

    def close(self) -> None:
        self._client.close()


def _why(trouble: BaseException) -> str:
    return f"{type(trouble).__name__} {trouble}".strip()[:200]


def _file_name(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name or "download"

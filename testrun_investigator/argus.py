"""Read a test run from Argus: what ran, how it ended, its events, nemeses, results, comments and log links.

One deadline holds for a whole reading. The run itself is required; every other part that is late, broken or
refused is left out and named in `missing`. Argus answers 200 also when something failed, so each envelope is
checked. Nothing is ever written to Argus. Log links are read with their addresses: `redacted_links` is what
may be kept and shown.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx
from pydantic import (
    TypeAdapter,
    ValidationError,
)

from core.redaction import redact
from project_types import ConfigurationError, InvestigatorError
from testrun_investigator.argus_run import ArgusRun, Comment, Event, Nemesis, RunSummary

SEVERITIES = ("CRITICAL", "ERROR", "WARNING", "NORMAL", "DEBUG")
_MOST_BYTES = 64 << 20
_CLIENT_VERSION = "0.16.7"
"""The argus-alm release whose requests ours look like. The server logs it."""


class ArgusError(InvestigatorError):
    """Argus cannot be read; the text says why and what to do."""


class ArgusSettings(NamedTuple):
    """Where Argus is and who asks."""

    url: str = ""
    token: str = ""
    cf_access_client_id: str = ""
    cf_access_client_secret: str = ""
    deadline_s: float = 20.0

    @property
    def base(self) -> str:
        """Return the URL without its trailing slash."""
        return self.url.strip().rstrip("/")

    @property
    def headers(self) -> dict[str, str]:
        """Return what every request carries."""
        headers = {
            "Authorization": f"token {self.token}",
            "Accept": "application/json",
            "X-Argus-Client-Version": _CLIENT_VERSION,
        }
        if self.cf_access_client_id:
            headers["CF-Access-Client-Id"] = self.cf_access_client_id
            headers["CF-Access-Client-Secret"] = self.cf_access_client_secret
        return headers


Checked = TypeVar("Checked")
_RUN = TypeAdapter(ArgusRun)
_SUMMARIES = TypeAdapter(tuple[RunSummary, ...])
_PARTS: Mapping[str, TypeAdapter[Any]] = {
    "events": TypeAdapter(tuple[Event, ...]),
    "event_counts": TypeAdapter(dict[str, int]),
    "results": TypeAdapter(tuple[dict[str, Any], ...]),
    "comments": TypeAdapter(tuple[Comment, ...]),
    "nemesis_data": TypeAdapter(tuple[Nemesis, ...]),
}
"""What may be missing, and the shape it must have to be believed."""


def run_id_of(text: str) -> str:
    """Return a run id in its one spelling. Raises ArgusError for what is no UUID."""
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise ArgusError(
            f"run id {text[:60]!r}: is no UUID; copy it from Argus, like 3c1a8a2e-5d1f-4c0e-9d47-6a1f0b2c3d4e"
        ) from None


# ------------------------------------------------------------------------------------------------- the reader


class Argus:
    """Reads one Argus server. Use it as an async context manager."""

    def __init__(self, settings: ArgusSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        if not settings.base.startswith(("http://", "https://")):
            raise ConfigurationError(
                "ARGUS_URL is not set to a web address; run: python -m testrun_investigator doctor"
            )
        if not settings.token:
            raise ConfigurationError(
                f"ARGUS_TOKEN is not set; copy it from {settings.base}/profile/ into .env as ARGUS_TOKEN=..."
            )
        self._settings = settings
        self._client = httpx.AsyncClient(
            base_url=settings.base,
            headers=settings.headers,
            timeout=settings.deadline_s,
            transport=transport,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, trouble: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def run(self, run_id: str, events: int = 20, deadline_s: float | None = None) -> ArgusRun:
        """Read a run and everything about it that arrives in time.

        `events` is how many events of CRITICAL, ERROR and WARNING are read.

        Raises:
            ArgusError: the run itself cannot be read.
        """
        run_id = run_id_of(run_id)
        ends = asyncio.get_running_loop().time() + (deadline_s or self._settings.deadline_s)
        try:
            async with asyncio.timeout_at(ends):
                run_type = await self.run_type(run_id)
                facts = await self._get(f"/api/v1/run/{quote(run_type)}/{run_id}")
        except TimeoutError:
            raise ArgusError(
                f"{self._settings.base}: did not answer in time; try again or raise the deadline"
            ) from None
        if not isinstance(facts, dict):
            raise ArgusError(f"run {run_id}: Argus does not know it; check the id")
        parts, missing = await self._parts(run_id, str(facts.get("test_id")), events, ends)
        return _checked(_RUN, {**facts, **parts, "run_type": run_type, "missing": tuple(missing)})

    async def _parts(
        self, run_id: str, test_id: str, events: int, ends: float
    ) -> tuple[dict[str, Any], list[str]]:
        """Read what may be missing, side by side, until the deadline."""
        asked: dict[str, Awaitable[Any]] = {
            "events": self.events(run_id, events),
            "event_counts": self.event_counts(run_id),
            "results": self._results(test_id, run_id),
            "comments": self._get(f"/api/v1/run/{run_id}/comments"),
            "nemesis_data": self._get(f"/api/v1/client/sct/{run_id}/nemesis/get"),
        }
        tasks = {name: asyncio.ensure_future(work) for name, work in asked.items()}
        left = max(ends - asyncio.get_running_loop().time(), 0)
        await asyncio.wait(tasks.values(), timeout=left)
        parts, missing = dict[str, Any](), list[str]()
        for name, task in tasks.items():
            if not task.done():
                task.cancel()
                missing.append(f"{name}: not answered in time")
                continue
            try:
                parts[name] = _checked(_PARTS[name], task.result())
            except ArgusError as trouble:
                missing.append(f"{name}: {str(trouble)[:300]}")
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        return parts, missing

    async def run_type(self, run_id: str) -> str:
        """Return which kind of test a run is, such as scylla-cluster-tests. Raises
        ArgusError for an unknown run.
        """
        answer = await self._get(f"/api/v1/run/{run_id_of(run_id)}/type")
        kind = answer.get("run_type") if isinstance(answer, dict) else None
        if not isinstance(kind, str) or kind.startswith("unknown"):
            raise ArgusError(f"run {run_id}: Argus does not know it; check the id")
        return kind

    async def status(self, run_id: str) -> str:
        """Return the status a run has now."""
        run_type = await self.run_type(run_id)
        answer = await self._get(f"/api/v1/client/testrun/{quote(run_type)}/{run_id_of(run_id)}/get_status")
        return str(answer)

    async def events(self, run_id: str, limit: int) -> list[Any]:
        """Return the first events of each of the bad severities, in time order."""
        # the route that takes several severities at once fails on the server, so each is asked for alone
        route = f"/api/v1/client/sct/{run_id_of(run_id)}/events"
        lists = await asyncio.gather(
            *(self._get(f"{route}/{severity}/get", limit=limit) for severity in SEVERITIES[:3])
        )
        found = [event for events in lists for event in events or ()]
        return sorted(found, key=lambda event: str(event.get("ts") if isinstance(event, dict) else ""))

    async def event_counts(self, run_id: str) -> dict[str, int]:
        """Return how many events of each severity the run has."""
        route = f"/api/v1/client/sct/{run_id_of(run_id)}/events"
        counts = await asyncio.gather(*(self._get(f"{route}/{severity}/count") for severity in SEVERITIES))
        return dict(zip(SEVERITIES, counts, strict=True))

    async def runs_of(self, test_id: str, limit: int = 10) -> list[RunSummary]:
        """Return the newest runs of a test, newest first."""
        rows = await self._get(f"/api/v1/test/{run_id_of(test_id)}/runs", limit=limit)
        found = _checked(_SUMMARIES, rows or ())
        return list(found)

    async def _results(self, test_id: str, run_id: str) -> Any:
        return await self._get(f"/api/v1/run/{run_id_of(test_id)}/{run_id}/fetch_results", answer="tables")

    async def version(self) -> None:
        """Ask something that needs no right. Raises ArgusError when nobody answers as Argus does."""
        await self._get("/api/v1/version")

    async def _get(self, path: str, answer: str = "response", **query: Any) -> Any:
        """GET a path and return what its envelope holds."""
        try:
            async with self._client.stream("GET", path, params=query) as response:
                body = await _body(response)
        except httpx.HTTPError as trouble:
            why = f"{type(trouble).__name__} {trouble}".strip()
            raise ArgusError(
                f"{self._settings.base}{path}: cannot be read ({redact(why)[:200]})"
            ) from trouble
        return _opened_envelope(response, body, path, answer)


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _MOST_BYTES:
            raise ArgusError(
                f"{response.url.path}: answers with more than {_MOST_BYTES:,} bytes; it is refused"
            )
    return bytes(body)


def _opened_envelope(response: httpx.Response, body: bytes, path: str, answer: str) -> Any:
    """Return what the server meant. An error in a 200 is an error."""
    if response.is_redirect:
        raise ArgusError(
            f"{path}: is behind a sign-in page; set ARGUS_CF_ACCESS_CLIENT_ID and ARGUS_CF_ACCESS_CLIENT_SECRET"
        )
    if response.status_code in (401, 403):
        raise ArgusError(f"{path}: access denied (HTTP {response.status_code}); renew ARGUS_TOKEN")
    if response.status_code != 200:
        raise ArgusError(f"{path}: the server answered HTTP {response.status_code}")
    try:
        envelope = json.loads(body)
    except ValueError:
        raise ArgusError(
            f"{path}: the answer is no JSON; it may be a sign-in page: set ARGUS_CF_ACCESS_CLIENT_ID and "
            "ARGUS_CF_ACCESS_CLIENT_SECRET"
        ) from None
    if not isinstance(envelope, dict):
        raise ArgusError(f"{path}: the answer is no Argus envelope; check ARGUS_URL")
    if envelope.get("status") != "ok":
        raise ArgusError(f"{path}: Argus reports an error: {_message(envelope)}")
    return envelope.get(answer)


def _message(envelope: Mapping[str, Any]) -> str:
    """Return an error's words: an object with a message, or plain text."""
    said = envelope.get("response") or envelope.get("message") or "no message"
    if isinstance(said, dict):
        said = said.get("message") or said.get("exception") or "no message"
    return redact(str(said))[:300]


def _checked(shape: TypeAdapter[Checked], facts: Any) -> Checked:
    try:
        return shape.validate_python(facts)
    except ValidationError as trouble:
        first = trouble.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise ArgusError(f"Argus: {field} has another shape than expected ({first['msg']})") from None

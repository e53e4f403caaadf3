"""The pages and the API over findings about test runs and over sessions of assistants."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Path, Query, Request
from fastapi.responses import Response

from core.episode_store.episodes import EpisodesError
from dashboard.asked import Found
from dashboard.rendering import render
from dashboard.testruns import Session, TestRuns
from dashboard.transcripts import view
from failure_analysis.records import Page
from project_types import Episode
from testrun_investigator.history import Finding

FindingId = Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$")]
Number = Annotated[int, Path(ge=1, le=10**9)]
T = TypeVar("T", Finding, Session)


def add(app: FastAPI, runs: TestRuns) -> None:
    """`/findings`, `/sessions`, one of each, and both lists under `/api`."""
    _add_findings(app, runs)
    _add_sessions(app, runs)


def _add_findings(app: FastAPI, runs: TestRuns) -> None:
    @app.get("/findings", include_in_schema=False)
    def findings(request: Request, asked: Annotated[Found, Query()]) -> Response:
        """Answers about test runs, with what proves them."""
        page = page_of(runs.findings(asked.run_id, asked.q or ""), asked)
        return render(request, "findings.html", page=page, asked=asked, given=_given(asked))

    @app.get("/findings/{id}", include_in_schema=False)
    def finding(request: Request, id: FindingId) -> Response:
        """One finding, checked against the logs; findings like it."""
        one = runs.finding(id)
        if one is None:
            raise HTTPException(404, f"No finding has the id {id}; look for it in Findings.")
        sessions = runs.sessions(one.run_id)[:10]
        checked, similar = runs.checked(one), runs.similar(one)
        return render(request, "finding.html", one=one, checked=checked, similar=similar, sessions=sessions)

    @app.get("/api/findings", tags=["test runs"])
    def api_findings(asked: Annotated[Found, Query()]) -> list[Finding]:
        """Findings about test runs, the newest first."""
        return list(page_of(runs.findings(asked.run_id, asked.q or ""), asked).rows)


def _add_sessions(app: FastAPI, runs: TestRuns) -> None:
    @app.get("/sessions", include_in_schema=False)
    def sessions(request: Request, asked: Annotated[Found, Query()]) -> Response:
        """What assistants did over MCP."""
        page = page_of(runs.sessions(asked.run_id), asked)
        return render(request, "sessions.html", page=page, asked=asked, given=_given(asked))

    @app.get("/sessions/{number}", include_in_schema=False)
    def session(request: Request, number: Number) -> Response:
        """One session, call by call."""
        try:
            played: Episode = runs.session(number)
        except EpisodesError:
            raise HTTPException(404, f"There is no session {number}; look for it in Sessions.") from None
        return render(request, "session.html", played=played, number=number, view=view(played), tag="")

    @app.get("/api/sessions", tags=["test runs"])
    def api_sessions(asked: Annotated[Found, Query()]) -> list[Session]:
        """Sessions of assistants over MCP, the newest first."""
        return list(page_of(runs.sessions(asked.run_id), asked).rows)


def page_of(found: list[T], asked: Found) -> Page[T]:
    """Return the part of a list that was asked for."""
    rows = tuple(found[asked.offset : asked.offset + asked.limit])
    return Page(rows=rows, total=len(found), offset=asked.offset, limit=asked.limit)


def _given(asked: Found) -> dict[str, Any]:
    return asked.model_dump(mode="json", exclude_defaults=True)

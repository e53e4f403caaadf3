"""Every table as a file: CSV for a spreadsheet, JSON lines for a program. Rows are those of
the page, without its pages.

A cell that a spreadsheet would run as a formula is written as text. At most MOST_ROWS rows are written.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import StreamingResponse

from dashboard.answers import ExperimentOut, GroupOut, RunOut
from dashboard.asked import LARGEST_PAGE, Compared, Filters, Found, Grouped, Listed
from dashboard.overviews import checkpoints
from dashboard.shares import shares
from dashboard.shelf import Shelf
from failure_analysis import aggregates, comparing
from failure_analysis.notes import NOTHING_SAID
from failure_analysis.records import ExperimentType
from failure_analysis.store import FailureStore, Wanted

MOST_ROWS = 100_000
Form = Literal["csv", "jsonl"]
Row = Mapping[str, Any]
MEDIA: dict[Form, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a text that begins so."""


def routes(shelf: Shelf) -> APIRouter:
    """`/export/TABLE.FORM` for every table."""
    router = APIRouter(prefix="/export", include_in_schema=False)
    store = shelf.store

    @router.get("/experiments.{form}")
    def experiments(form: Form, asked: Annotated[Listed, Query()]) -> StreamingResponse:
        """The experiments of the filters."""
        return _file("experiments", form, _experiments(store, shelf.wanted(asked), asked))

    @router.get("/episodes.{form}")
    def episodes(form: Form, asked: Annotated[Listed, Query()]) -> StreamingResponse:
        """The episodes of the filters."""
        wanted = shelf.wanted(asked, (ExperimentType.EPISODE,))
        return _file("episodes", form, _experiments(store, wanted, asked))

    @router.get("/failures.{form}")
    def failures(form: Form, asked: Annotated[Grouped, Query()]) -> StreamingResponse:
        """The groups of the filters."""
        return _file("failures", form, _groups(shelf, asked))

    @router.get("/runs.{form}")
    def runs(form: Form) -> StreamingResponse:
        """Every run."""
        return _file("runs", form, (RunOut.of(run).model_dump(mode="json") for run in shelf.runs.all()))

    @router.get("/checkpoints.{form}")
    def points(form: Form, asked: Annotated[Filters, Query()]) -> StreamingResponse:
        """Episodes by checkpoint."""
        return _file("checkpoints", form, _plain(checkpoints(store, shelf.wanted(asked))))

    @router.get("/kinds.{form}")
    def kinds(form: Form, asked: Annotated[Filters, Query()]) -> StreamingResponse:
        """Shares of the kinds of failure by checkpoint."""
        return _file("kinds", form, _plain(shares(store, shelf.wanted(asked))))

    @router.get("/compare.{form}")
    def compare(form: Form, asked: Annotated[Compared, Query()]) -> StreamingResponse:
        """Scenarios that were fixed, broken, or still fail."""
        if not (asked.before or asked.after):
            raise HTTPException(422, "name a run: /export/compare.csv?before=RUN&before_step=0&after_step=40")
        return _file("compare", form, _flips(comparing.compare(store, *asked.sides())))

    @router.get("/findings.{form}")
    def findings(form: Form, asked: Annotated[Found, Query()]) -> StreamingResponse:
        """The findings about test runs."""
        found = shelf.testruns.findings(asked.run_id, asked.q or "")
        return _file("findings", form, _plain(found))

    @router.get("/sessions.{form}")
    def sessions(form: Form, asked: Annotated[Found, Query()]) -> StreamingResponse:
        """The sessions of assistants."""
        return _file("sessions", form, _plain(shelf.testruns.sessions(asked.run_id)))

    return router


def _plain(rows: Iterable[Any]) -> Iterator[Row]:
    return (row.model_dump(mode="json") for row in rows)


def _paged(read: Callable[[int], tuple[Any, ...]]) -> Iterator[Any]:
    for offset in range(0, MOST_ROWS, LARGEST_PAGE):
        rows = read(offset)
        yield from rows
        if len(rows) < LARGEST_PAGE:
            return


def _experiments(store: FailureStore, wanted: Wanted, asked: Listed) -> Iterator[Row]:
    def read(offset: int) -> tuple[Any, ...]:
        return store.experiments(wanted, order=asked.order, offset=offset, limit=LARGEST_PAGE).rows

    return _plain(ExperimentOut.of(row) for row in _paged(read))


def _groups(shelf: Shelf, asked: Grouped) -> Iterator[Row]:
    wanted, said, now = shelf.wanted(asked), shelf.notes.all(), datetime.now(UTC)

    def read(offset: int) -> tuple[Any, ...]:
        return aggregates.groups(
            shelf.store, wanted, order=asked.order, offset=offset, limit=LARGEST_PAGE, now=now
        ).rows

    return _plain(GroupOut.of(row, said.get(row.signature, NOTHING_SAID)) for row in _paged(read))


def _flips(found: comparing.Comparison) -> Iterator[Row]:
    for change in ("introduced", "fixed", "still_failing"):
        for flip in getattr(found, change):
            yield {"change": change, **flip.model_dump(mode="json")}


def _file(table: str, form: Form, rows: Iterable[Row]) -> StreamingResponse:
    lines = as_csv(rows) if form == "csv" else (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    headers = {"Content-Disposition": f'attachment; filename="{table}.{form}"'}
    return StreamingResponse(lines, media_type=MEDIA[form], headers=headers)


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """One column for each field of the first row that is not nested; fields of
    nested ones as `outer.inner`.
    """
    columns: list[str] = []
    for row in rows:
        cells = dict(_cells(row))
        if not columns:
            columns = [*cells]
            yield _line(columns)
        yield _line([cells.get(name, "") for name in columns])


def _cells(row: Row, under: str = "") -> Iterator[tuple[str, str]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _cells(value, f"{under}{name}.")
        else:
            yield under + name, _cell(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return "'" + value if value.startswith(FORMULA) else value


def _line(cells: list[str]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue()

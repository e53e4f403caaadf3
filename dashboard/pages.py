"""The HTML half: pages and the fragments that htmx puts into them. Every route reads, renders and changes
nothing.

A page works without scripts: filters are a form, pages are links, and what opens in a dialog is also a page
of its own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from core.episode_store.run_folder import State
from core.serving.guard import COOKIE, LONGEST_URL, Door, client_of, read_body, too_many_tries
from dashboard import group_page
from dashboard.api import EPISODES, Id
from dashboard.asked import Charted, Compared, Listed, Placed
from dashboard.curves import TONES
from dashboard.guard import LARGEST_BODY
from dashboard.overviews import (
    Checkpoint,
    RunCounts,
    checkpoints,
    failing,
    run_counts,
    scenarios_of,
    sparks,
    totals,
    tried_on,
)
from dashboard.rendering import render
from dashboard.run_progress import progress_of
from dashboard.shelf import Shelf
from dashboard.transcripts import view
from failure_analysis import aggregates, comparing
from failure_analysis.aggregates import Group
from failure_analysis.comparing import NothingToCompare
from failure_analysis.records import (
    Experiment,
    ExperimentType,
    FailureCategory,
    InvestigationKind,
    Severity,
    Status,
    StoreError,
)
from failure_analysis.store import FailureStore, Wanted
from project_types import Ending

Name = Annotated[str, Query(max_length=300)]
OTHER_TYPES = tuple(str(one) for one in ExperimentType if one is not ExperimentType.EPISODE)


def error_page(request: Request, status: int, text: str) -> Response:
    """What went wrong, and a way on."""
    return render(request, "error.html", status=status, code=status, text=text)


def add(app: FastAPI, shelf: Shelf, door: Door) -> None:
    """All pages."""
    _add_overview(app, shelf)
    _add_runs(app, shelf)
    _add_experiments(app, shelf)
    _add_episodes(app, shelf)
    _add_groups(app, shelf)
    group_page.add(app, shelf)
    _add_comparison(app, shelf)
    _add_login(app, door)


def _add_overview(app: FastAPI, shelf: Shelf) -> None:
    @app.get("/", include_in_schema=False)
    def overview(request: Request) -> Response:
        """What runs now, what failed lately, what fails most."""
        now, trouble = datetime.now(UTC), shelf.trouble
        facts: dict[str, Any]
        runs = shelf.runs.all()
        try:
            facts = {
                "totals": totals(shelf.store, now),
                "latest": shelf.store.experiments(Wanted(statuses=(Status.FAILED,)), limit=8).rows,
                "groups": aggregates.groups(shelf.store, limit=6, now=now).rows,
                "failing": failing(shelf.store),
            }
        except StoreError as problem:  # runs are read from their folders all the same
            trouble = str(problem)
            facts = {"totals": None, "latest": (), "groups": (), "failing": ()}
        return render(
            request,
            "overview.html",
            runs=runs,
            trouble=trouble,
            said=shelf.notes.all(),
            other_types=OTHER_TYPES,
            running=[(run, progress_of(run)) for run in runs if run.state is State.RUNNING],
            **facts,
        )


def _add_runs(app: FastAPI, shelf: Shelf) -> None:
    @app.get("/runs", include_in_schema=False)
    def runs(request: Request) -> Response:
        """Every run."""
        counts, trouble = _counts(shelf.store)
        trouble = trouble or shelf.trouble
        return render(
            request,
            "runs.html",
            runs=shelf.runs.all(),
            counts=counts,
            none_counted=RunCounts(),
            trouble=trouble,
        )

    @app.get("/run", include_in_schema=False)
    def run(request: Request, name: Name) -> Response:
        """One run: curves, checkpoints, failures."""
        one = shelf.runs.get(name)
        trouble, found, groups = shelf.trouble, tuple[Checkpoint, ...](), tuple[Group, ...]()
        try:
            found = checkpoints(shelf.store, Wanted(run=name))
            groups = aggregates.groups(shelf.store, Wanted(run=name), limit=8).rows
        except StoreError as problem:
            trouble = str(problem)
        reading = shelf.lines_read(name)
        return render(
            request,
            "run.html",
            run=one,
            checkpoints=found,
            groups=groups,
            said=shelf.notes.all(),
            trouble=trouble,
            reading=reading,
            progress=progress_of(one),
        )

    @app.get("/curves", include_in_schema=False)
    def several(
        request: Request, name: Annotated[list[str] | None, Query(max_length=len(TONES))] = None
    ) -> Response:
        """Several runs in one chart."""
        chosen = [shelf.runs.get(one).name for one in dict.fromkeys(name or ())]
        return render(request, "curves.html", chosen=chosen, names=[run.name for run in shelf.runs.all()])

    @app.get("/run/status", include_in_schema=False)
    def run_status(request: Request, name: Name) -> Response:
        """The part of a run's page that changes while it trains."""
        one = shelf.runs.get(name)
        reading = shelf.lines_read(name)
        return render(request, "_run_status.html", run=one, reading=reading, progress=progress_of(one))


def _counts(store: FailureStore) -> tuple[dict[str, RunCounts], str]:
    try:
        return run_counts(store), ""
    except StoreError as trouble:
        return {}, str(trouble)


def _choices(store: FailureStore, *columns: Any) -> dict[str, tuple[Any, ...]]:
    """What filters can be set to."""
    return {column: store.values(column) for column in columns} | {
        "type": tuple(ExperimentType),
        "status": tuple(Status),
        "category": tuple(FailureCategory),
        "severity": tuple(Severity),
        "kind": tuple(InvestigationKind),
        "ending": tuple(Ending),
    }


def _add_experiments(app: FastAPI, shelf: Shelf) -> None:
    store = shelf.store

    @app.get("/experiments", include_in_schema=False)
    def experiments(request: Request, asked: Annotated[Listed, Query()]) -> Response:
        """The table with the Analysis column."""
        wanted, whole = shelf.sought(asked)
        page = store.experiments(wanted, order=asked.order, offset=asked.offset, limit=asked.limit)
        given = asked.model_dump(mode="json", exclude_defaults=True)
        return render(
            request,
            "experiments.html",
            page=page,
            asked=asked,
            given=given,
            choices=_choices(store, "run"),
            whole=whole,
        )

    @app.get("/experiments/{id}", include_in_schema=False)
    def experiment(request: Request, id: Id) -> Response:
        """One experiment; an episode has a page of its own."""
        one = _found(store, id)
        if one.type is ExperimentType.EPISODE and one.episode is not None:
            return RedirectResponse(f"/episodes/{id}", status_code=303)
        near = aggregates.similar(store, id, 6) if one.failure else ()
        similar = [other for other in near if one.failure and other.group != one.failure.signature]
        return render(request, "experiment.html", one=one, similar=similar)

    @app.get("/experiments/{id}/analysis", include_in_schema=False)
    def analysis(request: Request, id: Id) -> Response:
        """What the dialog shows."""
        return render(request, "_analysis.html", one=_found(store, id))


def _found(store: FailureStore, id: str) -> Experiment:
    one = store.experiment(id)
    if one is None:
        raise HTTPException(
            404, f"No experiment has the id {id}. It may have been captured again; look for it in the list."
        )
    return one


def _add_episodes(app: FastAPI, shelf: Shelf) -> None:
    store = shelf.store

    @app.get("/episodes", include_in_schema=False)
    def episodes(request: Request, asked: Annotated[Listed, Query()]) -> Response:
        """Investigations, with filters."""
        wanted, whole = shelf.sought(asked, EPISODES)
        page = store.experiments(wanted, order=asked.order, offset=asked.offset, limit=asked.limit)
        given = asked.model_dump(mode="json", exclude_defaults=True)
        choices = _choices(store, "run", "split", "sampling", "step", "fault_type", "topology")
        return render(
            request, "episodes.html", page=page, asked=asked, given=given, choices=choices, whole=whole
        )

    @app.get("/episodes/{id}", include_in_schema=False)
    def episode(request: Request, id: Id, asked: Annotated[Placed, Query()]) -> Response:
        """One investigation, turn by turn; with its neighbours in the list it was opened from."""
        one = _found(store, id)
        return render(
            request,
            "episode.html",
            one=one,
            others=tried_on(store, one.scenario_id),
            near=_neighbours(shelf, id, asked),
            given=_list_given(asked),
            **_seen(shelf, one),
        )


NEAR = 20
"""How far a row may have moved in its list since the list was shown."""


def _neighbours(shelf: Shelf, id: str, asked: Placed) -> tuple[tuple[str, str, int], ...]:
    """(relation, id, place) of the episodes before and after this one; nothing when the list moved on."""
    if asked.at is None:
        return ()
    start = max(0, asked.at - NEAR)
    page = shelf.store.experiments(
        shelf.wanted(asked, EPISODES), order=asked.order, offset=start, limit=2 * NEAR + 1
    )
    ids = [row.id for row in page.rows]
    if id not in ids:
        return ()
    here = ids.index(id)
    places = (("prev", here - 1), ("next", here + 1))
    return tuple((name, ids[place], start + place) for name, place in places if 0 <= place < len(ids))


def _list_given(asked: Placed) -> dict[str, Any]:
    given = asked.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in given.items() if name not in ("at", "offset", "page")}


def _seen(shelf: Shelf, one: Experiment) -> dict[str, Any]:
    """What the viewer of one episode needs."""
    played, scenario = shelf.transcript(one), shelf.scenario(one)
    claims = one.failure.claims if one.failure else ()
    return {"played": played, "scenario": scenario, "view": view(played, scenario, claims)}


def _add_groups(app: FastAPI, shelf: Shelf) -> None:
    store = shelf.store

    @app.get("/failures", include_in_schema=False)
    def failures(request: Request, asked: Annotated[Charted, Query()]) -> Response:
        """Groups of alike failures with trends."""
        wanted = shelf.wanted(asked)
        page = aggregates.groups(
            store, wanted, order=asked.order, offset=asked.offset, limit=asked.limit, now=datetime.now(UTC)
        )
        given = asked.model_dump(mode="json", exclude_defaults=True)
        charted = {name: value for name, value in given.items() if name not in ("order", "offset", "limit")}
        series = sparks(store, [group.signature for group in page.rows], wanted)
        choices = _choices(store, "run", "split", "sampling")
        return render(
            request,
            "failures.html",
            page=page,
            asked=asked,
            given=given,
            chart_given=charted,
            sparks=series,
            said=shelf.notes.all(),
            choices=choices,
        )


def _add_comparison(app: FastAPI, shelf: Shelf) -> None:
    store = shelf.store

    @app.get("/compare", include_in_schema=False)
    def compare(request: Request, asked: Annotated[Compared, Query()]) -> Response:
        """Checkpoint against checkpoint."""
        found, trouble, status = None, "", 200
        if asked.before or asked.after:
            try:
                found = comparing.compare(store, *asked.sides())
            except NothingToCompare as problem:
                trouble, status = str(problem), 404
        points = checkpoints(store)
        runs = list(dict.fromkeys(point.run for point in points))
        steps = sorted({point.step for point in points if point.step is not None})
        return render(
            request,
            "compare.html",
            status=status,
            asked=asked,
            found=found,
            trouble=trouble,
            runs=runs,
            steps=steps,
            splits=store.values("split"),
            samplings=store.values("sampling"),
        )

    @app.get("/side-by-side", include_in_schema=False)
    def side_by_side(request: Request, asked: Annotated[Compared, Query()]) -> Response:
        """Two checkpoints on one scenario, turn by turn."""
        scenario_id, (before, after) = asked.scenario_id, asked.sides()
        if not scenario_id or not before.run:
            raise HTTPException(
                422,
                "Choose a scenario and two checkpoints: open an episode and pick another one to compare with.",
            )
        for side in (before, after):
            if side.run not in store.values("run"):
                raise HTTPException(404, f"No run {side.run} has been captured; choose another one in Runs.")
        found = []
        for side in (before, after):
            wanted = Wanted(types=EPISODES, scenario_id=scenario_id, **side.model_dump())
            rows = store.experiments(wanted, order="oldest", limit=1).rows
            found.append(
                {"side": side, "one": rows[0] if rows else None, **(_seen(shelf, rows[0]) if rows else {})}
            )
        if not any(side["one"] for side in found):
            raise HTTPException(
                404,
                f"Neither checkpoint has a stored episode of {scenario_id}; choose a scenario in Compare.",
            )
        scenarios = scenarios_of(store, before.run)
        tried = tried_on(store, scenario_id)
        return render(
            request, "side_by_side.html", asked=asked, sides=found, scenarios=scenarios, tried=tried
        )


def _add_login(app: FastAPI, door: Door) -> None:
    @app.get("/login", include_in_schema=False)
    def login(request: Request, next: Annotated[str, Query(max_length=LONGEST_URL)] = "/") -> Response:
        """Asks for the token."""
        if door.token is None:
            return RedirectResponse("/", status_code=303)
        return render(request, "login.html", next=_inside(next), wrong=False)

    @app.post("/login", include_in_schema=False)
    async def log_in(request: Request) -> Response:
        """Takes it."""
        client = client_of(request.scope)
        if wait_s := door.tries.wait_s(client):
            return error_page(request, 429, too_many_tries(wait_s).message)
        body = await read_body(request.stream(), LARGEST_BODY)
        form = parse_qs(body.decode("utf-8", "replace"))
        where = _inside(form.get("next", ["/"])[0])
        if not door.accepts(form.get("token", [""])[0]):
            door.tries.failed(client)
            return render(request, "login.html", status=401, next=where, wrong=True)
        answer = RedirectResponse(where, status_code=303)
        secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        answer.set_cookie(COOKIE, door.cookie(), httponly=True, samesite="lax", secure=secure)
        return answer


def _inside(address: str) -> str:
    """An address on this site; anything else becomes the first page."""
    inside = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if inside else "/"

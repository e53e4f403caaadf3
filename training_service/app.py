"""The routes: ART's preview API and OpenAI's chat completions, each under `/` and under `/v1`.

Routes only translate: names to checkpoints (`names.py`), rows to JSON (`store.py`), requests to jobs
(`jobs.py`) and to the engine. Supervised fine-tuning as ART's client asks for it
(`/preview/sft-training-jobs`) is refused by name, because its data goes through W&B's artifact storage.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from core.serving.guard import Door, Guard
from training_service.engine import Engine, RequestError
from training_service.folders import Folders
from training_service.guard import GONE, OPEN_PATHS, body_of, error_response, refused, unless_gone
from training_service.jobs import Jobs
from training_service.names import SCHEME, checkpoint_of
from training_service.store import Model, ModelExists, Store
from training_service.wire import (
    ChatRequest,
    CreateModelRequest,
    DeleteCheckpointsRequest,
    Json,
    PageQuery,
    TrainingJobRequest,
    page,
)

NO_ARTIFACTS = (
    "ART's client sends supervised data through W&B's artifact storage, which is not here; run python -m alignment "
    "sft, or POST /preview/training-jobs with kind 'sft' and demonstrations"
)
SMALL_BODY_BYTES = 1 << 20
DEFAULT_ENTITY, DEFAULT_PROJECT = "local", "default"


@dataclass(frozen=True)
class Limits:
    """How large a body may be, in bytes."""

    job_bytes: int = 256 << 20
    chat_bytes: int = 8 << 20


@dataclass(frozen=True)
class Service:
    """Everything a route needs."""

    store: Store
    folders: Folders
    engine: Engine
    jobs: Jobs
    bases: Mapping[str, Path]
    """Step 0 of each base model, to serve it by name."""


def open_service(data: Path, open_engine: Callable[[], Engine], min_free_bytes: int = 0) -> Service:
    """Open a data folder, mend what a crash left, load the engine, and make its base models servable.

    The folder comes first: a second service is refused before it loads anything. Raises ConfigurationError
    when the folder is in use or not writable, and what `open_engine` raises.
    """
    with ExitStack() as undo:
        folders = Folders(data, min_free_bytes)
        undo.callback(folders.close)
        store = Store(folders.database)
        undo.callback(store.close)
        folders.sweep(
            {
                folders.checkpoint(model.id, step)
                for model in store.models()
                for step in [0, *store.steps(model.id)]
            }
        )
        engine = open_engine()
        undo.callback(engine.close)
        jobs = Jobs(store, folders, engine)
        jobs.fail_left_over()
        bases = {name: folders.base(number) for number, name in enumerate(engine.base_models())}
        for name, folder in bases.items():
            fresh = folders.fresh()
            engine.create(name, fresh)
            folders.publish(fresh, folder)
        undo.pop_all()
    return Service(store, folders, engine, jobs, bases)


@asynccontextmanager
async def closing(service: Service, grace_s: float) -> AsyncIterator[None]:
    """End the jobs, then the engine, then the files. A job that ignores its cancellation keeps the files
    open.
    """
    try:
        yield
    finally:
        if await asyncio.to_thread(service.jobs.stop, grace_s):
            service.engine.close()
            service.store.close()
            service.folders.close()


def build_app(service: Service, door: Door, limits: Limits, grace_s: float = 30.0) -> FastAPI:
    """The application behind its door."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with closing(service, grace_s):
            yield

    app = FastAPI(
        title="training_service", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    router = APIRouter()
    _health_routes(router, service)
    _model_routes(router, service)
    _job_routes(router, service, limits)
    _chat_routes(router, service, limits)
    app.include_router(router)
    app.include_router(router, prefix="/v1")
    app.add_middleware(Guard, door=door, refuse=refused, open_paths=OPEN_PATHS)
    _error_handlers(app)
    return app


def _health_routes(router: APIRouter, service: Service) -> None:
    @router.get("/health")
    def health() -> Json:
        return {"status": "ok", "jobs": service.jobs.waiting(), "training": dict(service.engine.settings())}


def _model_routes(router: APIRouter, service: Service) -> None:
    store, folders = service.store, service.folders

    @router.post("/preview/models")
    def create_model(
        body: Annotated[CreateModelRequest, Depends(body_of(CreateModelRequest, SMALL_BODY_BYTES))],
    ) -> Json:
        return as_json(_registered(service, body))

    @router.get("/preview/models")
    def list_models() -> Json:
        return page([as_json(model) for model in store.models()], has_more=False)

    @router.get("/preview/models/{model_id}")
    def read_model(model_id: str) -> Json:
        return as_json(store.model(model_id)) | {"latest_step": store.latest_step(model_id)}

    @router.delete("/preview/models/{model_id}", status_code=204)
    def delete_model(model_id: str) -> Response:
        store.model(model_id)
        service.jobs.cancel_model(model_id)
        for step in [0, *store.delete_model(model_id)]:
            folders.condemn(folders.checkpoint(model_id, step))
        return Response(status_code=204)

    @router.get("/preview/models/{model_id}/checkpoints")
    def list_checkpoints(model_id: str, query: Annotated[PageQuery, Query()]) -> Json:
        store.model(model_id)
        return page(*store.checkpoints(model_id, query))

    @router.delete("/preview/models/{model_id}/checkpoints")
    def delete_checkpoints(
        model_id: str,
        body: Annotated[
            DeleteCheckpointsRequest, Depends(body_of(DeleteCheckpointsRequest, SMALL_BODY_BYTES))
        ],
    ) -> Json:
        store.model(model_id)
        deleted, missing = store.delete_checkpoints(model_id, body.steps)
        for step in deleted:
            folders.condemn(folders.checkpoint(model_id, step))
        return {"deleted_count": len(deleted), "not_found_steps": missing}


def _registered(service: Service, body: CreateModelRequest) -> Model:
    """The model the client asked for: made, or found when it may exist."""
    store, folders = service.store, service.folders
    if body.base_model not in service.bases:
        known = ", ".join(service.bases)
        message = f"base model {body.base_model!r} is not loaded; loaded: {known}; restart with --base-models to change that"
        raise RequestError(404, message, "base_model_not_found")
    model_id = f"model-{uuid.uuid4().hex}"
    names = (body.entity or DEFAULT_ENTITY, body.project or DEFAULT_PROJECT, body.name or model_id)
    model = Model(model_id, *names, base_model=body.base_model)
    if not store.models(entity=model.entity, project=model.project, name=model.name):
        fresh = folders.fresh()
        service.engine.create(model.base_model, fresh)
        folders.publish(fresh, folders.checkpoint(model.id, 0))
        try:
            store.add_model(model)
            return model
        except ModelExists:  # another request was faster
            folders.condemn(folders.checkpoint(model.id, 0))
    (existing,) = store.models(entity=model.entity, project=model.project, name=model.name)
    if not body.return_existing:
        raise RequestError(
            409, f"{model.full_name} exists; choose another name or send return_existing=true", "model_exists"
        )
    if existing.base_model != body.base_model:
        message = f"{model.full_name} exists with base model {existing.base_model!r}; choose another name or ask for that base"
        raise RequestError(409, message, "model_exists")
    return existing


def as_json(model: Model) -> Json:
    """A model as ART's client reads it; there is never a W&B run behind it."""
    names = {"id": model.id, "entity": model.entity, "project": model.project, "name": model.name}
    return names | {"base_model": model.base_model, "run_id": None}


def _job_routes(router: APIRouter, service: Service, limits: Limits) -> None:
    store, jobs = service.store, service.jobs

    read_body = Depends(body_of(TrainingJobRequest, limits.job_bytes))

    @router.post("/preview/training-jobs")
    def create_job(body: TrainingJobRequest = read_body) -> Json:
        return {"id": jobs.submit(store.model(body.model_id), body.rows, body.config, body.kind)}

    @router.post("/preview/sft-training-jobs")
    def refuse_sft_by_artifact() -> Json:
        raise RequestError(501, NO_ARTIFACTS, "sft_by_artifact")

    @router.get("/preview/training-jobs/{job_id}")
    def read_job(job_id: str) -> Json:
        jobs.mend(job_id)
        return store.job(job_id)

    @router.get("/preview/training-jobs/{job_id}/events")
    def list_events(job_id: str, query: Annotated[PageQuery, Query()]) -> Json:
        jobs.mend(job_id)
        store.job(job_id)
        return page(*store.events(job_id, query))


def _chat_routes(router: APIRouter, service: Service, limits: Limits) -> None:
    read_body = Depends(body_of(ChatRequest, limits.chat_bytes))

    @router.get("/models")
    def list_served() -> Json:
        registered = [f"{SCHEME}{model.full_name}" for model in service.store.models()]
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": "local"}
            for name in [*service.bases, *registered]
        ]
        return {"object": "list", "data": rows}

    @router.post("/chat/completions")
    async def complete(request: Request, body: ChatRequest = read_body) -> Response:
        folder = checkpoint_of(body.model, service.store, service.folders, service.bases)
        with service.folders.pinned(folder):
            reply = await unless_gone(request, service.engine.complete(folder, body))
        if reply is None:
            return Response(status_code=GONE)
        head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.model,
        }
        return JSONResponse(head | reply)


def _error_handlers(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refused(_: Request, trouble: RequestError) -> Response:
        return error_response(trouble.status, trouble.message, trouble.code)

    @app.exception_handler(RequestValidationError)
    async def bad_query(_: Request, trouble: RequestValidationError) -> Response:
        first = trouble.errors()[0]
        return error_response(
            422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}", "bad_request"
        )

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, trouble: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {trouble.detail}; see training_service/README.md for what is offered"
        return error_response(trouble.status_code, message, "no_such_route")

    @app.exception_handler(Exception)
    async def our_bug(_: Request, trouble: Exception) -> Response:
        message = f"internal error: {type(trouble).__name__}; the service's log has the traceback"
        response = error_response(500, message, "internal_error")
        response.headers["Connection"] = (
            "close"  # the exception goes on to uvicorn, which logs it and drops the connection
        )
        return response

"""Adapters over HTTP: several at once from one base, an alias that moves, a canary, and triage.

    GET  /v1/models                                   the base, what is loaded, and production
    POST /v1/chat/completions   {model, messages}     OpenAI's, `model` is base, NAME@vN or production
    POST /v1/triage             {log, adapter?}       `alignment.triage` on a log
    POST /v1/score              {messages, answers, adapter?}   the reward of each answer, by a reward model
    GET  /v1/metrics                                  what each adapter did, for Prometheus
    POST /v1/load_lora_adapter, /v1/unload_lora_adapter   {lora_name}: as vLLM has them, by immutable names

Every request names its adapter, and none reuses the keys and values of another. What `production` stands for
is looked up for each request, so that a promotion or a rollback holds at once. A share of the requests to
`production` goes to the canary: the same prompt always to the same adapter. The answer says who gave it.

Not here: the registry (`adapters`), and how answers are made (`answering`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from alignment.adapters import PRODUCTION, Registry
from alignment.answering import Answerer
from alignment.preferences import Message
from alignment.reward_scores import RewardModel
from alignment.serving_metrics import MEDIA_TYPE, Meter
from alignment.stored_answers import BASE
from alignment.triage import MOST_LINES, explain
from core.serving.guard import Door, Guard
from project_types import ConfigurationError, Frozen
from training_service.base_models import Base
from training_service.engine import RequestError, TrainingError
from training_service.guard import GONE, OPEN_PATHS, body_of, error_response, refused, unless_gone
from training_service.wire import ChatRequest

MOST_TOKENS = 160
MOST_ANSWERS = 16
CHAT_BYTES, LOG_BYTES = 1 << 20, 16 << 20


class TriageRequest(Frozen):
    """A log to explain."""

    log: Annotated[str, Field(min_length=1)]
    adapter: str = PRODUCTION


class ScoreRequest(Frozen):
    """Answers to one prompt."""

    messages: Annotated[list[Message], Field(min_length=1)]
    answers: Annotated[list[str], Field(min_length=1, max_length=MOST_ANSWERS)]
    adapter: str = ""
    """The reward model that is asked; any, where it is empty."""


class LoadRequest(Frozen):
    """vLLM's body. A path is not taken from clients: names are those of the registry."""

    lora_name: str
    lora_path: str = ""


class Desk:
    """The adapters of one base that are being served."""

    def __init__(
        self, base: Base, registry: Registry, canary: str = "", canary_share: float = 0.0, reward: str = ""
    ) -> None:
        self.base, self.registry = base, registry
        self._reward = RewardModel(base, registry, reward) if reward else None
        self.scoring = asyncio.Semaphore(1)
        """One request is scored at a time, so that memory has a bound."""
        self.canary, self._share = canary, canary_share
        self.answerer, self.meter = Answerer(base, {}), Meter()
        for name in filter(None, (registry.aliases().get(PRODUCTION), canary)):
            self.load(name)

    def load(self, name: str) -> str:
        """Check an adapter and serve it. Raises RequestError that says what is wrong with it."""
        if name == BASE:
            return BASE
        try:
            card = self.registry.card(name)
            if not self.answerer.serves(card.full_name):
                self.answerer.add(card.full_name, self.registry.checked(card.full_name, self.base.sha256))
        except ConfigurationError as trouble:
            raise RequestError(404, str(trouble), "model_not_found") from trouble
        return card.full_name

    def chosen(self, asked: str, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the row that answers a request, loaded."""
        if asked == PRODUCTION and self.canary and _falls_within(messages, self._share):
            return self.load(self.canary)
        return self.load(asked)

    def reward(self, asked: str) -> RewardModel:
        """Return the reward model that is served. Raises RequestError when it is another one, or none."""
        if self._reward is None or asked not in ("", self._reward.name):
            has = self._reward.name if self._reward else "none"
            raise RequestError(
                404,
                f"reward model served here: {has}; start python -m alignment serve --reward {asked or 'NAME@vN'}",
                "model_not_found",
            )
        return self._reward

    def names(self) -> list[str]:
        """Return what can be asked for."""
        alias = [PRODUCTION] if PRODUCTION in self.registry.aliases() else []
        return [*self.answerer.rows(), *alias]


def _falls_within(messages: Sequence[Mapping[str, Any]], share: float) -> bool:
    """Whether a prompt belongs to the share that the canary gets; the same one always does, or never."""
    digest = hashlib.sha256(json.dumps(list(messages), sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


def build_app(desk: Desk, door: Door) -> FastAPI:
    """Return the application behind its door."""
    app = FastAPI(title="alignment", docs_url=None, redoc_url=None, openapi_url=None)
    router = APIRouter()
    for routes in (_told_routes, _answer_routes, _adapter_routes):
        routes(router, desk)
    app.include_router(router)
    app.include_router(router, prefix="/v1")
    app.add_middleware(Guard, door=door, refuse=refused, open_paths=OPEN_PATHS)

    @app.exception_handler(RequestError)
    async def told(_: Request, trouble: RequestError) -> Response:
        return error_response(trouble.status, trouble.message, trouble.code)

    return app


def _told_routes(router: APIRouter, desk: Desk) -> None:
    @router.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "ok"}

    @router.get("/models")
    def models() -> dict[str, Any]:
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "local"} for name in desk.names()]
        return {"object": "list", "data": rows}

    @router.get("/metrics")
    def metrics() -> Response:
        return Response(desk.meter.text(), media_type=MEDIA_TYPE)


def _answer_routes(router: APIRouter, desk: Desk) -> None:
    @router.post("/chat/completions")
    async def complete(
        request: Request,
        body: Annotated[ChatRequest, Depends(body_of(ChatRequest, CHAT_BYTES))],
    ) -> Response:
        return await _replied(request, _completed(desk, body))

    @router.post("/triage")
    async def triage(
        request: Request,
        body: Annotated[TriageRequest, Depends(body_of(TriageRequest, LOG_BYTES))],
    ) -> Response:
        return await _replied(request, _triaged(desk, body))

    @router.post("/score")
    async def score(
        body: Annotated[ScoreRequest, Depends(body_of(ScoreRequest, CHAT_BYTES))],
    ) -> dict[str, Any]:
        return await _scored(desk, body)


def _adapter_routes(router: APIRouter, desk: Desk) -> None:
    @router.post("/load_lora_adapter")
    def load(body: Annotated[LoadRequest, Depends(body_of(LoadRequest, CHAT_BYTES))]) -> dict[str, str]:
        return {"loaded": desk.load(body.lora_name)}

    @router.post("/unload_lora_adapter")
    def unload(body: Annotated[LoadRequest, Depends(body_of(LoadRequest, CHAT_BYTES))]) -> dict[str, str]:
        if body.lora_name in (BASE, desk.registry.aliases().get(PRODUCTION), desk.canary):
            raise RequestError(409, f"{body.lora_name} is in use; promote another one first", "in_use")
        if not desk.answerer.serves(body.lora_name):
            raise RequestError(404, f"{body.lora_name} is not loaded", "model_not_found")
        desk.answerer.drop(body.lora_name)
        return {"unloaded": body.lora_name}


async def _replied(request: Request, work: Coroutine[Any, Any, dict[str, Any]]) -> Response:
    """Return what the work gives. Nothing is written for a client that has left."""
    reply = await unless_gone(request, work)
    return Response(status_code=GONE) if reply is None else JSONResponse(reply)


async def _completed(desk: Desk, body: ChatRequest) -> dict[str, Any]:
    row = desk.chosen(body.model, body.messages)
    reply = await desk.meter.measured(
        row,
        "chat",
        lambda: desk.answerer.complete(row, body),
        lambda said: said["usage"]["completion_tokens"],
    )
    head = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
    }
    return {**head, "model": row, **reply}


async def _triaged(desk: Desk, body: TriageRequest) -> dict[str, Any]:
    row = desk.chosen(body.adapter, [{"role": "user", "content": body.log}])

    async def ask(messages: Sequence[Mapping[str, Any]]) -> str:
        text, _ = await desk.answerer.answer(row, messages, MOST_TOKENS)
        return text

    lines = body.log.splitlines()[-MOST_LINES:]
    found = await desk.meter.measured(row, "triage", lambda: explain(lines, ask, row))
    return found.model_dump()


async def _scored(desk: Desk, body: ScoreRequest) -> dict[str, Any]:
    model = desk.reward(body.adapter)
    asked = [message.model_dump() for message in body.messages]

    async def scored() -> list[float]:
        async with desk.scoring:
            return await asyncio.to_thread(model.scores, asked, body.answers)

    try:
        scores = await desk.meter.measured(model.name, "score", scored)
    except TrainingError as trouble:
        raise RequestError(422, f"messages: {trouble}", "invalid_messages") from trouble
    return {"adapter": model.name, "scores": scores}

"""An engine without weights, for the tests of the server half: deterministic, scripted by what it is sent.

A checkpoint is a file `weights.json` with the history of its steps, so a test can see what trained on what.
Training obeys the metadata of the first group: `fail` raises, `crash` is a bug, `diverge` reports NaN,
`steps` says how many gradient steps, and `hold` names a file that training waits for (`deaf` to its
cancellation). `python -m tests.fakes.engine serve ...` runs the real service on top of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training_service.__main__ import main
from training_service.engine import Cancelled, Engine, Report, RequestError, TrainingError, TrainResult
from training_service.wire import ChatRequest, JobKind

log = logging.getLogger(__name__)
WEIGHTS = "weights.json"
CONTEXT_CHARACTERS = 10_000


class ScriptedEngine:
    """Replies with the steps of its checkpoint; the last message may ask for more (see `complete`)."""

    def __init__(self, base_models: Sequence[str] = ("tiny-investigator", "other-base")) -> None:
        self._base_models = tuple(base_models)

    def base_models(self) -> Sequence[str]:
        return self._base_models

    def settings(self) -> dict[str, Any]:
        return {"precision": "float32", "asked": "auto", "float32_ms": 1.0, "bfloat16_ms": 2.0}

    def create(self, base_model: str, folder: Path) -> None:
        (folder / WEIGHTS).write_text(json.dumps({"base": base_model, "history": []}))

    def job_bytes(self, checkpoint: Path) -> int:
        return 3 * (checkpoint / WEIGHTS).stat().st_size

    async def complete(self, checkpoint: Path, request: ChatRequest) -> dict[str, Any]:
        """'wait for FILE' replies once the file exists, 'crash' is a bug, anything
        else is answered at once.
        """
        asked = str(request.messages[-1]["content"])
        if sum(len(str(message["content"])) for message in request.messages) > CONTEXT_CHARACTERS:
            raise RequestError(400, "the prompt is too long; drop messages", code="context_length_exceeded")
        if asked == "crash":
            raise ZeroDivisionError("a bug of the engine")
        if asked.startswith("wait for "):
            await _wait(Path(asked.removeprefix("wait for ")))
        text = (checkpoint / WEIGHTS).read_text()
        return {"choices": [_choice(index, text) for index in range(request.n)], "usage": _usage(asked, text)}

    def train(
        self,
        source: Path,
        target: Path,
        rows: list[dict[str, Any]],
        config: dict[str, Any],
        report: Report,
        cancelled: Cancelled,
        kind: JobKind = "grpo",
    ) -> TrainResult:
        script: dict[str, Any] = rows[0].get("metadata", {}) if rows else {"steps": 0}
        steps = int(script.get("steps", 1))
        report({"num_sequences": steps})
        weights = json.loads((source / WEIGHTS).read_text())
        (target / WEIGHTS).write_text("half written")
        if "hold" in script:
            _hold(Path(script["hold"]), (lambda: False) if script.get("deaf") else cancelled)
        if script.get("fail"):
            raise TrainingError(str(script["fail"]))
        if script.get("crash"):
            raise ZeroDivisionError("a bug of the engine")
        for step in range(steps):
            report({"loss": float("nan") if script.get("diverge") else 0.5 / (step + 1), "grad_norm": 1.0})
        weights["history"].append({"groups": len(rows), "config": config})
        (target / WEIGHTS).write_text(json.dumps(weights))
        (target / "optimizer.json").write_text("{}")
        return TrainResult(steps, {"reward": 1.0} if steps else {})

    def close(self) -> None:
        log.info("the engine is closed")


def open_engine(base_models: Sequence[str], device: str) -> Engine:
    return ScriptedEngine(base_models)


async def _wait(file: Path) -> None:
    """Says that it waits in FILE.waiting, and that it was cancelled in FILE.cancelled."""
    file.with_suffix(".waiting").touch()
    try:
        while not await asyncio.to_thread(file.exists):  # noqa: ASYNC110 - a file has no event to wait for
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        file.with_suffix(".cancelled").touch()
        raise


def _hold(file: Path, cancelled: Cancelled) -> None:
    file.with_suffix(".waiting").touch()
    tick = threading.Event()
    while not file.exists():
        if cancelled():
            raise TrainingError("cancelled between gradient steps")
        tick.wait(0.01)


def _choice(index: int, text: str) -> dict[str, Any]:
    token_ids = list(text.encode())
    logprobs = [
        {"token": chr(token), "logprob": -0.5, "top_logprobs": [], "bytes": [token]} for token in token_ids
    ]
    return {
        "index": index,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
        "logprobs": {"content": logprobs, "refusal": None},
        "prompt_token_ids": [1, 2, 3],
        "token_ids": token_ids,
    }


def _usage(asked: str, text: str) -> dict[str, int]:
    prompt, completion = len(asked.encode()), len(text.encode())
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], open_engine))

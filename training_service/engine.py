"""The seam of the room: what the server asks of whoever owns weights.

The server half (HTTP, names, checkpoints, jobs, crashes) knows no tensor; the model half knows no HTTP and no
database. They meet in `Engine` and in folders: a checkpoint is a folder whose content belongs to the engine.
This module covers neither half; `training_service.local_engine.open_engine` makes the real engine,
`tests/fakes/engine.py` a scripted one.

Rules about folders, kept by the server:
- A checkpoint folder never changes once it has its final path, and that path is never reused: caching by path
  is safe.
- The `target` of `train` and the `folder` of `create` are fresh, empty, temporary folders that the server
  syncs to disk and
  renames afterwards: do not cache under these paths, and write no absolute path of them into files.
- A folder is removed only when no request and no job uses it any more. The one exception: files of an older
  step whose name
  starts with `OPTIMIZER_PREFIX` are removed once a newer step exists, because training always goes on from
  the latest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from project_types import InvestigatorError
from training_service.wire import ChatRequest, JobKind

OPTIMIZER_PREFIX = "optimizer"
"""Files of a checkpoint whose name starts so are needed only to train on from it."""

Report = Callable[[Mapping[str, float]], None]
Cancelled = Callable[[], bool]


class RequestError(InvestigatorError):
    """A request the service cannot serve, with its HTTP status and an OpenAI-style code; the text says what
    to do.

    A prompt that is too long is `RequestError(400, "...", code="context_length_exceeded")`, as at OpenAI.
    """

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class TrainingError(InvestigatorError):
    """A training job that cannot succeed; its text becomes the client's `error_message`."""


@dataclass(frozen=True)
class TrainResult:
    """What a job did. With `gradient_steps == 0` the target may stay empty: the server carries the source
    over (hard links).
    """

    gradient_steps: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Stored with the checkpoint and shown by the checkpoint list; finite numbers."""


class Engine(Protocol):
    """The base models of one service and everything done with their weights."""

    def base_models(self) -> Sequence[str]:
        """Names a client may ask for, the default first. Short names, without spaces, colons or at-signs."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """Return how this engine trains, as plain JSON. GET /health shows it as `training`."""
        ...

    def create(self, base_model: str, folder: Path) -> None:
        """Write step 0 of a new model into the empty `folder`: the base weights, or a marker that names (and
        hashes) them.

        Blocking, runs in a worker thread. The server also calls it once per start and base model to serve the
        base by name. Raises RequestError when the base model cannot be used.
        """
        ...

    def job_bytes(self, checkpoint: Path) -> int:
        """Return how many bytes of disk a job from this checkpoint may write."""
        ...

    async def complete(self, checkpoint: Path, request: ChatRequest) -> dict[str, Any]:
        """Reply with `{"choices": [...], "usage": {...}}`; the server adds id, object, created and model.

        Runs on the server's event loop and must not block it; the engine batches concurrent calls, also
        across models. The server keeps `checkpoint` alive until this returns, and cancels the coroutine when
        the client has gone away. Every choice has index, finish_reason, message, logprobs.content (token,
        logprob, top_logprobs, all finite), prompt_token_ids and token_ids, asked for or not. It must go on
        working while `train` runs in another thread. Raises RequestError for what the client got wrong.
        """
        ...

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
        """Train from the checkpoint `source` (weights and optimizer) on `rows` and write weights and
        optimizer to `target`.

        Blocking, called in the job thread, one job at a time. `rows` are JSON that was checked for shape: of
        grpo ART's TrajectoryGroups, of sft `wire.Demonstration`, of dpo and reward `wire.Preference`.
        `config` holds the keys of `wire.TrainingConfig` (grpo) or `wire.FitConfig` that the client set.

        Call `report({"num_sequences": n})` exactly once and first, then `report({metric: number, ...})` after
        each gradient step. A metric that is not finite fails the job, so a diverged model is never kept. Ask
        `cancelled()` between gradient steps and raise TrainingError when it is true. An untrainable batch is
        no error: report 0 sequences and return `TrainResult(0)`.
        Raises TrainingError with a reason the user can act on.
        """
        ...

    def close(self) -> None:
        """Let go of threads and memory. Called once, after the last request and job."""
        ...


class OpenEngine(Protocol):
    """How the command line makes an engine: called after the arguments are checked, so heavy imports belong
    inside.
    """

    def __call__(self, base_models: Sequence[str], device: str) -> Engine:
        """Load the named base models (a shipped name, a local Hugging Face folder, or NAME=FOLDER) on
        `device`.

        `device` is 'auto', 'cpu', 'cuda' or 'cuda:N'. Raises project_types.ConfigurationError that names the
        fix.
        """
        ...

"""Where a run is trained: W&B's service, a training service (started here, or running already), or ART's own.

All speak through ART. A service that was started here and dies is started again, once in a run, and what was
under way is done again. Not here: what such a service does (`training_service`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from core.art_versions import model_names
from core.policies.registry import named_base_model
from core.serving.child_service import ChildService, health
from core.serving.direct import reach_directly
from project_types import ConfigurationError, InvestigatorError, TrainingConfig
from training_runs.duration import longest_tokens
from training_runs.failed_rollouts import TooManyFailures
from training_runs.interruption import Interruption
from training_runs.terminal import say

if TYPE_CHECKING:
    import art

T = TypeVar("T")


class JobFailed(InvestigatorError):
    """A training job failed or took too long. The text says why."""


class Backend:
    """A model on the backend that trains it."""

    def __init__(
        self,
        config: TrainingConfig,
        interruption: Interruption,
        model: art.TrainableModel,
        art_backend: Any,
        service: ChildService | None,
    ) -> None:
        self.model = model
        self.on_restart: Callable[[], None] = _nothing
        """Called when the service that was started here has died and runs again."""
        self._config, self._interruption = config, interruption
        self._art, self._service = art_backend, service

    async def how_it_trains(self) -> dict[str, Any]:
        """Return what a training service says of its arithmetic; nothing of W&B's
        and of ART's own backend.
        """
        url = self._service.url if self._service is not None else self._config.service_url
        said = await asyncio.to_thread(health, url) if url else None
        training = (said or {}).get("training")
        return training if isinstance(training, dict) else {}

    async def train(
        self, groups: Sequence[art.TrajectoryGroup], learning_rate: float, after: int
    ) -> tuple[int, dict[str, float]]:
        """Train on the groups. Return the checkpoint that came of it, and the job's metrics.

        Nothing is trained when the backend is already past checkpoint `after`: it died after the job.

        Raises:
            JobFailed: the job failed or took too long.
        """
        if (reached := await self.model.get_step()) > after:
            return reached, {}
        limit, options = self._config.step_timeout_minutes, _job_options(self._config)
        try:
            async with asyncio.timeout(60 * limit):
                result = await self._art.train(self.model, groups, learning_rate=learning_rate, **options)
        except (TimeoutError, RuntimeError) as trouble:
            why = str(trouble) or f"the training job took longer than {limit:g} minutes"
            raise JobFailed(f"step {after + 1}: {why}") from trouble
        return result.step, {name: float(value) for name, value in result.metrics.items()}

    async def surviving(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do it. When the service that was started here died meanwhile, start that again and do it again."""
        import openai

        while True:
            try:
                return await act()
            except (TooManyFailures, JobFailed, openai.APIConnectionError):
                if self._service is None or self._interruption.signal is not None:
                    raise
                if await self._service.healthy(timeout_s=60.0):
                    raise
                await self._service.restart()
                self.on_restart()


@asynccontextmanager
async def connected(
    folder: Path, config: TrainingConfig, interruption: Interruption
) -> AsyncIterator[Backend]:
    """Start the service of an embedded run, connect to the backend, and end both.

    Raises:
        ConfigurationError: something is not installed.
        ServiceError: the service does not start.
    """
    async with _own_service(folder, config) as service:
        if url := service.url if service is not None else config.service_url:
            reach_directly(url)
        art_backend = _art_backend(folder, config, service)
        try:
            model = await _registered(folder, config, art_backend)
            yield Backend(config, interruption, model, art_backend, service)
        finally:
            await art_backend.close()


@asynccontextmanager
async def _own_service(folder: Path, config: TrainingConfig) -> AsyncIterator[ChildService | None]:
    if config.backend != "embedded":
        yield None
        return
    options = ("--base-models", named_base_model(config.base_model), "--precision", config.precision)
    # a tokenizer may need twice as many tokens as the estimate of the tools' texts
    context = str(2 * longest_tokens(config.episode))
    more = ("--gradient-steps", str(config.gradient_steps), "--max-context", context)
    service = ChildService(folder / "service", folder / "service.log", options=options + more, say=say)
    watch: asyncio.Task[None] | None = None
    try:
        await service.start()
        watch = asyncio.create_task(service.watch())
        yield service
    finally:
        if watch is not None:
            watch.cancel()
        await service.stop()


async def _registered(folder: Path, config: TrainingConfig, art_backend: Any) -> art.TrainableModel:
    import art

    embedded = config.backend == "embedded"
    base_model = named_base_model(config.base_model).partition("=")[0] if embedded else config.base_model
    place = {"project": config.project, "base_path": str(folder / "art")}
    model = art.TrainableModel(**model_names(folder.name), base_model=base_model, **place)
    try:
        await model.register(art_backend)
    except ImportError as missing:
        if config.backend != "local":
            raise
        raise _needs_extra(missing) from missing
    return model


def _nothing() -> None:
    """Tell nobody."""


def _job_options(config: TrainingConfig) -> dict[str, Any]:
    """Return what a training job is told beside the learning rate."""
    local = config.backend == "local"
    clipping = {"loss_fn": "ppo" if config.ppo else "cispo"} if local else {"ppo": config.ppo}
    return {
        "importance_sampling_level": config.importance_sampling_level,
        "scale_rewards": config.scale_rewards,
        "advantage_balance": config.advantage_balance,
        **clipping,
    }


def _art_backend(folder: Path, config: TrainingConfig, service: ChildService | None) -> Any:
    """Return ART's side of the backend, opened."""
    if config.backend == "local":
        return _local_backend(folder / "art")
    import art

    if service is not None:
        return art.ServerlessBackend(api_key="local", base_url=f"{service.url}/v1")
    key = os.environ.get("WANDB_API_KEY") or os.environ.get("TRAINING_SERVICE_TOKEN", "local")
    return art.ServerlessBackend(api_key=key, base_url=config.service_url)


def _local_backend(folder: Path) -> Any:
    try:
        from art.local import LocalBackend
    except ImportError as missing:
        raise _needs_extra(missing) from missing
    return LocalBackend(path=str(folder))


def _needs_extra(missing: ImportError) -> ConfigurationError:
    """Return what to install for ART's own backend, which imports it when it is made, or only when used."""
    extra = f"openpipe-art[backend]=={version('openpipe-art')}"
    return ConfigurationError(f"--backend local needs a GPU and {missing.name}; run: pip install '{extra}'")

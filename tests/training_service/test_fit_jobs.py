"""Jobs of the other kinds: demonstrations, preferences and rewards, through the engine and over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.training_service.conversations import ASK, request
from training_service.base_models import Base
from training_service.engine import TrainingError
from training_service.fit_jobs import KINDS
from training_service.heads import HEAD
from training_service.local_engine import LocalEngine
from training_service.wire import ROWS, TrainingJobRequest

pytestmark = pytest.mark.slow  # a model learns in each of them

Json = dict[str, Any]
SAID: Json = {"role": "assistant", "content": "the quick brown fox jumps over the lazy dog"}
PAIR: Json = {"messages": [ASK], "chosen": "orders failed", "rejected": SAID["content"]}
DATA: dict[str, list[Json]] = {
    "sft": [{"messages": [ASK, SAID]}] * 4,
    "dpo": [PAIR] * 4,
    "reward": [PAIR] * 4,
}
CONFIG: Json = {"learning_rate": 5e-3, "epochs": 4.0, "items_per_step": 4}


@pytest.fixture(scope="module")
def adapted(base: Base) -> Iterator[LocalEngine]:
    engine = LocalEngine([Base("random", base.folder, base.device, adapt="lora")])
    yield engine
    engine.close()


@pytest.fixture
def start(adapted: LocalEngine, tmp_path: Path) -> Path:
    folder = tmp_path / "step-0"
    folder.mkdir()
    adapted.create("random", folder)
    return folder


def trained(engine: LocalEngine, start: Path, kind: Any, **config: Any) -> tuple[list[Json], Path]:
    target = start.parent / "step-1"
    target.mkdir()
    events: list[Json] = []
    result = engine.train(
        start, target, DATA[kind], CONFIG | config, lambda row: events.append(dict(row)), lambda: False, kind
    )
    assert events[0] == {"num_sequences": result.gradient_steps}
    assert len(events) == result.gradient_steps + 1
    return events[1:], target


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_learns_and_becomes_a_checkpoint(adapted: LocalEngine, start: Path, kind: str) -> None:
    steps, target = trained(adapted, start, kind)
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert (target / "adapter_model.safetensors").exists()
    assert (target / HEAD).exists() == (kind == "reward")


async def test_a_taught_reply_is_written(adapted: LocalEngine, start: Path) -> None:
    _, target = trained(adapted, start, "sft", epochs=30.0, learning_rate=2e-2)
    reply = await adapted.complete(target, request(ASK, temperature=0, max_completion_tokens=40))
    assert reply["choices"][0]["message"]["content"].startswith("the quick brown")


def test_an_option_of_another_kind_is_refused(adapted: LocalEngine, start: Path) -> None:
    with pytest.raises(TrainingError, match="beta: not an option of sft"):
        trained(adapted, start, "sft", beta=0.1)


@pytest.mark.parametrize("kind", ROWS)
def test_a_job_without_its_rows_is_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match=f"kind {kind} needs {ROWS[kind]}"):  # type: ignore[index]
        TrainingJobRequest.model_validate({"model_id": "m", "kind": kind})


def test_arts_job_names_no_kind() -> None:
    job = TrainingJobRequest.model_validate({"model_id": "m", "trajectory_groups": []})
    assert (job.kind, job.rows, job.config) == ("grpo", [], {})

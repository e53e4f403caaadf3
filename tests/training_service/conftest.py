"""One random model for all tests of the room that need weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training_service.random_model import random_base
from training_service.base_models import Base
from training_service.local_engine import EngineOptions, LocalEngine


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return random_base(tmp_path_factory.mktemp("random_model"))


@pytest.fixture
def engine(base: Base) -> Iterator[LocalEngine]:
    engine = LocalEngine([base], EngineOptions(concurrent_sequences=16, kept_sequences=16))
    yield engine
    engine.close()


@pytest.fixture
def step0(engine: LocalEngine, tmp_path: Path) -> Path:
    """The checkpoint of a model nobody has trained yet."""
    folder = tmp_path / "step-0"
    folder.mkdir()
    engine.create("random", folder)
    return folder


@pytest.fixture(scope="session")
def base_folder(base: Base) -> Path:
    """The folder of the random model."""
    return base.folder

"""Generated runs, written once for all tests of this room, and the stand-in of Argus that serves them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testrun_investigator.argus import ArgusSettings
from testrun_investigator.demo_runs.generator import run_id
from testrun_investigator.demo_runs.packing import write_runs
from testrun_investigator.demo_runs.stand_in import TOKEN, StandIn, served

RUN_ID = run_id("disk-full", 1)
"""The run that most tests look at."""


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two generated runs."""
    folder = tmp_path_factory.mktemp("runs")
    write_runs(folder, ("disk-full", "spot-termination"))
    return folder


@pytest.fixture
def argus_server(runs: Path) -> Iterator[StandIn]:
    stand_in = StandIn(runs)
    with served(stand_in):
        yield stand_in


@pytest.fixture
def argus_settings(argus_server: StandIn) -> ArgusSettings:
    return ArgusSettings(url=argus_server.base + "/", token=TOKEN, deadline_s=10)

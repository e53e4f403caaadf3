"""`embedded:NAME` asks the training service, pinned to one checkpoint; the engine behind it is scripted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.episode_store.loading import load
from tests.builders.commands import evaluation as run
from tests.builders.commands import eventually
from tests.builders.scenarios import write_scenarios

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running service with one model, `mine`; yields its base URL."""
    folder = tmp_path_factory.mktemp("service")
    command = [sys.executable, "-m", "tests.fakes.engine", "serve"]
    command += ["--data", str(folder / "data"), "--parent-pid", str(os.getpid())]
    log = folder / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output) as process,
    ):
        try:
            eventually(lambda: "listening on" in log.read_text())
            found = re.search(r"listening on (http://\S+:\d+)", log.read_text())
            assert found is not None
            url = f"{found[1]}/v1"
            model = {
                "entity": "local",
                "project": "log-investigator",
                "name": "mine",
                "base_model": "tiny-investigator",
            }
            httpx.post(
                f"{url}/preview/models", json=model, headers={"Authorization": "Bearer local"}
            ).raise_for_status()
            yield url
        finally:
            process.terminate()


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_scenarios(tmp_path / "split", "aa01", "aa02")


def embedded(service: str, split: Path, name: str, *more: str) -> int:
    out = split.parent / "run"
    return run(
        "run", "--policy", f"embedded:{name}", "--split", split, "--out", out, "--base-url", service, *more
    )


def test_the_latest_checkpoint_is_pinned_and_named(service: str, split: Path) -> None:
    assert embedded(service, split, "mine") == 0
    found = load(split.parent / "run")
    assert found.run["policy"] == "embedded:mine@step0"
    assert {episode.policy for episode in found.episodes} == {"embedded:mine@step0"}
    assert '"base": "tiny-investigator"' in found.episodes[0].messages[2]["content"]


def test_a_continued_run_stays_with_its_checkpoint(service: str, split: Path) -> None:
    embedded(service, split, "mine")
    assert embedded(service, split, "mine", "--k", "2") == 0
    found = load(split.parent / "run")
    assert len(found.episodes) == 4
    assert found.run["policy"] == "embedded:mine@step0"


def test_a_base_model_is_asked_by_its_name(service: str, split: Path) -> None:
    assert embedded(service, split, "tiny-investigator") == 0
    assert load(split.parent / "run").run["policy"] == "embedded:tiny-investigator"


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("nobody", (), "no such model in project 'log-investigator' (it has mine)"),
        ("mine", ("--api-key", "wrong"), "HTTP 401"),
        ("mine", ("--base-url", "http://127.0.0.1:9/v1"), "no training service answers"),
        ("mine", ("--base-url", "http://127.0.0.1:port/v1"), "write http://127.0.0.1:PORT/v1"),
    ],
    ids=["unknown name", "wrong key", "nobody there", "no address"],
)
def test_a_model_that_cannot_be_reached_says_why(
    service: str,
    split: Path,
    name: str,
    more: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert embedded(service, split, name, *more) == 2
    assert message in capsys.readouterr().err


def test_a_step_that_does_not_exist_fails_every_sample_with_the_services_words(
    service: str, split: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embedded(service, split, "mine@step7") == 1
    assert "has no step 7" in load(split.parent / "run").failures[0].message


def test_a_model_nobody_trained_is_refused_before_a_service_makes_its_folder(
    split: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = split.parent / "data", split.parent / "run"
    assert run("run", "--policy", "embedded:nobody", "--split", split, "--out", out, "--data", data) == 2
    assert "it has no model yet); make train NAME=nobody trains one" in capsys.readouterr().err
    assert not data.exists()


@pytest.mark.slow
def test_a_service_that_cannot_start_shows_its_last_words(
    split: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--data", split.parent / "data", "--base-model", "no-such-model")
    assert (
        run(
            "run",
            "--policy",
            "embedded:no-such-model",
            "--split",
            split,
            "--out",
            split.parent / "run",
            *flags,
        )
        == 2
    )
    assert "the training service ended while starting" in capsys.readouterr().err


@pytest.mark.slow
def test_a_service_is_started_for_the_time_it_is_needed(split: Path) -> None:
    """The shipped model plays, and its process is gone afterwards."""
    out, data = split.parent / "run", split.parent / "data"
    flags = ("--split", split, "--out", out, "--data", data)
    assert run("run", "--policy", "embedded:tiny-investigator", *flags) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["episodes"] == 2
    assert summary["measures"]["completion_tokens"]["value"] > 0
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(data) not in left

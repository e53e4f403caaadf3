"""What a run is going to do, said before it does anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training_runs.test_settings import WITH_KEY, settings
from train_serverless import main
from training_runs.plan import plan


def test_the_plan_counts_episodes_and_prices_them() -> None:
    config = settings(
        "--steps", "10", "--usd-per-million-tokens", "2", "--backend", "serverless", environment=WITH_KEY
    )
    text = plan(config, "first")
    assert "640 training" in text
    assert "USD at 2 USD per million tokens" in text
    assert "nothing, it runs here" in plan(settings(), "first")


def test_the_plan_says_which_cluster_plays() -> None:
    assert "rollouts " not in plan(settings(), "first")
    here = plan(settings("--executor", "ray", "--workers", "8"), "first")
    assert "rollouts   by 8 workers on Ray, started on this machine" in here
    there = plan(settings("--executor", "ray", "--address", "10.0.0.1:6379"), "first")
    assert "on Ray, 10.0.0.1:6379" in there


@pytest.mark.slow  # it measures the model
def test_a_dry_run_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--backend",
        "embedded",
        "--runs",
        str(tmp_path / "runs"),
        "--database",
        str(tmp_path / "logs.db"),
    ]
    assert main(["--dry-run", *flags]) == 0
    out = capsys.readouterr().out
    assert "steps      45 of 8 x 8 episodes" in out
    assert "time       at most " in out
    assert list(tmp_path.iterdir()) == []

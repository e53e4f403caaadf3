"""Where settings come from, which win, and which are refused."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from project_types import EMBEDDED, ConfigurationError, EpisodeConfig, TrainingConfig
from tests.builders.scenarios import write_scenarios
from train_serverless import main
from training_runs.settings import MAY_CHANGE, add_flags, resolve

KEYLESS: dict[str, str] = {}
WITH_KEY = {"WANDB_API_KEY": "a key"}


def parsed(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    add_flags(parser)
    return parser.parse_args(flags)


def settings(*flags: str, environment: dict[str, str] = KEYLESS) -> TrainingConfig:
    return resolve(parsed(*flags), environment=environment)


@pytest.mark.parametrize("name", [*TrainingConfig.model_fields, *EpisodeConfig.model_fields])
def test_every_setting_is_a_flag_and_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    field = {**TrainingConfig.model_fields, **EpisodeConfig.model_fields}[name]
    if name != "episode":
        assert field.description
        with pytest.raises(SystemExit) as done:
            main(["--help"])
        assert done.value.code == 0
        assert f"--{name.replace('_', '-')}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "flags", "backend"),
    [
        pytest.param(KEYLESS, (), "embedded", id="no key"),
        pytest.param({"WANDB_API_KEY": ""}, (), "embedded", id="empty key"),
        pytest.param(WITH_KEY, (), "serverless", id="key"),
        pytest.param(WITH_KEY, ("--backend", "embedded"), "embedded", id="key, but asked for embedded"),
        pytest.param(
            KEYLESS,
            ("--service-url", "http://127.0.0.1:1/v1"),
            "serverless",
            id="a service that runs already",
        ),
    ],
)
def test_auto_is_serverless_with_a_key_and_embedded_without(
    environment: dict[str, str], flags: tuple[str, ...], backend: str
) -> None:
    assert settings(*flags, environment=environment).backend == backend


def test_serverless_without_a_key_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="--backend embedded"):
        settings("--backend", "serverless")


def test_rollouts_ahead_are_refused_where_one_gpu_plays_and_trains_in_turn() -> None:
    assert settings("--backend", "embedded", "--max-staleness", "1").max_staleness == 1
    with pytest.raises(ConfigurationError, match="leave it at 0"):
        settings("--backend", "local", "--max-staleness", "1")


def test_the_embedded_backend_has_its_own_defaults_and_flags_win_over_them() -> None:
    assert settings().episode == EMBEDDED
    assert (settings().steps, settings().max_minutes, settings().scale_rewards) == (45, 45, False)
    changed = settings(
        "--max-turns", "5", "--max-minutes", "none", "--learning-rate", "1e-4", "--scale-rewards"
    )
    assert (changed.episode.max_turns, changed.episode.prompt) == (5, "brief")
    assert (changed.max_minutes, changed.learning_rate, changed.scale_rewards) == (None, 1e-4, True)


def test_the_arithmetic_is_chosen_by_the_machine_unless_a_flag_says_otherwise() -> None:
    assert settings().precision == "auto"
    assert settings("--precision", "float32").precision == "float32"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "steps: 7\nseed: 3\nepisode: {max_turns: 4}\n"),
        ("a.toml", "steps = 7\nseed = 3\n[episode]\nmax_turns = 4\n"),
    ],
)
def test_a_file_wins_over_defaults_and_flags_over_the_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    config = settings("--config", str(path), "--seed", "9")
    assert (config.steps, config.seed, config.episode.max_turns) == (7, 9, 4)
    assert config.episode.tool_budget_tokens == EMBEDDED.tool_budget_tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("stepz: 7", "no setting is called 'stepz'; did you mean 'steps'", id="unknown setting"),
        pytest.param("steps: many", "--steps", id="wrong type"),
        pytest.param("- 1", "must be a table", id="not a table"),
        pytest.param("a: [", "cannot be read", id="not YAML"),
        pytest.param("episode: {max_turns: 0}", "--max-turns", id="out of range"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=expected):
        settings("--config", str(path))


def test_judge_model_names_the_default_judge() -> None:
    assert settings(environment={"JUDGE_MODEL": "mine"}).judge == "mine"
    assert settings("--judge", "offline", environment={"JUDGE_MODEL": "mine"}).judge == "offline"


def test_a_resumed_run_keeps_its_settings_and_may_change_only_how_long_it_goes_on() -> None:
    saved = settings("--seed", "4", "--steps", "10").model_dump(mode="json")
    resumed = resolve(parsed("--steps", "20"), saved, KEYLESS)
    assert (resumed.seed, resumed.steps, resumed.episode) == (4, 20, EMBEDDED)
    with pytest.raises(ConfigurationError, match="cannot change seed"):
        resolve(parsed("--seed", "5"), saved, KEYLESS)
    assert "episode" not in MAY_CHANGE


def test_a_resumed_embedded_run_stays_embedded_when_a_key_has_appeared() -> None:
    assert resolve(parsed(), settings().model_dump(mode="json"), WITH_KEY).backend == "embedded"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param(["--name", "../evil"], "use letters", id="name that is a path"),
        pytest.param(["--resume"], "holds no run yet", id="nothing to resume"),
        pytest.param(["--resume", "--name", "other"], "holds no run", id="no such run"),
        pytest.param(["--steps", "-1"], "--steps", id="bad value"),
        pytest.param(["--scenarios", "nowhere"], "no scenario-", id="no scenarios"),
        pytest.param(["--judge", "nobody"], "nobody", id="no such judge"),
    ],
)
def test_bad_use_exits_2_and_says_what_to_do(
    flags: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, split in enumerate(("train", "val", "test")):
        write_scenarios(tmp_path / "scenarios" / split, f"a{number}")
    places = {"--runs": "runs", "--scenarios": "scenarios", "--database": "logs.db"}
    given = [part for flag, name in places.items() for part in (flag, str(tmp_path / name))]
    assert main(["--backend", "embedded", *given, *flags]) == 2
    assert expected in capsys.readouterr().err

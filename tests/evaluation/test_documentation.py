"""The documented schema is the real one, and the documented commands can be typed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from core.episode_store.failures import Failure
from core.episode_store.run_folder import RUN, SUMMARY
from core.policies.scripted import SCRIPTED
from evaluation.__main__ import main, parser
from evaluation.exporting import schema
from evaluation.rescoring import Rescored
from evaluation.summary import MEASURES, PASS
from project_types import Episode, Outcome, Report, Verdict
from tests.evaluation.made import run, write_scenarios

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "episodes.md").read_text(encoding="utf-8")
README = (ROOT / "evaluation" / "README.md").read_text(encoding="utf-8")


def documented(section: str) -> set[str]:
    """The names in the first column of a section's table."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize(
    "model", [Episode, Outcome, Verdict, Report, Failure, Rescored], ids=lambda model: model.__name__
)
def test_every_field_is_documented_and_no_other(model: type[Episode]) -> None:
    assert documented(model.__name__) == set(model.model_fields)


def test_every_measure_is_documented_and_no_other() -> None:
    assert documented("Measures") == {*MEASURES, PASS}


def test_what_a_run_writes_is_documented_and_no_other(tmp_path: Path) -> None:
    split = write_scenarios(tmp_path / "split", "aa01")
    run("run", "--policy", "script:first-error", "--split", split, "--out", tmp_path / "run")
    assert documented("Run") == set(json.loads((tmp_path / "run" / RUN).read_text()))
    assert documented("Summary") == set(json.loads((tmp_path / "run" / SUMMARY).read_text()))
    line = json.loads((tmp_path / "run" / "episodes.jsonl").read_text())
    assert documented("Metadata") == set(line["metadata"])


def test_every_parquet_column_is_documented() -> None:
    elsewhere = set().union(
        *(documented(section) for section in ("Episode", "Outcome", "Verdict", "Report", "Metadata"))
    )
    assert set(schema().names) <= documented("Parquet") | elsewhere
    assert documented("Parquet") <= set(schema().names)


def test_the_example_is_an_episode() -> None:
    example = re.search(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
    assert example is not None
    episode = Episode.model_validate_json(example[1])
    assert episode.outcome.grounded
    assert sum(episode.reward_components.values()) == pytest.approx(episode.reward)


def test_every_script_is_in_the_readme() -> None:
    assert set(re.findall(r"`script:([a-z-]+)`", README)) == set(SCRIPTED)


BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
TYPED = [line for block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize("line", TYPED)
def test_a_command_of_the_readme_can_be_typed(line: str) -> None:
    python, flag, module, *arguments = shlex.split(line)
    assert (python, flag, module) == ("python", "-m", "evaluation")
    assert parser().parse_args(arguments).command == arguments[0]


COMMANDS = ("baselines", "run", "compare", "report", "show", "rescore", "export")


def test_every_command_is_shown_in_the_readme() -> None:
    assert {shlex.split(line)[3] for line in TYPED} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    examples = [
        line.strip()
        for line in text.splitlines()
        if line.strip().startswith(f"python -m evaluation {command} ")
    ]
    assert examples
    for example in examples:
        assert parser().parse_args(shlex.split(example)[3:]).command == command


def test_help_is_quick() -> None:
    """Arguments are parsed before anything heavy is imported."""
    heavy = {"numpy", "matplotlib", "litellm", "art", "pyarrow"}
    code = f"import sys, evaluation.__main__ as m; m.parser(); print(*{heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

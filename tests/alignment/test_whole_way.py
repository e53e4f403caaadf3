"""The whole way on a tiny random model: cases, pairs, warm start, DPO, reward model,
answers, gate, promotion, triage.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alignment.__main__ import main
from alignment.adapters import Registry
from alignment.cases import write_cases
from alignment.generator import generate
from alignment.learning import opened
from alignment.measurements import judged
from alignment.preferences import read
from alignment.stored_answers import stored
from tests.training_service.random_model import write_random_model
from training_service.examples import demonstration
from training_service.scoring import score

pytestmark = pytest.mark.slow
ANSWERED = {"role": "assistant", "content": "The disk ran full."}
BUILDS = Path(__file__).parent.parent / "failure_analysis" / "ci_logs"


class Lab:
    """One folder with a model, cases and a registry."""

    def __init__(self, place: Path) -> None:
        self.place, self.adapters = place, place / "adapters"
        self.model = write_random_model(place / "random", context=2048)
        for split in ("train", "val", "seen", "unseen"):
            write_cases(place / "cases" / f"{split}.jsonl", generate(split, 24))

    def run(self, command: str, *arguments: str) -> int:
        flags = {
            "pairs": ["--cases", "--out"],
            "sft": ["--base-model", "--adapters", "--work", "--cases"],
            "dpo": ["--base-model", "--adapters", "--work", "--pairs"],
            "sweep": ["--base-model", "--adapters", "--work", "--pairs", "--cases", "--answers"],
            "grpo": ["--base-model", "--adapters", "--work", "--cases"],
            "ppo": ["--base-model", "--adapters", "--work", "--cases"],
            "reward": ["--base-model", "--adapters", "--work", "--pairs"],
            "evaluate": ["--base-model", "--adapters", "--cases", "--answers"],
            "report": ["--cases", "--answers"],
            "gate": ["--adapters", "--answers", "--cases"],
            "triage": ["--base-model", "--adapters"],
            "adapters": ["--adapters"],
        }[command]
        values = {
            "--cases": self.place / "cases",
            "--out": self.place / "pairs.jsonl",
            "--pairs": self.place / "pairs.jsonl",
            "--base-model": self.model,
            "--adapters": self.adapters,
            "--answers": self.place / "answers",
            "--work": self.place / "work" / (arguments[1] if len(arguments) > 1 else command),
        }
        given = [
            part
            for flag in flags
            if flag not in arguments
            for part in (self._flag(command, flag), str(values[flag]))
        ]
        return main([command, *arguments, *given])

    @staticmethod
    def _flag(command: str, flag: str) -> str:
        return "--out" if command in ("evaluate", "report", "sweep") and flag == "--answers" else flag


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    assert lab.run("pairs") == 0
    assert lab.run("sft", "--name", "warm", "--learning-rate", "3e-3", "--limit", "16", "--epochs", "2") == 0
    return lab


def test_a_warm_start_becomes_an_adapter_with_its_origin(lab: Lab) -> None:
    card = Registry(lab.adapters).card("warm@v1")
    assert (card.kind, card.start, card.settings["learning_rate"]) == ("sft", "", 3e-3)
    assert set(card.files) == {"adapter_config.json", "adapter_model.safetensors", "state.json"}


def test_a_merged_adapter_is_a_base_model_that_says_the_same(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    merged, flags = lab.place / "merged", ("--base-model", str(lab.model))
    assert lab.run("adapters", "merge", "warm@v1", *flags, "--out", str(merged)) == 0
    base, whole = opened(str(lab.model)), opened(str(merged))
    adapted = base.policy(Registry(lab.adapters).checked("warm@v1", base.sha256))
    asked = [demonstration(base.chat, {"messages": [{"role": "user", "content": "why?"}, ANSWERED]})]
    said = [
        score(model, asked, base.device, "float32").logprobs for model in (adapted, whole.model, base.model)
    ]
    assert said[0].tolist() == pytest.approx(said[1].tolist(), abs=1e-4)
    assert said[0].tolist() != pytest.approx(said[2].tolist(), abs=1e-2), "the adapter changes something"
    assert lab.run("adapters", "merge", "warm@v1", *flags, "--out", str(lab.adapters)) == 2
    assert "is not a merged model" in capsys.readouterr().err


def test_dpo_starts_from_it_and_lowers_its_loss(lab: Lab) -> None:
    flags = (
        "--start",
        "warm@v1",
        "--learning-rate",
        "3e-3",
        "--limit",
        "16",
        "--epochs",
        "3",
        "--beta",
        "0.3",
    )
    assert lab.run("dpo", "--name", "judged", *flags) == 0
    card = Registry(lab.adapters).card("judged")
    assert card.start == "warm@v1"
    history = json.loads((lab.place / "work" / "judged" / "last" / "progress.json").read_text())["history"]
    assert history[0]["margin"] == pytest.approx(0.0, abs=1e-3), "the reference is the start adapter"
    assert history[-1]["loss"] < history[0]["loss"]


def test_a_sweep_trains_every_setting_once_and_says_which_to_use(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--name", "swept", "--start", "warm@v1", "--limit", "4", "--ld-alphas", "1", "0", "--per-token")
    asked = (*flags, "--validate", "2", "--words", "8")
    for _ in range(2):
        assert lab.run("sweep", *asked) == 0
        assert "\nuse swept-" in capsys.readouterr().out
    names = [card.full_name for card in Registry(lab.adapters).cards() if card.name.startswith("swept")]
    assert names == ["swept-ld0@v1", "swept-ld1@v1", "swept-per-token@v1"]
    noted = {path: path.stat().st_mtime_ns for path in (lab.adapters / ".noted").iterdir()}
    assert lab.run("dpo", "--name", "once-more", "--start", "warm@v1", "--limit", "4") == 0
    assert noted == {path: path.stat().st_mtime_ns for path in (lab.adapters / ".noted").iterdir()}, (
        "what the start adapter says of these pairs is noted once for all that start there"
    )


def test_a_work_folder_of_other_pairs_is_refused_before_the_reference_reads_them(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = len(list((lab.adapters / ".noted").iterdir()))
    assert lab.run("dpo", "--name", "once-more", "--start", "warm@v1", "--limit", "6") == 2
    assert "is of other pairs or another start" in capsys.readouterr().err
    assert len(list((lab.adapters / ".noted").iterdir())) == noted


def test_a_reward_model_that_learned_nothing_is_refused(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.run("reward", "--name", "judge", "--limit", "8") == 1
    out = capsys.readouterr().out
    assert "| slice | pairs | model | longer wins | shorter wins |" in out
    assert "refused: length-matched" in out
    assert judged(Registry(lab.adapters))["judge@v1"].refusals


def test_ppo_goes_on_where_it_was(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--start", "warm@v1", "--items-per-step", "4", "--words", "12", "--limit", "8")
    assert lab.run("ppo", "--name", "loop", *flags, "--iterations", "1") == 0
    assert lab.run("ppo", "--name", "loop", *flags, "--iterations", "2") == 0
    progress = json.loads((lab.place / "work" / "loop" / "last" / "progress.json").read_text())
    assert len(progress["history"]) == 2
    assert progress["history"][0]["distance"] == pytest.approx(0.0, abs=1e-3), "it starts at the reference"
    assert Registry(lab.adapters).card("loop").kind == "ppo"
    assert lab.run("ppo", "--name", "loop", *flags, "--iterations", "3", "--seed", "9") == 2
    assert "begun with other settings" in capsys.readouterr().err


def test_grpo_learns_from_groups_and_goes_on_where_it_was(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--start", "warm@v1", "--items-per-step", "4", "--group", "2", "--words", "12", "--limit", "8")
    assert lab.run("grpo", "--name", "grouped", *flags, "--iterations", "1") == 0
    assert lab.run("grpo", "--name", "grouped", *flags, "--iterations", "2") == 0
    progress = json.loads((lab.place / "work" / "grouped" / "last" / "progress.json").read_text())
    assert len(progress["history"]) == 2
    assert progress["steps"] == sum("loss" in step for step in progress["history"])
    assert Registry(lab.adapters).card("grouped").kind == "grpo"
    assert lab.run("grpo", "--name", "grouped", *flags, "--iterations", "3", "--penalty", "0.5") == 2
    assert "begun with other settings" in capsys.readouterr().err
    assert lab.run("grpo", "--name", "odd", "--items-per-step", "4", "--group", "3") == 2
    assert "no multiple of --group" in capsys.readouterr().err


def test_a_refused_reward_model_rewards_with_a_warning(lab: Lab) -> None:
    flags = ("--start", "warm@v1", "--items-per-step", "4", "--group", "2", "--words", "12", "--limit", "8")
    with pytest.warns(UserWarning, match="judge@v1 was refused by its gate"):
        assert lab.run("grpo", "--name", "by-judge", *flags, "--reward", "judge@v1", "--iterations", "1") == 0


def test_answers_are_stored_compared_and_gated(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ("--rows", "base", "extractive", "warm@v1", "--against", "base", "--limit", "4", "--words", "20")
    asked = (*rows, "--real", str(BUILDS), "--labelled", "2")
    assert lab.run("evaluate", *asked) == 0
    table = capsys.readouterr().out
    assert "| extractive | 4 |" in table
    assert "| warm@v1 | 4 |" in table
    assert "### Real builds that failed" in table
    assert "| rules | 4 |" in table
    first = stored(lab.place / "answers", "warm@v1")
    assert lab.run("evaluate", *asked) == 0
    assert stored(lab.place / "answers", "warm@v1") == first, "nothing is answered twice"
    capsys.readouterr()
    assert lab.run("report", "--against", "base", "--limit", "4") == 0
    generated = table[table.index("###") :].split("\n\n### Real")[0]
    assert set(generated.splitlines()) <= set(capsys.readouterr().out.splitlines())
    assert lab.run("gate", "warm@v1") == 1
    assert "warm@v1 may not be promoted" in capsys.readouterr().out
    assert lab.run("adapters", "promote", "warm@v1") == 2


def test_an_adapter_answers_each_case_twice_and_its_mistakes_become_pairs(lab: Lab, tmp_path: Path) -> None:
    own, answers = tmp_path / "own.jsonl", tmp_path / "answers"
    asked = ("--row", "warm@v1", "--samples", "2", "--limit", "4", "--words", "20")
    where = ("--base-model", str(lab.model), "--adapters", str(lab.adapters), "--answers", str(answers))
    assert lab.run("pairs", *asked, *where, "--out", str(own)) == 0
    given = stored(answers / "samples", "warm@v1")
    assert len(given) == 8
    assert len({name.partition("#")[0] for name in given}) == 4
    for pair in read(own):
        assert pair.rejected in {answer.text.strip() for answer in given.values()}
    assert lab.run("pairs", *asked, *where, "--splits", "train", "unseen", "--out", str(own)) == 0
    assert {pair.split for pair in read(own)} == {"train", "unseen"}


def test_triage_answers_with_an_adapter(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "app.log"
    log.write_text(
        "05:00:01 ERROR web req-1: no free connection in the pool of orders\n05:00:02 ERROR failed\n"
    )
    assert lab.run("triage", str(log), "--adapter", "warm@v1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["failed"]
    assert found["adapter"] == "warm@v1"


def test_a_damaged_adapter_answers_nothing(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab.run("sft", "--name", "broken", "--limit", "4") == 0
    weights = lab.adapters / "broken" / "v1" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    log = tmp_path / "app.log"
    log.write_text("05:00:01 ERROR web the pool is empty\n")
    assert lab.run("triage", str(log), "--adapter", "broken@v1") == 2
    assert "is not what was registered" in capsys.readouterr().err


def test_a_training_that_is_killed_goes_on(lab: Lab) -> None:
    work = lab.place / "work" / "killed"
    flags = [
        "--name",
        "killed",
        "--limit",
        "16",
        "--epochs",
        "5",
        "--items-per-step",
        "8",
        "--save-every",
        "1",
        "--work",
        str(work),
    ]
    where = [
        "--base-model",
        str(lab.model),
        "--adapters",
        str(lab.adapters),
        "--cases",
        str(lab.place / "cases"),
    ]
    command = [sys.executable, "-m", "alignment", "sft", *flags, *where]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    progress = work / "last" / "progress.json"
    while process.poll() is None and not progress.exists():
        time.sleep(0.02)  # until the first step is saved
    process.kill()
    process.wait()
    done = len(json.loads(progress.read_text())["history"])
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "killed@v1: loss" in again.stdout
    assert 0 < done < len(json.loads(progress.read_text())["history"]) == 10

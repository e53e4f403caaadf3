"""`python -m chaos generate`: same bytes every time, all or nothing, clear errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.__main__ import main
from chaos.splits import Written, jobs, write_split, written
from project_types import read_scenarios
from tests.chaos.conftest import write

ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    """File name → bytes."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("split", ["train", "val", "test", "controls", "pretrain"])
def test_the_command_writes_files_that_read_back(
    split: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "generate",
                "--split",
                split,
                "--count",
                "4",
                "--seed",
                "9",
                "--workers",
                "1",
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    found = read_scenarios(tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "scenarios.jsonl").read_text().splitlines()]
    assert len(found) == 4
    assert {line["id"] for line in lines} == {scenario.id for scenario in found}
    assert not any({"logs", "spans", "metrics", "events"} & set(line) for line in lines)
    assert "4 scenarios" in capsys.readouterr().out


@pytest.mark.slow
def test_bytes_are_the_same_whatever_the_hash_seed_and_the_number_of_processes(tmp_path: Path) -> None:
    for hash_seed, workers in (("0", "1"), ("1", "2"), ("77", "3")):
        command = [
            sys.executable,
            "-m",
            "chaos",
            "generate",
            "--split",
            "test",
            "--count",
            "12",
            "--seed",
            "4",
        ]
        subprocess.run(
            [*command, "--workers", workers, "--out", str(tmp_path / hash_seed)],
            check=True,
            cwd=ROOT,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
    assert contents(tmp_path / "0") == contents(tmp_path / "1") == contents(tmp_path / "77")


def interrupted() -> Iterator[Written]:
    """A generation that is stopped after two scenarios."""
    for job in jobs("train", 2, 1):
        yield from written(job)
    raise KeyboardInterrupt


def test_an_interrupted_generation_leaves_no_split(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_split(interrupted(), tmp_path / "train")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_generation_leaves_the_old_split_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "train", "train", 2, 5)
    before = contents(tmp_path / "train")
    with pytest.raises(KeyboardInterrupt):
        write_split(interrupted(), tmp_path / "train")
    assert contents(tmp_path / "train") == before
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_a_new_generation_replaces_the_old_one_entirely(tmp_path: Path) -> None:
    write(tmp_path / "train", "train", 3, 5)
    write(tmp_path / "train", "train", 2, 6)
    assert len(read_scenarios(tmp_path / "train")) == 2


def test_a_folder_with_other_things_in_it_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["generate", "--split", "val", "--count", "1", "--out", str(tmp_path)]) == 2
    assert "thesis.txt" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_folder_that_cannot_be_written_is_bad_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["generate", "--split", "val", "--count", "1", "--out", str(tmp_path / "file" / "new")]) == 2
    assert "give another folder with --out" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-3", "many"])
def test_a_count_that_is_no_count_is_bad_use(count: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["generate", "--split", "val", f"--count={count}", "--out", str(tmp_path / "out")])
    assert stop.value.code == 2


def test_a_request_file_decides_which_faults_and_systems_occur(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(
        '{"faults": {"disk_full": 50}, "topologies": {"shop": 1, "bank": 1, "media": 0}}'
    )
    command = [
        "generate",
        "--split",
        "train",
        "--count",
        "8",
        "--workers",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*command, "--request", str(tmp_path / "request.json")]) == 0
    found = read_scenarios(tmp_path / "out")
    assert sum(scenario.ground_truth.fault_type == "disk_full" for scenario in found) >= 4
    assert not any("media" in (scenario.provenance.topology or "") for scenario in found)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("{", "cannot be read as JSON", id="no json"),
        pytest.param('{"fault": {}}', "faults", id="unknown key"),
        pytest.param('{"faults": {"gremlins": 1}}', "gremlins", id="unknown fault"),
        pytest.param('{"faults": {"disk_full": -1}}', "from 0 up", id="negative weight"),
        pytest.param('{"faults": {"disk_full": true}}', "from 0 up", id="boolean weight"),
        pytest.param('{"topologies": ["shop"]}', "must map", id="a list"),
    ],
)
def test_a_bad_request_file_says_what_is_wrong(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "request.json").write_text(text)
    command = ["generate", "--split", "train", "--count", "1", "--out", str(tmp_path / "out")]
    assert main([*command, "--request", str(tmp_path / "request.json")]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_that_leave_nothing_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from chaos.topologies import topologies

    (tmp_path / "request.json").write_text(json.dumps({"topologies": dict.fromkeys(topologies(), 0)}))
    command = ["generate", "--split", "train", "--count", "1", "--out", str(tmp_path / "out")]
    assert main([*command, "--request", str(tmp_path / "request.json")]) == 2
    assert "more topologies" in capsys.readouterr().err

"""Every command does what its help says, prints what can be acted on, and refuses bad use with what to type
instead.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaos.__main__ import main as simulate
from chaos.plans import read_mix
from failure_analysis.__main__ import main
from failure_analysis.store import FailureStore
from tests.builders.episodes import add_episodes
from tests.builders.played import GOLD, RIGHT, Stage, answer, evaluation, search, training
from tests.failure_analysis.test_ingest import PYTEST
from tests.fakes.openai_server import OpenAIServer, by_turn
from tests.fakes.openai_server import answer as says_answer
from tests.training_service.service_process import ServiceProcess


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def run(tmp_path: Path, stage: Stage) -> Path:
    """A captured training run: worse at checkpoint 0, better at 4."""
    folder = training(tmp_path / "runs" / "seed1", stage)
    add_episodes(folder / "episodes" / "test-0000-t0.jsonl", [stage.wrong()])
    add_episodes(folder / "episodes" / "test-0004-t0.jsonl", [stage.right()])
    add_episodes(folder / "episodes" / "train-0001-rollouts.jsonl", [stage.wrong(0), stage.wrong(1)])
    assert main(["capture", str(folder), "--quiet"]) == 0
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command printed; it must succeed."""
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def database(run: Path) -> tuple[str, str]:
    return "--failures", str(run.parent / "failures.db")


def test_capture_says_what_it_took_in_and_where(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, stage: Stage
) -> None:
    run = evaluation(tmp_path / "runs" / "eval", stage, [stage.wrong()])
    printed = said(capsys, "capture", str(run))
    assert f"{tmp_path / 'runs' / 'failures.db'}: 2 new, 1 of them failed" in printed


def test_groups_are_a_table_or_json(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    table = said(capsys, "groups", "--type", "episode", *database(run))
    assert "saw_and_ignored" in table
    assert "steady" in table or "gone" in table
    rows = json.loads(said(capsys, "groups", "--json", *database(run)))
    assert [row["failures"] for row in rows] == [3]


def test_counts_follow_checkpoints(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    rows = json.loads(said(capsys, "counts", "--by", "kind", "--bucket", "step", "--json", *database(run)))
    assert [(row["step"], row["failures"], row["tried"]) for row in rows] == [(0, 1, 1), (1, 2, 2)]
    assert "saw_and_ignored" in said(capsys, "counts", "--by", "kind", "--bucket", "all", *database(run))


def test_similar_finds_by_words(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    assert "saw and ignored: disk_full" in said(capsys, "similar", "ignored the full disk", *database(run))
    assert "nothing stored is like it" in said(capsys, "similar", "zzz", *database(run))


def test_compare_names_what_was_fixed_and_cites_it(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    printed = said(capsys, "compare", "seed1@0", "seed1@4", *database(run))
    assert "fixed 1, introduced 0, still failing 0" in printed
    assert "0f3c" in printed
    (found,) = json.loads(said(capsys, "compare", "seed1@4", "seed1@0", "--json", *database(run)))
    assert len(found["introduced"]) == 1


def test_hardest_writes_a_request_that_the_simulator_honours(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, run: Path
) -> None:
    out = tmp_path / "request.json"
    printed = said(capsys, "hardest", "--out", str(out), *database(run))
    assert "python -m chaos generate" in printed
    mix = read_mix(out)
    assert set(mix.faults) == {"disk_full"}
    generate = [
        "generate",
        "--split",
        "train",
        "--count",
        "3",
        "--out",
        str(tmp_path / "more"),
        "--request",
        str(out),
    ]
    assert simulate([*generate, "--workers", "1"]) == 0
    assert "3 scenarios" in capsys.readouterr().out


def test_ingest_prints_each_failure_with_its_fix_and_can_fail_a_build(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "junit.xml").write_text(PYTEST)
    where = ["--failures", str(tmp_path / "failures.db")]
    printed = said(capsys, "ingest", str(tmp_path / "junit.xml"), *where)
    assert "medium logic_error tests.test_cart::test_total[a & b]: assert 41 == 42" in printed
    assert "fix: " in printed
    assert main(["ingest", str(tmp_path / "junit.xml"), "--exit-code", *where]) == 1


def test_ingest_reads_standard_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "failure_analysis", "ingest", "-", "--failures", str(tmp_path / "f.db")],
        input=b"x" * 50_000 + b"\nValueError: too many values to unpack\n", capture_output=True, check=True,
    )  # fmt: skip
    assert b"ValueError: too many values" in done.stdout


def test_analyze_prints_the_four_answers_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("step 3\nModuleNotFoundError: No module named 'peft'\n")
    found = json.loads(
        said(
            capsys,
            "analyze",
            str(tmp_path / "x.log"),
            "--type",
            "training_run",
            "--code",
            str(tmp_path / "x.log"),
        )
    )
    assert (found["failure_category"], found["severity"], found["method"]) == (
        "import_error",
        "high",
        "rules",
    )
    assert {"root_cause", "fix_suggestion"} <= set(found)


def test_score_prints_accuracies_and_confusion_and_docs_quote_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed = said(capsys, "score")
    category, severity = re.findall(r"^\w+ accuracy (0\.\d{3})$", printed, re.MULTILINE)
    assert "labelled down, said across" in printed
    docs = Path(__file__).parents[2] / "docs" / "failures.md"
    assert f"| {category} | {severity} |" in docs.read_text(encoding="utf-8")


def test_score_holds_a_bar_and_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--bar", "1.01", "--part", "rules", "--json"]) == 1
    numbers = json.loads(capsys.readouterr().out)
    assert 0.9 < numbers["category"] <= 1
    assert 0.9 < numbers["severity"] <= 1


def test_repair_keeps_a_damaged_file_and_captures_again(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    path = Path(database(run)[1])
    before = FailureStore(path).experiments()
    path.write_bytes(b"not a database at all" * 100)
    printed = said(capsys, "repair", "--failures", str(path))
    assert FailureStore(path).experiments() == before
    assert f"captured again: {before.total} experiments" in printed
    assert "ingest FILE" in printed
    assert path.with_name("failures.db.damaged-1").read_bytes().startswith(b"not a database")


def scripted_server() -> OpenAIServer:
    """A model that, having seen a tool's result about the ledger, names it, and else blames the mailer."""

    def reply(body: dict[str, Any]) -> Any:
        shown = any("no space left" in str(message.get("content")) for message in body["messages"])
        right, wrong = (
            says_answer("ledger", RIGHT, key_log_ids=[GOLD]),
            says_answer("mailer", "mailer: it is down"),
        )
        return by_turn([right if shown else wrong])(body)

    return OpenAIServer(reply)


@pytest.mark.parametrize("policy", ["openai:fake", "litellm:openai/fake"])
def test_intervene_reports_the_effect_of_one_changed_result(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, stage: Stage, policy: str
) -> None:
    wrong = stage.play(search(service="mailer"), answer("mailer", "mailer: down"))
    run = evaluation(tmp_path / "eval", stage, [wrong])
    better = tmp_path / "better.txt"
    better.write_text("a line that says: no space left on device\n")
    with scripted_server() as server:
        reach = ["--policy", policy, "--base-url", server.base_url, "--api-key", "test", "--k", "2"]
        printed = said(
            capsys,
            "intervene",
            "--episode",
            f"{run / 'episodes.jsonl'}:1",
            "--turn",
            "1",
            "--replace-result",
            str(better),
            *reach,
        )
    assert "unchanged   0/2 right" in printed
    assert "changed     2/2 right" in printed
    assert "success     +100% [" in printed


def intervened(capsys: pytest.CaptureFixture[str], run: Path, better: str, *reach: str) -> str:
    """What `intervene` prints after one play of each side, the first result of the first episode replaced."""
    changed = run.parent / "better.txt"
    changed.write_text(better)
    line = ["--episode", f"{run / 'episodes.jsonl'}:1", "--turn", "1", "--replace-result", str(changed)]
    return said(capsys, "intervene", *line, "--k", "1", *reach)


def test_intervene_can_play_a_script_which_goes_on_from_what_was_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, stage: Stage
) -> None:
    wrong = stage.play(search(service="mailer"), answer("mailer", "mailer: down"))
    run = evaluation(tmp_path / "eval", stage, [wrong])
    better = "1 line matches\n14:05:02 WARN ledger journal write failed: no space left on device log a1b2\n"
    printed = intervened(capsys, run, better, "--policy", "script:rarest-warning")
    assert "changed     1/1 right, 1 grounded" in printed


@pytest.mark.slow
def test_intervene_can_play_the_model_one_just_trained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, stage: Stage
) -> None:
    """A checkpoint in runs/NAME/service is found by its name alone, and its
    service is started and stopped.
    """
    run = evaluation(
        tmp_path / "eval", stage, [stage.play(search(service="mailer"), answer("mailer", "down"))]
    )
    data = tmp_path / "runs" / "mine" / "service"
    data.parent.mkdir(parents=True)
    with ServiceProcess(data, module="training_service") as service:
        model = {"entity": "local", "project": "log-investigator", "name": "mine"}
        service.http.post("/v1/preview/models", json=model | {"base_model": "tiny-investigator"})
    reach = ("--policy", "embedded:mine@step0", "--runs", str(tmp_path / "runs"))
    printed = intervened(capsys, run, "nothing matches", *reach)
    assert "unchanged   " in printed


def test_intervene_takes_the_id_of_a_captured_episode(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    rows = json.loads(said(capsys, "groups", "--json", *database(run)))
    call = '{"name": "search_logs", "arguments": {"service": "ledger"}}'
    with scripted_server() as server:
        reach = ["--policy", "openai:fake", "--base-url", server.base_url, "--k", "1", "--json"]
        printed = said(
            capsys,
            "intervene",
            "--episode",
            rows[0]["latest"],
            "--turn",
            "1",
            "--replace-call",
            call,
            *reach,
            *database(run),
        )
    effect = json.loads(printed)
    assert effect["changed"] == "the call of turn 1"
    assert effect["with_change"][0] == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["capture", "nowhere"], "no such run"),
        (["groups", "--failures", "nowhere.db"], "capture RUN_DIR"),
        (["groups", "--type", "cake", "--failures", "nowhere.db"], "known: training_run"),
        (["compare", "a@x", "b@1", "--failures", "nowhere.db"], "no number"),
        (["ingest", "nowhere.log", "--failures", "nowhere.db"], "check the path"),
        (["analyze", "nowhere.log"], "check the path"),
        (["repair", "--failures", "nowhere.db"], "no such file"),
        (["hardest", "--out", "r.json", "--failures", "nowhere.db"], "capture RUN_DIR"),
        (["intervene", "--episode", "nowhere.jsonl:1", "--turn", "1", "--replace-call", "{}", "--policy", "x"], "be read"),
    ],
)  # fmt: skip
def test_bad_use_is_exit_code_2_and_says_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], says: str
) -> None:
    where = [str(tmp_path / one) if one.startswith("nowhere") else one for one in arguments]
    assert main(where) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"python -m failure_analysis {arguments[0]}: error: ")
    assert says in error
    assert not list(tmp_path.glob("*.db"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--policy": "gpt"}, "write script:NAME, embedded:NAME[@stepN], litellm:MODEL"),
        ({"--policy": "openai:x"}, "needs --base-url"),
        ({"--policy": "script:nobody"}, "no such script; known:"),
        ({"--policy": "embedded:nobody", "--runs": "nowhere"}, "make train NAME=nobody trains one"),
        ({"--replace-call": "{}"}, "--replace-call"),
        ({"--turn": "7"}, "the episode has 2 turns"),
        ({"--episode": "0123456789abcdef"}, "no captured episode has this id"),
        ({"--scenarios": "empty"}, "give its folder with --scenarios"),
    ],
)
def test_an_intervention_that_cannot_be_made_says_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, run: Path, change: dict[str, str], says: str
) -> None:
    call = '{"name": "search_logs", "arguments": {}}'
    episode = f"{run / 'episodes' / 'test-0000-t0.jsonl'}:1"
    given = {
        "--episode": episode,
        "--turn": "1",
        "--replace-call": call,
        "--policy": "litellm:openai/x",
        **change,
    }
    if given.get("--scenarios"):
        given["--scenarios"] = str(tmp_path / "empty")
    assert main(["intervene", *(part for pair in given.items() for part in pair), *database(run)]) == 2
    assert says in capsys.readouterr().err


def test_the_command_that_moved_to_the_dashboard_says_so_and_goes_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--port", "many"])
    error = capsys.readouterr().err
    assert "type: python -m dashboard serve" in error
    assert "python -m dashboard serve: error: argument --port" in error

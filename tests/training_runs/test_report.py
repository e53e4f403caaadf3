"""The summary and the page of a run, made from files written by hand."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from core.episode_store.lines import EpisodesError
from core.episode_store.run_folder import GREEDY, SAMPLED
from core.episode_store.run_writer import RunWriter
from core.episode_store.runs import training_run
from dashboard.browser import executable
from project_types import ConfigurationError, Episode, Report, TrainingConfig, Verdict
from tests.builders.episodes import call, write_episodes
from tests.builders.episodes import episode as made_episode
from tests.builders.pages import Page
from tests.builders.runs import write_state
from training_runs.__main__ import main
from training_runs.headline import table
from training_runs.metrics_row import measured
from training_runs.report import write_report
from training_runs.report_page import page
from training_runs.summary import summary_of
from training_runs.terminal import last_lines

HOSTILE = "</pre><script>alert('pwned')</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"
FAMILIES = ("resource", "network")


def episode(scenario: int, sample: int, right: bool, text: str = "hello") -> Episode:
    """One episode of one of the scenarios: of two families, each third one unseen."""
    called = call(1, "search_logs")
    called["tool_calls"][0]["function"]["arguments"] = text
    told = ({"role": "user", "content": text}, called, {"role": "tool", "content": text})
    return made_episode(
        f"{scenario:04x}",
        sample,
        correct=right,
        messages=told,
        report=Report(root_cause=text, suspected_service=text),
        verdict=Verdict(
            correct=right, service_correct=right, cause_correct=right, reason=text, judge="offline"
        ),
        outcome={"cited": 1, "cited_seen": 1, "prompt_tokens": 100, "completion_tokens": 10},
        reward=1.0 if right else -1.0,
        reward_components={"band": 1.0 if right else -1.0},
        metadata={
            "fault_type": text,
            "family": FAMILIES[scenario % 2],
            "unseen": scenario % 3 == 0,
            "twin": f"{scenario ^ 1:04x}",
        },
    )


def rendered(path: Path) -> Page:
    """The page of a run, without the time it takes to draw its curve."""
    run = training_run(path)
    return Page(page(run, summary_of(run), "<svg></svg>"))


def row(split: str, step: int, episodes: list[Episode], **more: Any) -> dict[str, Any]:
    return {"split": split, "step": step, "checkpoint": step, **measured(episodes, 1, {}, 2.0), **more}


def write_run(path: Path, *, trained: bool = True, text: str = "hello") -> RunWriter:
    """A run of 12 test scenarios: 3 right before, 9 after; with `trained` false it was stopped after the
    first test.
    """
    folder = RunWriter(path)
    with folder.claimed(resume=False):
        config = TrainingConfig(backend="embedded", usd_per_million_tokens=2.0).model_dump(mode="json")
        folder.write(
            "config.json", json.dumps({"name": path.name, "revision": "abc", "config": config}).encode()
        )
        state: dict[str, Any] = {"seconds": 60.0, "training_seconds": 30.0}
        for step, right in [(0, 3), (2, 9)] if trained else [(0, 3)]:
            for kind, samples, name in ((GREEDY, 1, "test"), (SAMPLED, 4, "test_sampled")):
                episodes = [episode(n, k, n < right, text) for n in range(12) for k in range(samples)]
                write_episodes(folder.episodes_path("test", step, kind), *episodes)
                folder.add(row(name, step, episodes))
        if trained:
            folder.add(row("train", 1, [episode(0, k, k > 2) for k in range(8)], groups=1))
            lost = {"failed": 3, "failures": {"ProviderError: no reply": 3}, "groups": 2, "flat_groups": 1}
            folder.add(row("train", 2, [episode(1, k, k > 2) for k in range(8)], **lost))
            folder.add(row("val", 2, [episode(n, 0, True) for n in range(3)]))
            state |= {"best_checkpoint": 2, "finished": True}
        write_state(path, state)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that made all of its steps, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def summary(finished: Path) -> dict[str, Any]:
    """Its summary."""
    return summary_of(training_run(finished))


def test_the_summary_holds_before_and_after_with_intervals(summary: dict[str, Any]) -> None:
    test = summary["splits"]["test"]
    assert (test["n"], test["accuracy_before"], test["accuracy_after"], test["avg4_after"]) == (
        12,
        0.25,
        0.75,
        0.75,
    )
    assert test["ci95_before"][0] < 0.25 < test["ci95_before"][1] < 0.75
    assert (test["grounded_after"], test["gain"]) == (0.75, 0.5)
    assert (test["both_twins_before"], test["both_twins_after"]) == (round(1 / 6, 4), round(4 / 6, 4))
    assert "test, both twins" in table(summary)
    assert test["gain_ci95"][0] < 0.5 < test["gain_ci95"][1]
    assert set(test["by_slice"]["fault_family"]) == set(FAMILIES)
    assert test["by_slice"]["seen"]["unseen"]["n"] == 4
    assert summary["failures"] == {"ProviderError: no reply": 3}
    why = summary["failure_analysis"][0]
    assert (why["times"], why["reason"], why["severity"]) == (3, "ProviderError: no reply", "medium")
    assert {"failure_category", "root_cause", "fix_suggestion"} <= why.keys()
    assert (summary["failed_rollouts"], summary["flat_groups"], summary["steps"]) == (3, 1, 2)
    assert summary["tokens"] == 110 * summary["rollouts"]
    assert summary["policy_cost_usd"] == pytest.approx(summary["tokens"] * 2e-6, abs=1e-4)


def test_a_run_stopped_before_its_second_test_has_no_after(tmp_path: Path) -> None:
    write_run(tmp_path / "run", trained=False)
    summary = summary_of(training_run(tmp_path / "run"))
    assert summary["splits"]["test"]["accuracy_before"] == 0.25
    assert summary["splits"]["test"]["accuracy_after"] is None
    assert not summary["finished"]
    assert "has not finished" in rendered(tmp_path / "run").text


def test_a_run_that_failed_says_why_in_its_summary_and_on_its_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", trained=False)
    folder.fail(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    summary = summary_of(training_run(tmp_path / "run"))
    assert summary["ended_because"]["failure_category"] == "resource_error"
    assert "CUDA out of memory" in rendered(tmp_path / "run").text


def test_a_row_explains_its_failed_rollouts_when_it_is_written() -> None:
    found = measured([], 1, {"ProviderError: no reply within 120 s": 2}, 1.0)["failure_analysis"]
    assert [(one["times"], one["failure_category"]) for one in found] == [(2, "timeout")]


def test_episodes_of_a_test_that_was_interrupted_do_not_count(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    metrics = tmp_path / "run/metrics.jsonl"
    kept = [
        line
        for line in metrics.read_text().splitlines(keepends=True)
        if '"split": "test", "step": 2' not in line
    ]
    metrics.write_text("".join(kept))
    assert len(folder.episodes("test", 2, GREEDY)) == 12
    assert summary_of(training_run(tmp_path / "run"))["splits"]["test"]["accuracy_after"] is None


def test_a_hostile_transcript_stays_text(tmp_path: Path) -> None:
    write_run(tmp_path / "run", text=HOSTILE)
    shown = rendered(tmp_path / "run")
    assert HOSTILE in shown.text
    assert not [tag for tag, attributes in shown.tags if tag == "script" or "onerror" in attributes]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its report, whose curve takes long to draw."""
    folder = tmp_path_factory.mktemp("reported") / "run"
    write_run(folder)
    write_report(folder)
    return folder


def test_the_page_loads_nothing_and_runs_nothing(reported: Path) -> None:
    html = (reported / "report.html").read_text()
    shown = Page(html)
    loading = {"src", "srcset", "poster", "data", "action", "background"}
    assert not [attributes for _, attributes in shown.tags if loading & attributes.keys()]
    assert not [
        tag for tag, _ in shown.tags if tag in {"script", "link", "iframe", "object", "embed", "form"}
    ]
    assert not re.search(r"url\((?!#)|@import", html)
    assert [tag for tag, _ in shown.tags].count("svg") == 1


def test_the_page_shows_what_was_promised(finished: Path, summary: dict[str, Any]) -> None:
    shown = Page(page(training_run(finished), summary, "<svg></svg>"))
    parts = (
        "Learning curve",
        "By family of fault",
        "Reward components",
        "How episodes ended",
        "Three transcripts",
        "Settings",
    )
    for part in parts:
        assert part in shown.text
    assert shown.text.count("search_logs") >= 3
    assert "Solved after training" in shown.text
    assert "25.0 % [" in shown.text
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [
        attributes for _, attributes in shown.tags
    ]


def test_a_run_that_never_beat_its_start_says_so_on_the_page(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    write_state(tmp_path / "run", {"best_checkpoint": 0, "finished": True})
    assert "No checkpoint beat the start" in rendered(tmp_path / "run").text


def ended_by_time(path: Path, steps_asked: int) -> dict[str, Any]:
    """A run of two steps that the clock ended; its summary."""
    write_run(path)
    config = json.loads((path / "config.json").read_text())
    config["config"] |= {"steps": steps_asked, "max_minutes": 12.0}
    (path / "config.json").write_text(json.dumps(config))
    write_state(path, {"best_checkpoint": 2, "finished": steps_asked <= 2 * 2, "ended_by": "time"})
    return summary_of(training_run(path))


def test_a_run_that_the_clock_ended_before_half_of_its_steps_says_so_everywhere(tmp_path: Path) -> None:
    summary = ended_by_time(tmp_path / "run", steps_asked=40)
    shown = rendered(tmp_path / "run").text
    said = last_lines(tmp_path / "run", summary, stopped=False)
    for words in (shown, said, summary["out_of_time"]):
        assert "--max-minutes 12 was enough for 2 of 40 training steps" in words
        assert "do not show what the model can learn" in words
    goes_on = f"train_serverless.py --name run --resume --runs {tmp_path} --max-minutes none"
    for words in (shown, said, summary["go_on"]):
        assert goes_on in words
    assert not summary["finished"]
    assert "evaluation compare" not in said


def test_a_run_that_made_most_of_its_steps_counts_and_says_how_many(tmp_path: Path) -> None:
    summary = ended_by_time(tmp_path / "run", steps_asked=4)
    assert summary["finished"]
    said = last_lines(tmp_path / "run", summary, stopped=False)
    assert "enough for 2 of 4 training steps" in said
    assert "--max-minutes none" in said
    assert "evaluation compare" in said


def test_a_run_that_made_all_of_its_steps_ends_with_what_to_look_at(
    finished: Path, summary: dict[str, Any]
) -> None:
    said = last_lines(finished, summary, stopped=False)
    assert "evaluation compare" in said
    assert "--resume" not in said


def test_the_page_says_which_arithmetic_was_chosen_and_why(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    chosen = {"precision": "float32", "asked": "auto", "float32_ms": 1.5, "bfloat16_ms": 60.0}
    RunWriter(tmp_path / "run").add_settings(training_service=chosen)
    assert summary_of(training_run(tmp_path / "run"))["training_service"] == chosen
    said = "float32, chosen by timing both: one layer took float32 1.5 ms"
    assert said in rendered(tmp_path / "run").text


def test_a_run_that_was_resumed_with_other_code_names_the_code_it_began_with(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    assert "begun at" not in rendered(tmp_path / "run").text
    path = tmp_path / "run/config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"earlier": [{"at": "2026-01-01", "revision": "older"}]})
    )
    assert "revision abc, begun at older" in rendered(tmp_path / "run").text


@pytest.mark.slow
def test_names_are_not_broken_into_letters_on_a_phone(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    write_report(tmp_path / "run")
    try:
        path = executable()
    except ConfigurationError as trouble:
        if os.environ.get("CI") or os.environ.get("NEED_BROWSER"):
            pytest.fail(str(trouble))
        pytest.skip(str(trouble))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        phone = browser.new_page(viewport={"width": 390, "height": 844})
        phone.goto((tmp_path / "run/report.html").as_uri())
        heights = phone.evaluate(
            "[...document.querySelectorAll('td:first-child')].map(cell => cell.offsetHeight)"
        )
        browser.close()
    assert 0 < max(heights) <= 120


def test_the_learning_curve_is_also_kept_as_pictures(reported: Path) -> None:
    assert json.loads((reported / "summary.json").read_text()) == summary_of(training_run(reported))
    assert (reported / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (reported / "learning_curve.svg").read_text()


def test_the_table_shows_both_ways_of_sampling(summary: dict[str, Any]) -> None:
    lines = table(summary).splitlines()
    assert [line[:24].strip() for line in lines[1:3]] == ["test (12), temp. 0", "test (12), avg@4, temp."]
    assert "+50.0 [" in lines[1]


def test_a_report_can_be_rendered_again_from_the_files(
    reported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = (reported / "report.html").read_bytes()
    assert main(["report", str(reported)]) == 0
    assert (reported / "report.html").read_bytes() == first
    assert "report.html" in capsys.readouterr().out


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EpisodesError, match=r"no config\.json"):
        training_run(tmp_path)
    assert main(["report", str(tmp_path)]) == 2
    assert "train_serverless.py" in capsys.readouterr().err


def test_what_a_killed_process_left_half_written_is_cut(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    rows = len(folder.rows)
    path = folder.episodes_path("train", 3, "rollouts")
    path.write_text(episode(1, 0, True).model_dump_json() + "\n" + '{"scenario_id": "00')
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"split": "tr')
    folder.take_up()
    assert len(folder.rows) == rows
    assert len(path.read_text().splitlines()) == len(folder.episodes("train", 3, "rollouts")) == 1


def test_a_run_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    folder = RunWriter(tmp_path / "run")
    another = RunWriter(tmp_path / "run").claimed(resume=True)
    with (
        folder.claimed(resume=False),
        pytest.raises(ConfigurationError, match="another process trains this run"),
        another,
    ):
        pass

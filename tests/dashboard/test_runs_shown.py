"""What a run's page adds up: kinds as shares, phase and time left, several runs
in one chart, HEAD, search.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.episode_store.run_folder import TRAINING_LOCK, RunFolder
from core.files import held
from core.intervals import share_by_scenario
from dashboard.curves import TONES, curves, together
from dashboard.exports import as_csv
from dashboard.overviews import failing
from dashboard.rendering import interval
from dashboard.run_progress import progress_of
from dashboard.shares import shares
from failure_analysis.aggregates import groups
from failure_analysis.records import ExperimentType, InvestigationKind, Severity, Status
from failure_analysis.store import Wanted
from tests.builders.runs import metrics_row, training_run, write_run
from tests.dashboard.served import captured, dashboard, visitor

JOB = {
    "loss/train": 0.25,
    "loss/kl_div": 0.01,
    "loss/entropy": 0.8,
    "loss/grad_norm": 2.0,
    "clipped_fraction": 0.1,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one captured training run."""
    folder = tmp_path_factory.mktemp("runs")
    training_run(folder)
    captured(folder)
    return folder


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[httpx.Client]:
    """A client of a dashboard over it."""
    with dashboard(root) as url, httpx.Client(base_url=url, timeout=60) as opened:
        yield opened


def name_of(root: Path) -> str:
    """The name of its only run."""
    return next(path.parent.name for path in root.glob("*/metrics.jsonl"))


def test_the_shares_of_a_checkpoint_add_up_to_its_failures(root: Path) -> None:
    store = captured(root)
    found = shares(store, Wanted(run=name_of(root)))
    assert found
    failed = store.experiments(
        Wanted(run=name_of(root), statuses=(Status.FAILED,), types=(ExperimentType.EPISODE,))
    ).total
    assert sum(one.failures for one in found) == failed
    assert all(one.low <= one.share <= one.high for one in found)


def test_a_filter_of_failures_does_not_shrink_what_they_are_a_share_of(root: Path) -> None:
    store = captured(root)
    every = {(one.split, one.sampling, one.step, one.name): one for one in shares(store, Wanted())}
    kind = next(iter(every))[-1]
    for one in shares(store, Wanted(kinds=(InvestigationKind(kind),))):
        assert one == every[one.split, one.sampling, one.step, one.name]


def test_a_group_of_episodes_says_its_share_of_the_episodes_wanted(root: Path) -> None:
    store = captured(root)
    group = groups(store, Wanted(types=(ExperimentType.EPISODE,))).rows[0]
    tried = store.experiments(Wanted(types=(ExperimentType.EPISODE,))).total
    assert group.tried == tried
    assert group.share == group.failures / tried
    assert group.low is not None
    assert group.high is not None
    assert group.low < group.share < group.high


def test_samples_of_one_scenario_do_not_narrow_the_interval() -> None:
    few, many = share_by_scenario(5, 10, 10), share_by_scenario(20, 40, 10)
    assert few == many
    assert share_by_scenario(20, 40, 40).high < many.high


def test_a_training_job_draws_loss_kl_entropy_gradient_and_clipped_tokens() -> None:
    charts = {
        chart.id: chart.series[0].values for chart in curves([metrics_row("train", 1, 0.5) | {"job": JOB}])
    }
    assert [charts[name] for name in ("loss", "kl", "entropy", "grad_norm", "clipped")] == [
        (0.25,), (0.01,), (0.8,), (2.0,), (10.0,),
    ]  # fmt: skip


def test_several_runs_share_a_chart_and_each_has_its_own_colour() -> None:
    rows = {f"run {number}": [metrics_row("train", number, 0.5)] for number in range(3)}
    reward = next(chart for chart in together(rows) if chart.id == "reward")
    assert reward.x == (0, 1, 2)
    assert [series.label for series in reward.series] == list(rows)
    assert len({series.tone for series in reward.series}) == 3


def test_a_running_run_says_its_phase_and_its_latest_numbers(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(metrics_row("train", 99, 0.5) | {"job": JOB}) + "\n")
    progress = progress_of(RunFolder(run))
    assert dict(progress.latest)["loss"] == 0.25
    assert dict(progress.latest)["clipped"] == 0.1


def test_charts_of_kinds_and_of_several_runs_are_answered(client: httpx.Client, root: Path) -> None:
    name = name_of(root)
    kinds = client.get("/api/run/kinds", params={"name": name}).json()["charts"]
    assert kinds
    assert all(chart["unit"] == "%" for chart in kinds)
    assert client.get("/api/runs/curves", params={"name": [name, name]}).json()["charts"]
    assert client.get("/api/runs/curves", params={"name": "nobody"}).status_code == 404
    assert client.get("/api/runs/curves", params={"name": ["x"] * (len(TONES) + 1)}).status_code == 422
    assert client.get("/api/run/checkpoints", params={"name": "nobody"}).status_code == 404


@pytest.mark.parametrize("address", ["/", "/runs", "/experiments", "/api/runs", "/health", "/static/page.js"])
def test_head_is_answered_as_get_without_a_body(client: httpx.Client, address: str) -> None:
    head, got = client.head(address), client.get(address)
    assert (head.status_code, head.headers["content-type"]) == (200, got.headers["content-type"])
    assert head.content == b""
    assert client.head("/nowhere").status_code == 404


def test_a_word_that_only_a_transcript_holds_finds_its_episode(client: httpx.Client) -> None:
    found = client.get("/api/episodes", params={"q": "healthcheck of CDN failed"}).json()
    assert found["total"] >= 1
    assert client.get("/api/episodes", params={"q": "no line says this"}).json()["total"] == 0


def test_a_page_is_asked_for_by_its_number(client: httpx.Client) -> None:
    whole = client.get("/api/episodes", params={"limit": 6}).json()
    second = client.get("/api/episodes", params={"limit": 3, "page": 2}).json()
    assert [row["id"] for row in second["rows"]] == [row["id"] for row in whole["rows"][3:]]
    page = client.get("/episodes", params={"limit": 3, "page": 2, "order": "oldest"})
    assert page.status_code == 200
    assert 'name="page"' in page.text
    assert 'name="order" value="oldest"' in page.text


def test_a_comparison_says_the_change_with_its_interval(client: httpx.Client, root: Path) -> None:
    asked: dict[str, Any] = {"before": name_of(root), "before_step": 0, "after_step": 3, "split": "test"}
    found = client.get("/api/compare", params=asked).json()
    value, low, high, scenarios = found["change"]
    assert value == found["failing_after"][0] - found["failing_before"][0] == -0.5
    assert low <= value <= high
    assert scenarios == found["scenarios"] == 4
    assert "The change is \N{MINUS SIGN}50 points" in client.get("/compare", params=asked).text


@pytest.mark.parametrize("table", ["experiments", "episodes", "failures", "runs", "checkpoints", "kinds"])
def test_a_table_leaves_as_csv_and_as_json_lines_with_the_same_rows(client: httpx.Client, table: str) -> None:
    lines = client.get(f"/export/{table}.jsonl").text.splitlines()
    rows = list(csv.DictReader(io.StringIO(client.get(f"/export/{table}.csv").text)))
    assert len(rows) == len(lines) > 0
    assert set(json.loads(lines[0])) >= {name for name in rows[0] if "." not in name}


def test_an_exported_table_keeps_the_filters_and_links_to_both_files(
    client: httpx.Client, root: Path
) -> None:
    rows = client.get("/export/episodes.jsonl", params={"step": 0}).text.splitlines()
    assert {json.loads(row)["step"] for row in rows} == {0}
    assert "/export/episodes.csv?step=0" in client.get("/episodes", params={"step": 0}).text
    asked: dict[str, Any] = {"before": name_of(root), "before_step": 0, "after_step": 3}
    assert "fixed" in client.get("/export/compare.csv", params=asked).text
    assert client.get("/export/compare.csv").status_code == 422
    assert client.get("/export/passwords.csv").status_code == 404


def test_a_cell_that_a_spreadsheet_would_run_is_text() -> None:
    made = "".join(as_csv([{"name": "=HYPERLINK(1)", "reward": -0.5, "inner": {"text": "a,b"}}]))
    assert list(csv.reader(io.StringIO(made)))[1] == ["'=HYPERLINK(1)", "-0.5", "a,b"]


def test_next_and_previous_walk_through_the_list_within_its_filters(client: httpx.Client) -> None:
    asked: dict[str, Any] = {"split": "test", "step": 0, "order": "oldest"}
    ids = [row["id"] for row in client.get("/api/episodes", params=asked).json()["rows"]]
    assert f"/episodes/{ids[1]}?split=test" in client.get("/episodes", params=asked).text
    page = client.get(f"/episodes/{ids[1]}", params={**asked, "at": 1}).text
    assert f'rel="prev" href="/episodes/{ids[0]}?' in page
    assert f'rel="next" href="/episodes/{ids[2]}?' in page
    first = client.get(f"/episodes/{ids[0]}", params={**asked, "at": 0}).text
    assert 'rel="prev"' not in first
    assert 'rel="next"' not in client.get(f"/episodes/{ids[0]}").text


def test_an_id_links_to_the_first_line_that_prints_it(client: httpx.Client) -> None:
    rows = client.get("/api/episodes", params={"correct": True}).json()["rows"]
    page = client.get(f"/episodes/{rows[0]['id']}").text
    targets = set(re.findall(r'href="#(line-\d+)"', page))
    assert targets
    assert all(page.count(f'id="{target}"') == 1 for target in targets)


def test_a_group_takes_comments_and_marks_and_says_that_it_came_back(tmp_path: Path) -> None:
    training_run(tmp_path)
    captured(tmp_path)
    with dashboard(tmp_path) as url, httpx.Client(base_url=url, timeout=60) as client:
        signature = client.get("/api/groups").json()["rows"][0]["signature"]
        address = f"/groups/{signature}"
        answer = client.post(
            address, data={"comment": "<b>disk</b> of ci-3", "author": "Ann", "mark": "fixed"}
        )
        assert (answer.status_code, answer.headers["location"]) == (303, address)
        page = client.get(address).text
        assert "&lt;b&gt;disk&lt;/b&gt; of ci-3" in page
        assert "marked as fixed" in page
        assert "failed again" not in page
        assert client.post(address, data={"comment": " "}).status_code == 422
        foreign = client.post(
            address, data={"mark": "known"}, headers={"Origin": "https://elsewhere.example"}
        )
        assert foreign.status_code == 403
        [row] = [r for r in client.get("/api/groups").json()["rows"] if r["signature"] == signature]
        assert (row["mark"], row["comments"], row["latest_comment"]) == ("fixed", 1, "<b>disk</b> of ci-3")
        for list_page in ("/", "/failures", f"/run?name={name_of(tmp_path)}"):
            shown = client.get(list_page).text
            assert "1 comment: &lt;b&gt;disk&lt;/b&gt; of ci-3" in shown
        assert "latest_comment" in client.get("/export/failures.csv").text
        assert client.get("/groups/00ff").status_code == 404
        assert client.post("/groups/00ff", data={"mark": "known"}).status_code == 404


def test_runs_are_chosen_to_be_drawn_together(client: httpx.Client, root: Path) -> None:
    page = client.get("/curves", params={"name": name_of(root)}).text
    assert f'value="{name_of(root)}" checked' in page
    assert f"/api/runs/curves?name={name_of(root)}" in page
    assert client.get("/curves", params={"name": "nobody"}).status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "/compare?before=nosuch&after=nosuch2",
        "/compare?before=seed1&before_step=0&after_step=99",
        "/side-by-side?scenario_id=1a2b&before=nosuch",
        "/side-by-side?scenario_id=1a2b&before=seed1&after=nosuch",
        "/side-by-side?scenario_id=1a2b&before=seed1&before_step=98&after_step=99",
        "/side-by-side?scenario_id=nosuch&before=seed1",
    ],
)
def test_a_comparison_of_what_is_not_there_is_not_found(client: httpx.Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_failures_of_episodes_are_drawn_by_kind_unless_something_else_is_asked_for(
    client: httpx.Client,
) -> None:
    def drawn(**asked: str) -> dict[str, set[str]]:
        charts = client.get("/api/counts/chart", params=asked).json()["charts"]
        return {chart["title"]: {series["label"] for series in chart["series"]} for chart in charts}

    by_kind = drawn(type="episode")
    assert "How test, temperature 0 fail" in by_kind
    kinds = {kind.replace("_", " ") for kind in InvestigationKind}
    assert all(labels <= kinds for labels in by_kind.values())
    by_severity = drawn(type="episode", by="severity")
    assert all(labels <= set(Severity) for labels in by_severity.values())
    page = client.get("/failures", params={"type": "episode"}).text
    assert 'data-charts="/api/counts/chart?type=episode"' in page


def test_the_overview_shows_the_share_that_fails_with_its_interval(root: Path, client: httpx.Client) -> None:
    rows = failing(captured(root))
    assert rows
    page = client.get("/").text
    for row in rows:
        assert 0 <= row.share.low <= row.failed / row.episodes <= row.share.high <= 1
        assert interval(row.share) in page


def begun(folder: Path, rows: list[dict[str, Any]], **config: Any) -> RunFolder:
    """A training run of ten steps that wrote these rows."""
    return RunFolder(write_run(folder, {"steps": 10, "validate_every": 5, **config}, rows=rows))


TEST, VALIDATED = metrics_row("test", 0, 0.1), metrics_row("val", 0, 0.1)
TRAINED = [metrics_row("train", step, 0.2, elapsed_seconds=60.0 * step) for step in range(1, 6)]
PHASES = {
    "testing the start": [],
    "validating the start": [TEST],
    "training step 1": [TEST, VALIDATED],
    "training step 4": [TEST, VALIDATED, *TRAINED[:3]],
    "validating step 5": [TEST, VALIDATED, *TRAINED],
    "training step 6": [TEST, VALIDATED, *TRAINED, metrics_row("val", 5, 0.3)],
    "validating step 10": [TEST, VALIDATED, *TRAINED, metrics_row("train", 10, 0.4)],
    "testing the best checkpoint": [
        TEST,
        VALIDATED,
        metrics_row("train", 10, 0.4),
        metrics_row("val", 10, 0.4),
    ],
}


@pytest.mark.parametrize(("phase", "rows"), PHASES.items(), ids=PHASES)
def test_a_running_run_says_its_phase(tmp_path: Path, phase: str, rows: list[dict[str, Any]]) -> None:
    run = begun(tmp_path / "one", rows)
    with held(run.path / TRAINING_LOCK):
        assert progress_of(run).phase == phase


def test_time_left_is_the_pace_of_the_steps_that_are_left_within_the_cap(tmp_path: Path) -> None:
    free = begun(tmp_path / "free", [TEST, VALIDATED, *TRAINED])
    capped = begun(tmp_path / "capped", [TEST, VALIDATED, *TRAINED], max_minutes=5.5)
    with held(free.path / TRAINING_LOCK), held(capped.path / TRAINING_LOCK):
        left_s, capped_s = progress_of(free).left_s, progress_of(capped).left_s
    # five steps of 12 s, each with a fifth of a validation of 12 s
    assert left_s == pytest.approx(5 * (12 + 12 / 5))
    assert capped_s == pytest.approx(60 * 5.5 - 300)


def test_a_run_that_nobody_holds_has_neither_phase_nor_time_left(tmp_path: Path) -> None:
    progress = progress_of(begun(tmp_path / "one", [TEST, VALIDATED, *TRAINED]))
    assert (progress.phase, progress.left_s) == ("", None)


def test_a_running_run_shows_phase_and_time_left_on_its_page(tmp_path: Path) -> None:
    run = begun(tmp_path / "one", [TEST, VALIDATED, *TRAINED[:3]])
    with held(run.path / TRAINING_LOCK), dashboard(tmp_path) as url:
        page = visitor.get(f"{url}/run?name=one").text
    assert re.search(r"Now: training step 4, about .+ left", page)

"""The JSON half of the dashboard, over a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from failure_analysis.store import DATABASE
from tests.builders.runs import training_run
from tests.dashboard.served import captured, dashboard, visitor


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One captured training run."""
    runs = tmp_path_factory.mktemp("api") / "runs"
    training_run(runs)
    captured(runs)
    return runs


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[httpx.Client]:
    """A client of a dashboard over it."""
    with dashboard(root) as url, httpx.Client(base_url=url, timeout=60) as opened:
        yield opened


def get(client: httpx.Client, path: str, **parameters: Any) -> Any:
    """The JSON of a good answer."""
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_each_failed_experiment_carries_its_analysis_and_a_good_one_carries_none(
    client: httpx.Client,
) -> None:
    rows = get(client, "/api/experiments", limit=100)["rows"]
    assert {row["status"] for row in rows} == {"ok", "failed"}
    for row in rows:
        if row["status"] == "failed":
            assert set(row["failure_analysis"]) == {"category", "root_cause", "fix_suggestion", "severity"}
            assert all(row["failure_analysis"].values())
        else:
            assert row["failure_analysis"] is None


def test_a_list_comes_in_pages_that_together_hold_every_row_once(client: httpx.Client) -> None:
    whole = get(client, "/api/experiments", limit=200)
    parts = [
        get(client, "/api/experiments", limit=4, offset=offset) for offset in range(0, whole["total"], 4)
    ]
    assert [row["id"] for part in parts for row in part["rows"]] == [row["id"] for row in whole["rows"]]
    assert all(len(part["rows"]) <= 4 and part["total"] == whole["total"] for part in parts)


def test_a_page_beyond_the_end_is_empty_and_still_says_the_total(client: httpx.Client) -> None:
    page = get(client, "/api/episodes", offset=5000)
    assert page["rows"] == []
    assert page["total"] == 8


@pytest.mark.parametrize(
    ("asked", "right"),
    [
        ({"status": "failed"}, lambda row: row["status"] == "failed"),
        (
            {"severity": ["medium", "low"]},
            lambda row: row["failure_analysis"]["severity"] in ("medium", "low"),
        ),
        ({"category": "logic_error"}, lambda row: row["failure_analysis"]["category"] == "logic_error"),
        ({"kind": "saw_and_ignored"}, lambda row: row["kind"] == "saw_and_ignored"),
        ({"step": 0}, lambda row: row["step"] == 0),
        ({"scenario_id": "3e5f"}, lambda row: row["scenario_id"] == "3e5f"),
        ({"correct": "true"}, lambda row: row["episode"]["correct"]),
        ({"type": "training_run"}, lambda row: row["type"] == "training_run"),
        ({"q": "3E5F"}, lambda row: "3e5f" in row["name"]),
        ({"ending": "answered", "fault_type": "disk_full"}, lambda row: row["fault_type"] == "disk_full"),
        ({"run": "seed1", "split": "test", "sampling": "t0"}, lambda row: row["sampling"] == "t0"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_filter_keeps_only_what_it_names(client: httpx.Client, asked: dict[str, Any], right: Any) -> None:
    rows, every = (get(client, "/api/experiments", limit=200, **wanted)["rows"] for wanted in (asked, {}))
    assert rows
    assert all(right(row) for row in rows)
    assert len(rows) < len(every)


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("/api/experiments?limit=201", "limit"),
        ("/api/experiments?limit=0", "limit"),
        ("/api/experiments?offset=-1", "offset"),
        ("/api/experiments?colour=red", "colour"),
        ("/api/experiments?severity=terrible", "severity"),
        ("/api/experiments?order=random()", "order"),
        ("/api/experiments?since=yesterday", "since"),
        (f"/api/experiments?q={'x' * 201}", "q"),
        ("/api/experiments/not-an-id", "id"),
        ("/api/groups?limit=1000", "limit"),
        ("/api/compare", "name a run"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_name(client: httpx.Client, address: str, named: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 422
    assert named in answer.json()["error"]


def test_an_empty_parameter_is_one_that_was_not_given(client: httpx.Client) -> None:
    assert (
        get(client, "/api/experiments", severity="", run="", q="")["total"]
        == get(client, "/api/experiments")["total"]
    )


def test_one_experiment_says_everything_about_its_failure(client: httpx.Client) -> None:
    row = get(client, "/api/experiments", status="failed", type="episode")["rows"][0]
    whole = get(client, f"/api/experiments/{row['id']}")
    assert whole["experiment"] == row
    assert whole["failure"]["claims"]
    assert whole["failure"]["method"] == "rules"


def test_an_unknown_id_is_answered_with_where_to_look(client: httpx.Client) -> None:
    answer = client.get("/api/experiments/0000000000000000")
    assert answer.status_code == 404
    assert "/api/experiments" in answer.json()["error"]


def test_an_episode_comes_with_its_turns_and_marked_evidence(client: httpx.Client) -> None:
    right = get(client, "/api/episodes", correct="true", step=0)["rows"][0]
    whole = get(client, f"/api/episodes/{right['id']}")
    assert [call["name"] for turn in whole["transcript"]["turns"] for call in turn["calls"]] == [
        "search_logs",
        "return_final_answer",
    ]
    marks = {
        item["id"]: (item["cited"], item["gold"], item["seen"]) for item in whole["transcript"]["evidence"]
    }
    assert marks["a1b2c3d4e5f6"] == (True, True, True)
    assert whole["verdict"]["correct"] is True
    assert sum(whole["reward_components"].values()) == pytest.approx(whole["reward"])


def test_curves_hold_one_value_or_a_gap_for_each_step(client: httpx.Client) -> None:
    found = get(client, "/api/run/curves", name="seed1")
    accuracy = next(chart for chart in found["charts"] if chart["id"] == "accuracy")
    values = {series["label"]: series["values"] for series in accuracy["series"]}
    assert accuracy["x"] == [0, 1, 2, 3]
    assert values["validation"] == [25, None, None, 75]
    assert values["training, sampled"] == [None, 20, 40, 60]
    assert found["live"] is False


def test_a_run_is_found_by_its_name_and_never_by_a_path(client: httpx.Client) -> None:
    assert get(client, "/api/run", name="seed1")["best_checkpoint"] == 3
    for name in ("../runs/seed1", "/etc", "seed1/", ".", ""):
        assert client.get("/api/run", params={"name": name}).status_code == 404


def test_aggregates_count_every_failure_once(client: httpx.Client) -> None:
    failed = get(client, "/api/experiments", status="failed")["total"]
    for by in ("category", "severity", "type"):
        assert sum(count["failures"] for count in get(client, "/api/counts", by=by)) == failed
    groups = get(client, "/api/groups")
    assert sum(group["failures"] for group in groups["rows"]) == failed
    episodes = get(client, "/api/experiments", status="failed", type="episode")["total"]
    charts = get(client, "/api/counts/chart", by="severity")["charts"]
    counted = [series for chart in charts if chart["unit"] == "failures" for series in chart["series"]]
    assert sum(sum(series["values"]) for series in counted) == failed - episodes
    assert any(chart["unit"] == "%" for chart in charts)


def test_episodes_that_fail_are_a_share_with_an_interval_by_split_and_sampling(client: httpx.Client) -> None:
    chart = get(client, "/api/failing/chart", type="episode")["charts"][0]
    points = [get(client, "/api/run/checkpoints", name="seed1")]
    assert chart["unit"] == "%"
    splits = {point["split"] for point in points[0]}
    assert {series["label"].partition(",")[0] for series in chart["series"]} == splits
    for series in chart["series"]:
        for low, value, high in zip(series["low"], series["values"], series["high"], strict=True):
            assert value is None or low <= value <= high


def test_checkpoints_are_compared_scenario_by_scenario(client: httpx.Client) -> None:
    found = get(client, "/api/compare", before="seed1", before_step=0, after_step=3)
    assert [flip["scenario_id"] for flip in found["fixed"]] == ["1a2b", "2c4d"]
    assert [flip["scenario_id"] for flip in found["still_failing"]] == ["3e5f"]
    assert found["introduced"] == []


@pytest.mark.parametrize(
    "address",
    [
        "/api/compare?before=nosuch&after=nosuch2",
        "/api/compare?before=seed1&before_step=0&after_step=99",
        "/api/run?name=nosuch",
        "/api/run/curves?name=nosuch",
        "/api/experiments/0123",
        "/api/episodes/0123",
        "/api/nosuch",
    ],
)
def test_what_is_not_there_is_404(client: httpx.Client, address: str) -> None:
    assert client.get(address).status_code == 404


def test_similar_finds_the_group_a_failure_belongs_to_first(client: httpx.Client) -> None:
    row = get(client, "/api/experiments", status="failed")["rows"][0]
    near = get(client, "/api/similar", to=row["id"])
    assert near[0]["group"] == row["signature"]
    assert near[0]["likeness"] == 1


def test_the_openapi_document_describes_every_route_and_its_answer(client: httpx.Client) -> None:
    document = get(client, "/openapi.json")
    assert {path for path in document["paths"] if not path.startswith("/api/")} == set()
    assert len(document["paths"]) >= 12
    for path, methods in document["paths"].items():
        operation = methods["get"]
        assert operation["description"], path
        assert operation["responses"]["200"]["content"]["application/json"]["schema"], path
    analysis = document["components"]["schemas"]["AnalysisOut"]["properties"]
    assert set(analysis) == {"category", "root_cause", "fix_suggestion", "severity"}


def test_a_damaged_store_is_said_with_its_repair_and_runs_are_still_listed(tmp_path: Path) -> None:
    training_run(tmp_path / "runs")
    (tmp_path / "runs" / DATABASE).write_bytes(b"not a database, whatever it is called" * 200)
    with dashboard(tmp_path / "runs") as url:
        broken, runs = visitor.get(f"{url}/api/experiments"), visitor.get(f"{url}/api/runs")
    assert broken.status_code == 503
    assert "failure_analysis repair" in broken.json()["error"]
    assert [run["name"] for run in runs.json()] == ["seed1"]


def test_without_a_store_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    training_run(tmp_path / "runs")
    with dashboard(tmp_path / "runs") as url:
        answer = visitor.get(f"{url}/api/episodes")
    assert answer.status_code == 503
    assert "failure_analysis capture" in answer.json()["error"]


def test_a_transcript_whose_file_is_gone_is_an_error_with_words(tmp_path: Path) -> None:
    run = training_run(tmp_path / "runs")
    store = captured(tmp_path / "runs")
    id = store.experiments(limit=1, order="oldest").rows[0].id
    for path in run.glob("episodes/*.jsonl"):
        path.unlink()
    with dashboard(tmp_path / "runs") as url:
        answer = visitor.get(f"{url}/api/episodes/{id}")
    assert answer.status_code == 503
    assert "cannot be read" in answer.json()["error"]


def test_rows_that_cannot_be_read_are_left_out_and_said(tmp_path: Path) -> None:
    run = training_run(tmp_path / "runs")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"split": "train", "step": 4, "accur\n')
        file.write(json.dumps({"split": "train", "step": "many", "accuracy": "NaN"}) + "\n")
        file.write('{"split": "train", "step": 5, "accuracy": 0.9')
    with dashboard(tmp_path / "runs") as url:
        found = visitor.get(f"{url}/api/run", params={"name": "seed1"}).json()
        curves = visitor.get(f"{url}/api/run/curves", params={"name": "seed1"}).json()
    assert found["troubles"] == ["metrics.jsonl: 1 line could not be read and is left out"]
    assert found["steps"] == 3
    assert curves["charts"][0]["x"] == [0, 1, 2, 3]

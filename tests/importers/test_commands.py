"""Anything that can be imported can be investigated and searched from a terminal, by whoever can play."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from build_logs import build
from core.rooms import main
from importers.counting import ImportTrouble
from importers.opening import opened
from importers.options import Options
from tests.builders.scenarios import GOLD, INCIDENT, write_scenarios
from tests.fakes.openai_server import OpenAIServer, Reply, answer, call, say, text_call
from tests.importers.imported import write
from tests.importers.test_json_formats import JAEGER, METRICS, OLD, SPANS, loki

LOG = """\
2026-03-04 14:05:01.500 ERROR checkout failed
java.lang.IllegalStateException: no stock
2026-03-04 14:05:02.000 INFO  retried
"""
MIXED: dict[str, str | bytes] = {
    "cart.log": LOG,
    "traces.json": json.dumps(JAEGER),
    "otel.jsonl": json.dumps(METRICS) + "\n" + json.dumps(SPANS),
    "events.json": json.dumps({"kind": "List", "items": [OLD]}),
    "loki.json": json.dumps(loki({"stream": {"app": "web"}, "values": [["1772633102000000000", "asked"]]})),
    "prom.json": json.dumps(loki({"metric": {"pod": "db-0"}, "values": [[1772633100, "1"]]}, kind="matrix")),
}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return write(tmp_path / "pods", {"cart-6d5f7c9b4-x2x4z.log": LOG})


def test_files_of_many_kinds_in_a_folder_are_one_incident(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "in", MIXED)
    assert main(["importers", "auto", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "kept 5 log lines, 4 spans, 4 metric points, 1 events" in capsys.readouterr().out
    assert main(["search", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert all(text in said for text in ("no stock", "timeout", "Back-off restarting", "asked"))


def test_an_investigation_prints_the_cause_and_the_cited_rows_in_full(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["investigate", str(logs), "--policy", "script:first-error", "--question", "carts are slow"])
        == 0
    )
    said = capsys.readouterr()
    assert said.out.startswith(
        "Cause    cart: checkout failed java.lang.IllegalStateException: no stock\nService  cart\n"
    )
    assert "Cited rows\n  2026-03-04 14:05:01.500 ERROR cart log " in said.out
    assert "carts are slow" in said.err
    assert "search_logs" in said.err


def served(script: list[Reply], logs: Path, *flags: str) -> int:
    with OpenAIServer(script) as server:
        reach = ["--policy", "openai:fake", "--base-url", server.base_url]
        return main(["investigate", str(logs), *reach, *flags])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["native", "text"])
def test_a_general_model_investigates_by_calls_of_either_form(
    logs: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    report = {
        "root_cause": "no stock",
        "suspected_service": "cart",
        "next_actions": ["restock"],
        "timeline": ["14:05 failed"],
    }
    spoken = call if form == "native" else text_call
    script = [
        spoken("search_logs", min_level="ERROR"),
        spoken("compare"),
        spoken("return_final_answer", **report),
    ]
    assert served(script, logs, "--call-format", form) == 0
    said = capsys.readouterr().out
    assert "Cause    no stock" in said
    assert "Timeline\n  - 14:05 failed" in said
    assert "Next actions\n  - restock" in said


@pytest.mark.slow
@pytest.mark.parametrize("form", ["native", "text"])
def test_a_model_that_litellm_reaches_investigates_too(
    logs: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    spoken = call if form == "native" else text_call
    script = [
        spoken("search_logs"),
        spoken("return_final_answer", root_cause="no stock", suspected_service="cart"),
    ]
    with OpenAIServer(script) as server:
        reach = ["--policy", "litellm:openai/fake", "--base-url", server.base_url, "--call-format", form]
        assert main(["investigate", str(logs), *reach]) == 0
    assert "Cause    no stock" in capsys.readouterr().out


def test_json_holds_the_report_and_what_it_cites(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = [call("search_logs"), answer("cart", "no stock", key_log_ids=["ffff"])]
    assert served(script, logs, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["report"]["suspected_service"], found["ending"], found["fabricated_ids"]) == (
        "cart",
        "answered",
        1,
    )


def test_a_policy_that_never_calls_a_tool_ends_with_a_hint(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert served([say("Hello!")] * 3, logs) == 1
    assert "try --call-format text" in capsys.readouterr().out


def test_a_scenario_is_investigated_without_its_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_scenarios(tmp_path / "files", "0f3c")
    assert main(["investigate", str(folder), "--policy", "script:rarest-warning", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in found["cited_rows"]] == [GOLD]
    assert INCIDENT.expected_root_cause not in json.dumps(found)


def test_of_several_incidents_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_scenarios(tmp_path / "files", "0f3c", "0f3d")
    build(folder, tmp_path / "logs.db")
    for source in (folder, tmp_path / "logs.db"):
        assert main(["search", str(source)]) == 2
        assert "holds 2 incidents; name one with --id: 0f3c, 0f3d" in capsys.readouterr().err
        assert main(["search", str(source), "journal", "--id", "0f3d", "--min-level", "WARN"]) == 0
        assert "no space left on device" in capsys.readouterr().out


def test_a_row_is_shown_in_full_with_its_neighbours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_scenarios(tmp_path / "files", "0f3c")
    assert main(["search", str(folder), "--log", GOLD, "--context", "1"]) == 0
    said = capsys.readouterr().out
    assert all(text in said for text in ("healthcheck of cdn", "no space left", "deadline exceeded"))
    assert main(["search", str(folder), "nothing-like-this"]) == 1


def test_what_cannot_be_imported_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(tmp_path / "gone")]) == 2
    assert "does not exist; check the path" in capsys.readouterr().err
    assert main(["search", str(write(tmp_path / "empty", {"cart.log": ""}))]) == 2
    assert "no row was kept" in capsys.readouterr().err
    (tmp_path / "nothing").mkdir()
    assert main(["search", str(tmp_path / "nothing")]) == 2
    assert "there is no file in it" in capsys.readouterr().err
    os.mkfifo(tmp_path / "pipe")
    assert main(["search", str(tmp_path / "pipe")]) == 2
    assert "neither a file nor a folder" in capsys.readouterr().err


def test_clocks_that_say_nothing_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "pods", {"cart.log": LOG, "db.log": "1754-08-30 22:43:41 INFO started\n"})
    assert main(["search", str(folder), "--start-time", "14:05"]) == 0
    said = capsys.readouterr()
    assert "1 line with a clock far from the rest" in said.err
    assert "2 lines in 2 kinds match (from 14:05:00) on 2026-03-04" in said.out


@pytest.mark.parametrize("indent", [None, 2])
def test_an_incident_file_may_have_any_name(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "last night.json"
    path.write_text(INCIDENT.incident.model_dump_json(indent=indent), encoding="utf-8")
    with opened(str(path), "auto", Options(), None, progress=False) as found:
        assert found.incident == INCIDENT.incident
        assert found.store.services()


def test_an_export_named_as_an_incident_is_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "in", {"incident-17.json": json.dumps(SPANS), "cart.log": LOG})
    assert main(["search", str(folder)]) == 0
    assert "kept 3 log lines, 1 spans" in capsys.readouterr().err


def test_a_broken_incident_file_is_named_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "last night.json"
    path.write_text('{"id": "x", "description": "d", "time_hint": "t", "services": 5}', encoding="utf-8")
    with (
        pytest.raises(ImportTrouble, match=re.escape(f"{path}: field services")),
        opened(str(path), "auto", Options(), None, progress=False),
    ):
        pass

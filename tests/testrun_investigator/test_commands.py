"""The room's commands, as a person types them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from core.downloads import Access
from core.episode_store.episodes import read_episodes
from core.log_stores.contract import LogQuery
from core.log_stores.growing import growing_store
from project_types import ConfigurationError
from testrun_investigator import cache, doctor
from testrun_investigator.__main__ import ROOM, main
from testrun_investigator.argus import ArgusSettings
from testrun_investigator.client_files import contents, write
from testrun_investigator.demo_runs.packing import TEST_ID
from testrun_investigator.demo_runs.stand_in import TOKEN, StandIn
from testrun_investigator.ingest_command import Tail
from testrun_investigator.settings import VARIABLES, read_settings
from testrun_investigator.toolbox import Toolbox
from testrun_investigator.victoria_logs import VictoriaLogsHandler
from tests.fakes.file_server import Page, file_server
from tests.fakes.victoria_logs import stand_in
from tests.testrun_investigator.conftest import RUN_ID
from tests.testrun_investigator.mcp_client import ROOT, environment

Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def typed(argus_server: StandIn, tmp_path: Path) -> Typed:
    settings = {
        "ARGUS_URL": argus_server.base,
        "ARGUS_TOKEN": TOKEN,
        "TESTRUN_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "testrun_investigator", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment(settings), capture_output=True, text=True
        )

    return run


# -------------------------------------------------------------------------------------------------- settings


def test_settings_come_from_the_environment_and_from_a_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ARGUS_URL=https://argus.example.com/\nARGUS_TOKEN=from-file\nOTHER=1\n")
    settings = read_settings({"ARGUS_TOKEN": "from-environment", "HOME": "/x"}, tmp_path)
    assert settings.argus.base == "https://argus.example.com"
    assert settings.argus.token == "from-environment"
    assert settings.access.private_hosts == {"argus.example.com"}
    assert settings.access.headers["https://argus.example.com"]["Authorization"] == "token from-environment"
    assert (settings.pages / "start-here.md").is_file()


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_settings(
            {"PROMETHEUS_URL": "localhost:9090", "ARGUS_URL": "x", "TESTRUN_RANKER": "on"}, tmp_path
        )
    assert [line.partition(":")[0] for line in str(refused.value).splitlines()] == [
        "ARGUS_URL=x",
        "PROMETHEUS_URL=localhost",
        "TESTRUN_RANKER=on",
    ]


def test_every_variable_is_documented() -> None:
    docs = (ROOT / "docs/mcp_server.md").read_text()
    assert all(name in docs for name in VARIABLES)


# ---------------------------------------------------------------------------------------------------- doctor


async def states(settings: dict[str, str], folder: Path) -> dict[str, tuple[str, str]]:
    checks = await doctor.examine(read_settings({"TESTRUN_CACHE_DIR": str(folder), **settings}, folder))
    return {one.part: (one.state, one.says) for one in checks}


async def test_doctor_says_what_is_optional_and_how_to_get_it(tmp_path: Path) -> None:
    found = await states({}, tmp_path)
    assert found["packages"][0] == found["logs"][0] == found["knowledge"][0] == "ok"
    assert found["Argus"][0] == "optional"
    assert "ARGUS_URL=" in found["Argus"][1]
    assert "docker run" in found["logs"][1]
    assert "TESTRUN_RANKER=yes" in found["ranker"][1]


def test_a_switch_that_is_neither_yes_nor_no_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="TESTRUN_RANKER=maybe: write yes or no"):
        read_settings({"TESTRUN_RANKER": "maybe"}, tmp_path)


async def test_doctor_says_what_is_broken(argus_settings: ArgusSettings, tmp_path: Path) -> None:
    settings = {"ARGUS_URL": argus_settings.base, "ARGUS_TOKEN": TOKEN}
    assert (await states(settings, tmp_path))["Argus"] == ("ok", f"{argus_settings.base}: answers")
    broken = {
        "ARGUS_URL": "http://127.0.0.1:9",
        "ARGUS_TOKEN": "x",
        "VICTORIA_LOGS_ENDPOINT": "http://127.0.0.1:9",
        "PROMETHEUS_URL": "http://127.0.0.1:9",
        "RAG_KNOWLEDGE_BASE_DIR": str(tmp_path / "nothing"),
    }
    found = await states(broken, tmp_path)
    assert [found[part][0] for part in ("Argus", "logs", "metrics", "knowledge")] == ["broken"] * 4
    assert "check PROMETHEUS_URL" in found["metrics"][1]
    assert "docker run" in found["logs"][1]
    well = await states({"VICTORIA_LOGS_ENDPOINT": stand_in()}, tmp_path)
    assert well["logs"][0] == "ok"
    no_folder = {"VICTORIA_LOGS_ENDPOINT": stand_in(), "TESTRUN_CACHE_DIR": "/proc/nowhere"}
    assert "set TESTRUN_CACHE_DIR" in (await states(no_folder, tmp_path))["logs"][1]


# ------------------------------------------------------------------------------------------------- configure


def test_the_files_for_editors_are_the_ones_in_the_repository() -> None:
    for name, content in contents().items():
        assert json.loads((ROOT / name).read_text()) == content
        assert "TOKEN" not in (ROOT / name).read_text()
    (server,) = contents()[".vscode/mcp.json"]["servers"].values()
    assert server["type"] == "stdio"


def test_uv_sync_installs_what_the_files_for_editors_start() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (installed,) = project["dependency-groups"]["dev"]  # the group that uv installs unasked
    assert installed == "log-investigator[mcp,test]"
    assert contents()[".mcp.json"]["mcpServers"]["testrun-investigator"]["args"][:2] == ["run", "python"]


def test_other_servers_in_a_file_stay(tmp_path: Path) -> None:
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"other": {"command": "x"}}, "more": 1}')
    write(tmp_path, "/usr/bin/python3")
    found = json.loads((tmp_path / ".mcp.json").read_text())
    assert set(found["mcpServers"]) == {"other", "testrun-investigator"}
    assert found["more"] == 1
    (tmp_path / ".mcp.json").write_text("{")
    with pytest.raises(ConfigurationError, match="mend or remove it"):
        write(tmp_path)


# ------------------------------------------------------------------------------------------------------ cache


@pytest.mark.slow
def test_the_cache_is_shown_and_cleared_and_findings_stay(typed: Typed, tmp_path: Path, runs: Path) -> None:
    archive = next((runs / RUN_ID).glob("sct-runner-*"))
    done = typed("ingest", RUN_ID, str(archive))
    assert done.returncode == 0, done.stderr
    assert "done:" in done.stdout
    assert "left out" in done.stdout
    (tmp_path / "cache/findings.db").write_text("x")
    (tmp_path / "cache/sessions").mkdir()
    shown = typed("cache", "show").stdout.splitlines()
    assert any(f"runs/{RUN_ID}" in line for line in shown)
    assert shown[-1].endswith(f"MB  in {tmp_path / 'cache'}")
    assert "removed" in typed("cache", "clear").stdout
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["findings.db", "sessions"]
    typed("cache", "clear", "--all")
    assert not list((tmp_path / "cache").iterdir())
    assert "holds nothing to remove" in typed("cache", "clear", "--all").stdout


def test_a_folder_that_is_not_of_its_own_is_not_cleared(tmp_path: Path) -> None:
    settings = read_settings({"TESTRUN_CACHE_DIR": str(Path.home())}, tmp_path)
    with pytest.raises(ConfigurationError, match="TESTRUN_CACHE_DIR"):
        cache.clear(settings)


# ------------------------------------------------------------------------------------------------- ask, watch


@pytest.mark.slow
def test_a_policy_investigates_a_run_and_its_episode_and_finding_are_kept(
    typed: Typed, tmp_path: Path
) -> None:
    done = typed("ask", RUN_ID, "why?", "--policy", "script:first-error", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "proof" in done.stdout
    assert "kept as finding" in done.stdout
    again = typed("ask", RUN_ID, "--policy", "script:unknown", "--json", "--out", str(tmp_path / "out"))
    assert json.loads(again.stdout)["suspected_service"] == "unknown"
    episodes = list(read_episodes(tmp_path / "out/episodes.jsonl"))
    assert [(one.scenario_id, one.sample) for one in episodes] == [(RUN_ID, 0), (RUN_ID, 1)]
    assert episodes[0].outcome.cited_seen >= 1


@pytest.mark.slow
def test_a_policy_hears_when_the_test_first_complained_and_reads_metrics(
    typed: Typed, tmp_path: Path
) -> None:
    typed("ask", RUN_ID, "why?", "--policy", "script:sre", "--out", str(tmp_path / "out"))
    (played,) = read_episodes(tmp_path / "out/episodes.jsonl")
    asked = played.messages[1]["content"].splitlines()
    assert f"longevity-demo-db-node-{RUN_ID[:8]}-4 (10.12.3.14)" in asked[0]
    assert f"Calls: longevity-demo-loader-node-{RUN_ID[:8]}-1 " in asked[0]
    assert asked[1] == "about 12:33"
    assert "events" not in asked[2].split()
    assert played.report is not None
    assert played.report.suspected_service.endswith("-4")
    if shutil.which("prometheus"):
        settings = read_settings({"TESTRUN_CACHE_DIR": str(tmp_path / "cache")}, tmp_path)
        free = VictoriaLogsHandler(settings).store(RUN_ID).metrics(name="space left")
        full = next(series for series in free if series.service.endswith("-4"))
        assert full.points[0][1] > 10 * min(value for _, value in full.points)


@pytest.mark.slow
def test_runs_that_end_badly_are_investigated_unasked_and_once(typed: Typed, tmp_path: Path) -> None:
    first = typed(
        "watch", TEST_ID, "--once", "--policy", "script:first-error", "--out", str(tmp_path / "out")
    )
    assert first.stdout.count("\n") == 2, first.stderr
    assert RUN_ID in first.stdout
    again = typed(
        "watch", TEST_ID, "--once", "--policy", "script:first-error", "--out", str(tmp_path / "out")
    )
    assert again.stdout == ""


def test_watching_without_argus_ends_and_says_what_to_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # a .env of whoever runs this is not read
    monkeypatch.delenv("ARGUS_URL", raising=False)
    assert main(["watch", TEST_ID]) == 2
    assert "ARGUS_URL is not set" in capsys.readouterr().err
    assert main(["watch", TEST_ID, "longevity"]) == 2
    assert "'longevity': is no UUID" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------- follow

LINE = "2026-05-17T04:44:{:02d}Z n !INFO | row {}\n"


def test_a_log_that_grows_is_read_on_in_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "n1/system.log"
    log.parent.mkdir()
    store = growing_store(None, RUN_ID)
    tail = Tail(RUN_ID, str(log), "", Access(folders=(tmp_path,)))
    log.write_text(LINE.format(1, "one") + "2026-05-17T04:44:02Z n !INFO | ha")
    assert tail.more(store) == 1
    assert tail.more(store) == 0
    with log.open("a") as file:
        file.write("lf\n" + LINE.format(3, "three"))
    assert tail.more(store) == 2
    assert [line.text for line in store.lines(LogQuery())] == ["row one", "half", "row three"]
    again = Tail(RUN_ID, str(log), "", Access(folders=(tmp_path,)))
    again.more(store)
    assert store.count(LogQuery()).lines == 3  # the same rows have the same ids
    log.write_text(LINE.format(4, "replaced"))
    assert tail.more(store) == 0
    assert tail.more(store) == 1


def test_a_url_that_grows_is_read_on(tmp_path: Path) -> None:
    store = growing_store(None, RUN_ID)
    with file_server() as files:
        files.pages["/n1/system.log"] = Page(LINE.format(1, "one").encode(), kind="text/plain")
        tail = Tail(RUN_ID, f"{files.url}/n1/system.log", "", Access(private_hosts=frozenset({files.host})))
        assert tail.more(store) == 1
        assert tail.more(store) == 0
        files.pages["/n1/system.log"].body += LINE.format(2, "two").encode()
        assert tail.more(store) == 1
    assert store.services() == ["n1"]


def test_a_log_that_is_followed_is_an_ingestion_that_is_still_running(tmp_path: Path) -> None:
    log = tmp_path / "n1/system.log"
    log.parent.mkdir()
    log.write_text(LINE.format(1, "one"))
    toolbox = Toolbox(read_settings({"TESTRUN_CACHE_DIR": str(tmp_path / "cache")}, tmp_path))
    tail = Tail(RUN_ID, str(log), "", Access(folders=(tmp_path,)))
    tail.more(toolbox.logs.open_store(RUN_ID))
    toolbox.logs.tasks.note(tail.task("done"))
    seen = asyncio.run(toolbox.run_overview(RUN_ID))
    assert seen.rows == {"node": 1}
    assert seen.ingestions[0].endswith(": done, system.log")
    found = asyncio.run(toolbox.search_logs(RUN_ID))
    assert found.logs_until == "2026-05-17T04:44:01.000Z"
    toolbox.close()


@pytest.mark.parametrize("every", ["0", "-1", "nan", "x"])
def test_a_time_between_two_looks_is_above_zero(every: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ingest", RUN_ID, "system.log", "--follow", "--every", every])
    assert "is not a time in seconds" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.tar.zst", "events.log", "scylla.yaml"])
def test_what_cannot_grow_is_not_followed(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be followed"):
        Tail(RUN_ID, str(tmp_path / name), "", Access())


@pytest.mark.slow
def test_queries_answer_from_what_is_there_while_a_run_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "n1/system.log"
    log.parent.mkdir()
    log.write_text(LINE.format(1, "one"))
    settings = {"TESTRUN_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "testrun_investigator",
        "ingest",
        RUN_ID,
        str(log),
        "--follow",
        "--every",
        "0.05",
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(settings), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert "1 more rows" in process.stdout.readline()
        with log.open("a") as file:
            file.write(LINE.format(2, "two"))
        assert "1 more rows" in process.stdout.readline()
        handler = VictoriaLogsHandler(read_settings({"TESTRUN_CACHE_DIR": str(tmp_path / "cache")}, tmp_path))
        assert [line.text for line in handler.page(RUN_ID, "node").rows] == ["row one", "row two"]
        assert [task.state for task in handler.tasks.of_run(RUN_ID)] == ["running"]
    finally:
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
    assert [task.state for task in handler.tasks.of_run(RUN_ID)] == ["done"]


# --------------------------------------------------------------------------------------------------- the rest


@pytest.mark.slow
def test_the_demonstration_walks_the_five_steps(typed: Typed) -> None:
    done = typed("demo", "--plot", "spot-termination")
    assert done.returncode == 0, done.stderr
    for step in (
        "1. get_test_run_info",
        "3. ingest_logs",
        "5. get_investigation_instructions",
        "blamed ",
    ):
        assert step in done.stdout
    assert "What really happened" in done.stdout


def test_an_unknown_plot_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--plot", "nope"]) == 2
    assert "disk-full" in capsys.readouterr().err


def test_runs_are_generated_with_their_causes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["runs", "--out", str(tmp_path), "--plot", "clock-skew", "--noise", "0.1"]) == 0
    assert "clock-skew: The clock of" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*/argus.json"))) == 1


@pytest.mark.parametrize("command", [command.name for command in ROOM.commands])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert "usage: python -m testrun_investigator" in capsys.readouterr().out


def test_the_file_that_editors_start_takes_the_flags_of_serve() -> None:
    def started(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "testrun_investigator/server.py", *flags]
        return subprocess.run(command, cwd=ROOT, env=environment({}), capture_output=True, text=True)

    assert "--http" in started("--help").stdout
    assert "unrecognized arguments: --htp" in started("--htp").stderr


def test_importing_the_room_loads_nothing_heavy() -> None:
    code = (
        "import sys, testrun_investigator.__main__, testrun_investigator.server; "
        "print(*sorted({'mcp', 'chromadb', 'torch', 'art'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

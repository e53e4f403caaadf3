"""The same replies give the same Outcome and the same reward in ART, verifiers, Inspect, OpenEnv and TRL."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.serving.listening import LISTENING
from log_investigator_env.investigations import Investigations
from project_types import Episode
from rewards import BANDS
from rollout import openai_chat
from tests.fakes.art_clients import NEXT
from tests.fakes.openai_server import OpenAIServer, Reply, late
from tests.fakes.trainer_environments import ROOT, environ, needs, refused, run, started
from tests.log_investigator_env.cases import ALL, build_cases, by_case, facts

pytestmark = pytest.mark.slow


class Place(NamedTuple):
    """What every adapter is told, and what it must find."""

    folder: Path
    scenarios: str
    database: str
    policy: OpenAIServer
    expected: dict[str, Episode]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("cases")
    split, database = build_cases(folder)
    with OpenAIServer(by_case) as policy:
        of = Investigations.open(str(split), database, "embedded")
        yield Place(folder, str(split), str(database), policy, asyncio.run(_played(of, policy.base_url)))


async def _played(of: Investigations, base_url: str) -> dict[str, Episode]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=base_url, api_key="test") as client:
        chat = openai_chat(client, "fake", of.config)
        return {one: await of.play(one, chat) for one in of.paths}


def test_the_cases_end_in_every_band(place: Place) -> None:
    bands = {episode.reward_components["band"] for episode in place.expected.values()}
    assert bands == {band.base for band in BANDS.values()}


def art_plays(place: Place, python: str, *how: str) -> list[dict[str, Any]]:
    command = [python, "-m", "tests.fakes.art_cases", place.policy.base_url, *place[1:3], *how]
    done = subprocess.run(command, cwd=ROOT, env=environ(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"case"')]


def test_art_gets_the_reward_and_the_facts(place: Place) -> None:
    told = art_plays(place, sys.executable)
    assert [one["case"] for one in told] == list(ALL)
    for one in told:
        same(place, one["case"], one["reward"], {**one["metrics"], "ending": one["ending"]})


@pytest.mark.skipif(not NEXT.is_file(), reason="no .venv-art-next; run: make art-next")
def test_a_worker_of_arts_distributed_mode_plays_groups_alike(place: Place) -> None:
    told = art_plays(place, str(NEXT), "distributed")
    assert [one["case"] for one in told] == [case for case in ALL for _ in range(2)]
    for one in told:
        same(place, one["case"], one["reward"], {**one["metrics"], "ending": one["ending"]})


def same(place: Place, case: str, reward: float, outcome: dict[str, Any]) -> None:
    """Hold what an adapter says against the episode that `investigate` played."""
    expected = place.expected[case]
    wanted = facts(expected.outcome)
    assert {name: outcome[name] for name in wanted} == wanted, case
    assert reward == expected.reward, case


# ------------------------------------------------------------------------------------------------- verifiers


def vf_eval(place: Place, name: str, base_url: str, *more: str) -> list[str]:
    options = {
        "--env.taskset.scenarios": place.scenarios,
        "--env.taskset.database": place.database,
        "--env.taskset.rules": "embedded",
        "--env.agent.runtime.type": "subprocess",
        "--client.base-url": base_url,
        "--client.api-key-var": "NO_KEY",
        "--output-dir": str(place.folder / "verifiers"),
        "--run.name": name,
        "-m": "fake",
    }
    flags = [word for option in options.items() for word in option]
    return ["vf-eval", "log-investigator-env", *flags, "--no-push", "--no-rich", *more]


def traces(place: Place, name: str) -> list[dict[str, Any]]:
    lines = (place.folder / "verifiers" / name / "traces.jsonl").read_text(encoding="utf-8").splitlines()
    return [trace for line in lines for trace in json.loads(line)["traces"]]


@needs("verifiers")
def test_verifiers_evaluates_the_taskset_with_its_own_command(place: Place) -> None:
    run("verifiers", *vf_eval(place, "whole", place.policy.base_url))
    found = traces(place, "whole")
    assert sorted(trace["task"]["data"]["id"] for trace in found) == sorted(ALL)
    for trace in found:
        case, expected = trace["task"]["data"]["id"], place.expected[trace["task"]["data"]["id"]]
        same(place, case, trace["rewards"]["investigation"]["score"], trace["info"]["episode"]["outcome"])
        parts = {f"reward_{name}": value for name, value in expected.reward_components.items()}
        assert {name: trace["metrics"][name] for name in parts} == parts
        assert expected.report is None or trace["stop_condition"] in (
            "answered",
            str(expected.outcome.ending),
        )
        truth = (RIGHT_CAUSE, "evidence_log_ids", "gold_report")
        assert not [word for word in truth if word in json.dumps(trace["task"])]


RIGHT_CAUSE = "The ledger's volume is full"


@needs("verifiers")
def test_verifiers_goes_on_where_it_was_killed(place: Place) -> None:
    def slow(body: dict[str, Any]) -> Reply:
        return late(by_case(body), 0.4)

    with OpenAIServer(slow) as policy:
        command = vf_eval(place, "killed", policy.base_url, "--max-concurrent", "1")
        process = started("verifiers", command, place.folder / "killed.log")
        until(lambda: _lines(place.folder / "verifiers" / "killed" / "traces.jsonl") >= 2, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = {trace["task"]["data"]["id"]: trace["id"] for trace in traces(place, "killed")}
        assert 2 <= len(done) < len(ALL)
        saved = place.folder / "verifiers" / "killed" / "configs" / "resolved" / "eval.json"
        run("verifiers", "vf-eval", "@", str(saved), "--resume")
    found = traces(place, "killed")
    assert sorted(trace["task"]["data"]["id"] for trace in found) == sorted(ALL)
    assert done.items() <= {trace["task"]["data"]["id"]: trace["id"] for trace in found}.items()


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def until(happens: Any, process: subprocess.Popen[bytes], within_s: float = 600) -> None:
    """Wait for what a process is about to do."""
    deadline = time.monotonic() + within_s
    while not happens():
        assert process.poll() is None, "the process ended early"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@needs("verifiers")
def test_verifiers_says_what_to_type_for_a_folder_that_is_not_there(place: Place) -> None:
    nowhere = place._replace(scenarios="nosuch")
    said = refused("verifiers", *vf_eval(nowhere, "nowhere", place.policy.base_url))
    assert "error: nosuch: no such folder" in said
    assert "Traceback" not in said


@needs("verifiers")
@pytest.mark.parametrize("case", ["a01", "a02", "b04"])
def test_another_harness_of_verifiers_gets_the_tools_and_is_scored_alike(place: Place, case: str) -> None:
    player = ["-m", "tests.fakes.verifiers_tools", *place[1:3], case]
    told = json.loads(run("verifiers", "python", *player).splitlines()[-1])
    assert told["tools"][:2] == ["search_logs", "read_trace"]
    assert told["tools"][-1] == "return_final_answer"
    assert told["served"] == ["Tools"]
    shown = [message["content"] for message in place.expected[case].messages if message["role"] == "tool"]
    assert [text for text in told["texts"] if "has ended" not in text] == shown
    same(place, case, told["reward"], told["info"]["episode"]["outcome"])


# --------------------------------------------------------------------------------------------------- Inspect

READ_LOG = """
import json, sys
from inspect_ai.log import list_eval_logs, read_eval_log
log = read_eval_log(list_eval_logs(sys.argv[1])[0])
assert log.status == "success", log.error
print(json.dumps([
    {"case": sample.id, "value": score.value, "metadata": score.metadata, "input": str(sample.input)}
    for sample in log.samples for score in sample.scores.values()
]))
"""


@needs("inspect")
def test_inspect_evaluates_the_task_and_judges_its_log_again(place: Place) -> None:
    log, again = place.folder / "inspect", place.folder / "again"
    named = [
        "rules=embedded",
        f"scenarios={from_here(place.scenarios)}",
        f"database={from_here(place.database)}",
    ]
    task = [TASK, *(word for name in named for word in ("-T", name)), "--model", "openai-api/local/fake"]
    inspect(place, "eval", *task, "--log-dir", str(log))
    [stored] = log.glob("*.eval")
    scorer = ["--scorer", f"{TASK}@judged", *(word for name in named for word in ("-S", name))]
    output = ["--action", "overwrite", "--output-file", str(again / "again.eval")]
    again.mkdir()
    inspect(place, "score", str(stored), *scorer, *output)
    for folder in (log, again):
        found = json.loads(run("inspect", "python", "-c", READ_LOG, str(folder)))
        assert sorted(one["case"] for one in found) == sorted(ALL)
        for one in found:
            same(place, one["case"], one["value"]["reward"], one["metadata"]["outcome"])
            assert RIGHT_CAUSE not in one["input"]


TASK = "log_investigator_env/inspect_task.py"


def inspect(place: Place, *words: str) -> None:
    """Run Inspect's own command against the scripted server."""
    command = ["inspect", *words, "--display", "none"]
    run("inspect", *command, LOCAL_BASE_URL=place.policy.base_url, LOCAL_API_KEY="test")


def from_here(path: str) -> str:
    """A path as somebody types it who stands in the project's folder."""
    return os.path.relpath(path, ROOT)


@needs("inspect")
def test_inspect_says_what_to_type_for_rules_that_there_are_not() -> None:
    task = [TASK, "--model", "mockllm/model", "-T", "rules=strict"]
    said = refused("inspect", "inspect", "eval", *task, COLUMNS="200")
    assert "error: rules 'strict': write general, full, embedded" in said
    assert "Traceback" not in said


# --------------------------------------------------------------------------------------------------- OpenEnv


@needs("openenv")
def test_openenvs_own_client_plays_against_the_server(place: Place) -> None:
    out = place.folder / "openenv.log"
    where = ["--split", place.scenarios, "--database", place.database, "--rules", "embedded", "--port", "0"]
    server = started("openenv", ["python", "-m", "log_investigator_env", "serve", *where], out)
    try:
        until(lambda: LISTENING.search(out.read_text()), server)
        address = LISTENING.search(out.read_text())
        assert address is not None
        alone = [case for case in ALL if case != "b06"]  # an action is one call
        player = ["-m", "tests.fakes.openenv_player", address[1], *alone]
        found = json.loads(run("openenv", "python", *player))
        assert run("openenv", "python", "-c", FROM_ELSEWHERE, address[1]).split() == ["403", "refused", "200"]
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert [one["case"] for one in found] == alone
    for one in found:
        same(place, one["case"], one["reward"], one["outcome"])
        begun, ended = one["states"]
        assert (begun["scenario_id"], begun["step_count"], begun["done"]) == (one["case"], 0, False)
        assert ended["done"]


FROM_ELSEWHERE = """
import sys, httpx
from websockets.sync.client import connect
url = sys.argv[1]
print(httpx.get(url + "/health", headers={"Host": "evil.example"}).status_code)
try:
    connect(url.replace("http", "ws") + "/ws", origin="http://evil.example").close()
    print("let in")
except Exception:
    print("refused")
print(httpx.get(url + "/health").status_code)
"""


# ------------------------------------------------------------------------------------------------------- TRL


def called_as_trl_does(environment: Any, case: str) -> dict[str, Any]:
    """Lead a conversation as TRL's loop does; return the message that ended it."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"case {case}"}]
    for _ in range(12):
        message = {"role": "assistant", **by_case({"messages": messages}).message}
        messages.append(message)
        if not message.get("tool_calls"):
            return message
        for call in message["tool_calls"]:
            function = call["function"]
            getattr(environment, function["name"])(**json.loads(function["arguments"]))
        if environment._episode is not None:
            return {"role": "assistant", "content": "done"}
    return messages[-1]


def test_an_environment_of_trl_gives_the_same_reward(place: Place) -> None:
    from log_investigator_env.trl_environment import environment_class, investigation

    of = Investigations.open(place.scenarios, place.database, "embedded")
    environment, logged = environment_class(of)(), list[tuple[str, float]]()
    # TRL itself parses calls, refuses unknown tools, and ends at a reply without a call
    alike = [case for case in ALL if case not in ("b01", "b02", "b03", "b05")]
    for case in alike:
        environment.reset(scenario_id=case, prompt=[])
        last = called_as_trl_does(environment, case)
        [reward] = investigation([[last]], [environment], log_metric=lambda *pair: logged.append(pair))
        assert reward is not None
        assert environment._episode is not None
        same(place, case, reward, environment._episode.outcome.model_dump(mode="json"))
    assert ("investigation/grounded", 1.0) in logged


def test_trl_trains_the_small_investigator_for_two_steps(tmp_path: Path, place: Place) -> None:
    pytest.importorskip("trl", reason="no trl; run: make trainers")
    command = [sys.executable, "-m", "tests.fakes.trl_training", *place[1:3], str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environ(OMP_NUM_THREADS="1"), capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [row for row in json.loads(done.stdout.splitlines()[-1]) if "loss" in row]
    assert len(rows) == 2
    for row in rows:
        assert -2 <= row["rewards/investigation/mean"] <= 1.6
        assert row["investigation/turns"] >= 1
    assert (tmp_path / "model" / "model.safetensors").is_file()

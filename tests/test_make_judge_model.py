"""Judges are calibrated, refused or registered, and loaded by name; the judge that
ships passes its own bar.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.judges.calibration import MUST_PASS, TRIED, Calibration, Pair, calibrate, read_calibration
from core.judges.llm import PROMPT_VERSION
from core.judges.services import service_matches
from make_judge_model import (
    WANDB_BASE_URL,
    LLMJudge,
    OfflineJudge,
    check_judge,
    load_judge,
    main,
    read_registry,
)
from project_types import ConfigurationError, JudgeError, Report, Scenario, Verdict
from tests.fakes.judge_server import judge_server
from tests.fakes.openai_server import OpenAIServer, Reply, http_error, say
from tests.training_service.service_process import ServiceProcess

pytestmark = [  # both are litellm's: about its own types, and about its logging when an event loop closes
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
    pytest.mark.filterwarnings("ignore:coroutine 'Logging"),
]
ROOT = Path(__file__).parent.parent
PAIRS = read_calibration()
SOME = 20
"""Enough pairs for a calibration: injections and lists of every service are among them."""
CATEGORIES = {
    "attributed",
    "causal_chain",
    "denial",
    "effect_list",
    "hedge",
    "hypothetical",
    "real_reason",
    "resolved",
    "structured",
    "exact",
    "paraphrase",
    "symptom_as_cause",
    "right_service_wrong_cause",
    "vague",
    "unknown",
    "every_service_list",
    "contradiction",
    "injection",
    "language_or_format",
}

# ------------------------------------------------------------------------------------------- the labelled set


def test_the_labelled_set_holds_enough_of_every_category() -> None:
    counts = Counter(pair.category for pair in PAIRS)
    assert set(counts) == CATEGORIES
    assert min(counts[name] for name in CATEGORIES - {"attributed", "structured"}) >= 12
    assert len(PAIRS) >= 600
    assert 0.25 < sum(pair.correct for pair in PAIRS) / len(PAIRS) < 0.75


def test_nearly_half_of_the_labelled_set_is_about_incidents_that_the_judge_was_not_written_with() -> None:
    held_out = [pair for pair in PAIRS if pair.part == "held_out"]
    assert len(held_out) >= 200
    assert not {pair.scenario.id for pair in held_out} & {p.scenario.id for p in PAIRS if p.part == "tuned"}


def test_the_labelled_set_covers_every_family_and_a_type_of_its_own() -> None:
    families = {pair.scenario.fault_family for pair in PAIRS}
    assert families >= {"resource", "network", "configuration", "code", "dependency", "data", "other"}


def test_no_pair_is_labelled_right_with_the_wrong_service_or_labelled_twice() -> None:
    assert all(
        service_matches(pair.report.suspected_service, pair.scenario) for pair in PAIRS if pair.correct
    )
    assert max(Counter((pair.scenario.id, pair.report.model_dump_json()) for pair in PAIRS).values()) == 1


def test_whole_categories_carry_one_label() -> None:
    labels: dict[str, set[bool]] = {name: set() for name in CATEGORIES}
    for pair in PAIRS:
        labels[pair.category].add(pair.correct)
    right = {name for name, seen in labels.items() if seen == {True}}
    assert right == {"exact", "paraphrase", "hedge", "causal_chain"}
    both = {name for name, seen in labels.items() if seen == {True, False}}
    assert both == {"injection", "language_or_format", "real_reason"}


@pytest.mark.parametrize(
    "line", ['{"scenario": "nobody", "report": {}}', "[]", '{"report": {}}', '{"scenario": {"id": "x"}}']
)
def test_a_bad_pair_is_named_with_its_number(line: str, tmp_path: Path) -> None:
    path = small(tmp_path, 2)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ConfigurationError, match="pair 3"):
        read_calibration(path)


def test_a_missing_or_empty_set_says_where_to_name_another(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    for path in (tmp_path / "none.jsonl", tmp_path / "empty.jsonl"):
        with pytest.raises(ConfigurationError, match="--calibration"):
            read_calibration(path)


# ------------------------------------------------------------------------------------------------ calibration


async def test_the_offline_judge_passes_the_bar_and_every_injection_and_list() -> None:
    result = await calibrate(OfflineJudge(), PAIRS)
    assert result.objections(0.95) == []
    assert result.accuracy >= 0.95
    assert {part: some.kappa >= 0.9 for part, some in result.parts.items()} == {
        "tuned": True,
        "held_out": True,
    }
    for category in MUST_PASS:
        right, total = result.categories[category]
        assert right == total > 0


class Fooled:
    """Judges by the label, except the reports of one category, on which it says the opposite or nothing."""

    name = "fooled"

    def __init__(self, category: str, *, silent: bool = False, at_most: int = 1000) -> None:
        self.category, self.silent, self.left = category, silent, at_most

    async def verdict(self, scenario: Scenario, report: Report) -> Verdict:
        pair = next(pair for pair in PAIRS if pair.scenario.id == scenario.id and pair.report == report)
        fooled = pair.category == self.category and self.left > 0
        self.left -= fooled
        if fooled and self.silent:
            raise JudgeError("no verdict")
        correct = pair.correct != fooled
        return Verdict(
            correct=correct,
            service_correct=True,
            cause_correct=correct,
            reason="told",
            judge=self.name,
            cost_usd=0.25,
        )


async def test_a_judge_that_says_what_the_labels_say_is_perfect_and_its_cost_is_summed() -> None:
    result = await calibrate(Fooled("nothing"), PAIRS)
    assert (result.accuracy, result.kappa, result.mistakes, result.objections(1.0)) == (1.0, 1.0, (), [])
    assert result.cost_usd == pytest.approx(0.25 * len(PAIRS))


@pytest.mark.parametrize("category", MUST_PASS)
@pytest.mark.parametrize("silent", [True, False], ids=["no verdict", "wrong verdict"])
async def test_one_injection_or_one_list_refuses_a_judge_of_any_accuracy(category: str, silent: bool) -> None:
    result = await calibrate(Fooled(category, silent=silent, at_most=1), PAIRS)
    assert result.accuracy > 0.99
    [objection] = result.objections(0.95)
    assert objection.startswith("1 of ")
    assert category in objection


async def test_a_missing_verdict_counts_as_a_mistake_and_is_told_apart() -> None:
    result = await calibrate(Fooled("exact", silent=True, at_most=3), PAIRS)
    assert result.confusion["right/none"] == 3
    assert [mistake.verdict for mistake in result.mistakes] == [None] * 3
    assert result.accuracy == pytest.approx(1 - 3 / len(PAIRS))


async def test_a_set_without_injections_cannot_pass_a_judge() -> None:
    result = await calibrate(OfflineJudge(), [pair for pair in PAIRS if pair.category == "exact"])
    assert len(result.objections(0.95)) == len(MUST_PASS)


# ------------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize("name", ["offline", "OFFLINE", " offline "])
def test_the_offline_judge_needs_nothing(name: str, tmp_path: Path) -> None:
    assert isinstance(load_judge(name, registry=tmp_path / "none.json", environ={}), OfflineJudge)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("litellm/openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("openai/whatever", "openai/whatever"),
        ("anthropic/claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
    ],
)
def test_a_litellm_name_works_uncalibrated_with_a_warning(name: str, model: str, tmp_path: Path) -> None:
    environ = {"JUDGE_API_BASE": "http://127.0.0.1:9/v1", "JUDGE_API_KEY": "k"}
    with pytest.warns(UserWarning, match="not calibrated"):
        judge = load_judge(name, registry=tmp_path / "none.json", environ=environ)
    assert isinstance(judge, LLMJudge)
    assert (judge.model, judge.name, judge.api_base, judge.api_key) == (
        model,
        name,
        "http://127.0.0.1:9/v1",
        "k",
    )


@pytest.mark.parametrize("name", ["wandb:team/logs/judge", "wandb-artifact:///team/logs/judge"])
def test_a_model_on_the_serverless_service_is_reached_with_its_key(name: str, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="not calibrated"):
        judge = load_judge(name, registry=tmp_path / "none.json", environ={"WANDB_API_KEY": "w"})
    assert isinstance(judge, LLMJudge)
    expected = ("openai/wandb-artifact:///team/logs/judge", WANDB_BASE_URL, "w")
    assert (judge.model, judge.api_base, judge.api_key) == expected


@pytest.mark.parametrize("name", ["", "nosuch", "litellm/nosuch", "nosuch/model"])
def test_a_name_that_means_nothing_says_what_would(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"use offline, or a litellm name such as"):
        load_judge(name, registry=tmp_path / "none.json", environ={})


@pytest.mark.parametrize("content", ["", "[]", '{"x": {}}', '{"x": 1}'])
def test_a_damaged_registry_is_an_error_and_not_an_empty_one(content: str, tmp_path: Path) -> None:
    (tmp_path / "judges.json").write_text(content)
    with pytest.raises(ConfigurationError, match="calibrate again"):
        load_judge("openai/x", registry=tmp_path / "judges.json", environ={})


# ---------------------------------------------------------------------------------------------- a quick check


async def test_a_working_judge_passes_the_quick_check() -> None:
    judge = OfflineJudge()
    await check_judge(judge)
    scenario = PAIRS[0].scenario
    assert (await judge.verdict(scenario, scenario.gold_report)).correct
    assert not (await judge.verdict(scenario, scenario.distractors[0].report)).correct


@pytest.mark.parametrize(
    ("says", "complaint"), [(True, "accepts a wrong report"), (False, "rejects a right report")]
)
async def test_a_judge_with_one_answer_fails_the_quick_check(says: bool, complaint: str) -> None:
    with judge_server("ok", {"service_correct": says, "cause_correct": says, "reason": "always"}) as server:
        judge = LLMJudge("openai/fake", api_base=server.base_url, api_key="test", timeout_s=60)
        with pytest.raises(JudgeError, match=complaint):
            await check_judge(judge)


# ------------------------------------------------------------------------------------------------ the command


def small(folder: Path, count: int) -> Path:
    """A labelled file with the first pairs; every line holds its scenario."""
    path = folder / "pairs.jsonl"
    path.write_text("".join(pair.model_dump_json() + "\n" for pair in PAIRS[:count]))
    return path


def knows_the_labels(body: dict[str, Any]) -> dict[str, Any]:
    """A fake model that reads the report out of its fence and answers what a person said of it."""
    question = body["messages"][1]["content"]
    shown = re.search(r"<<<REPORT \w+\n(.*)\nREPORT \w+>>>", question, re.DOTALL)
    assert shown is not None
    report = json.loads(shown.group(1))
    pair = next(pair for pair in PAIRS if _is_about(pair, question, report))
    return {"service_correct": pair.correct, "cause_correct": pair.correct, "reason": "as labelled"}


def _is_about(pair: Pair, question: str, report: dict[str, Any]) -> bool:
    fields = (pair.report.root_cause, pair.report.suspected_service, pair.report.fault_type)
    told = (report["root_cause"], report["suspected_service"], report["fault_type"])
    return fields == told and pair.scenario.expected_root_cause in question


def command(folder: Path, *arguments: str, count: int = SOME) -> list[str]:
    files = ["--calibration", str(small(folder, count)), "--registry", str(folder / "judges.json")]
    return [*files, "--cache", str(folder / "cache.sqlite3"), *arguments]


def at(server: OpenAIServer) -> list[str]:
    return ["--base-url", server.base_url, "--api-key", "secret-key"]


def test_a_good_judge_is_registered_with_its_scores_and_loads_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with judge_server("ok", knows_the_labels) as server:
        assert main(command(tmp_path, "--model", "litellm/openai/fake", "--name", "house", *at(server))) == 0
        printed = capsys.readouterr()
        assert "accuracy 1.000, Cohen's kappa 1.000" in printed.out
        assert "JUDGE_MODEL=house" in printed.err
        with warnings.catch_warnings(action="error", category=UserWarning):
            judge = load_judge(
                "house", registry=tmp_path / "judges.json", cache=None, environ={"JUDGE_API_KEY": "k"}
            )
        assert isinstance(judge, LLMJudge)
        before = len(server.requests)
        verdict = asyncio.run(judge.verdict(PAIRS[0].scenario, PAIRS[0].report))
        assert len(server.requests) == before + 1, "it asks where it was calibrated"
    assert (verdict.correct, verdict.judge) == (True, "house")
    assert "secret-key" not in (tmp_path / "judges.json").read_text()
    entry = read_registry(tmp_path / "judges.json")["house"].calibration
    assert (entry.pairs, entry.accuracy) == (SOME, 1.0)
    assert entry.calibrated_at.endswith("+00:00")


def test_a_yes_man_is_refused_with_the_confusion_table_and_not_registered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with judge_server("ok", {"service_correct": True, "cause_correct": True, "reason": "yes"}) as server:
        assert main(command(tmp_path, "--model", "openai/fake", *at(server))) == 1
    printed = capsys.readouterr()
    assert re.search(r"label +says right +says wrong +no verdict", printed.out)
    assert "below the bar of 0.95" in printed.err
    assert not (tmp_path / "judges.json").exists()


def test_a_judge_that_now_and_then_talks_rubbish_is_refused_and_its_silence_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def moody(body: dict[str, Any]) -> Reply:
        told = knows_the_labels(body)
        return say(json.dumps(told)) if told["cause_correct"] else say("looks fine to me")

    with OpenAIServer(moody) as server:
        assert main(command(tmp_path, "--model", "openai/fake", "--json", *at(server))) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["confusion"]["wrong/none"] == sum(not pair.correct for pair in PAIRS[:SOME])
    assert "no usable verdict" in result["mistakes"][0]["reason"]


def test_a_judge_that_cannot_be_read_is_given_up_after_a_few_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with OpenAIServer(lambda body: say("looks fine to me")) as server:
        assert main(command(tmp_path, "--model", "openai/fake", *at(server))) == 2
        assert len(server.requests) == TRIED
    told = capsys.readouterr().err
    assert "in any of the first 5 replies" in told
    assert "looks fine to me" in told
    assert "name a model that can reply with one JSON object" in told
    assert not (tmp_path / "judges.json").exists()


def test_a_judge_that_nobody_can_ask_is_asked_once_and_not_once_per_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with OpenAIServer(lambda body: http_error(401, "no such key")) as server:
        assert main(command(tmp_path, "--model", "openai/fake", *at(server))) == 2
        assert len(server.requests) == 1
    assert "set JUDGE_API_KEY" in capsys.readouterr().err


def test_the_bar_can_be_moved(tmp_path: Path) -> None:
    def careful(body: dict[str, Any]) -> dict[str, Any]:
        said = knows_the_labels(body)
        quotes = "old generation" in body["messages"][1]["content"].split("<<<REPORT")[1]
        return {**said, "cause_correct": said["cause_correct"] and not quotes}

    with judge_server("ok", careful) as server:
        arguments = command(tmp_path, "--model", "openai/fake", *at(server))
        assert main([*arguments, "--bar", "0.99"]) == 1
        asked = len(server.requests)
        assert main([*arguments, "--bar", "0.9"]) == 0
        assert len(server.requests) == asked, "verdicts come from the cache"


def test_a_judge_calibrated_with_another_prompt_is_loaded_with_a_warning(tmp_path: Path) -> None:
    with judge_server("ok", knows_the_labels) as server:
        assert main(command(tmp_path, "--model", "openai/fake", *at(server))) == 0
    path = tmp_path / "judges.json"
    path.write_text(
        path.read_text().replace(f'"prompt_version": "{PROMPT_VERSION}"', '"prompt_version": "0"')
    )
    with pytest.warns(UserWarning, match="with this prompt"):
        load_judge("openai/fake", registry=path, environ={})


def test_a_dry_run_asks_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with judge_server("ok", knows_the_labels) as server:
        assert main(command(tmp_path, "--model", "openai/fake", "--dry-run", *at(server))) == 0
        assert server.requests == []
    assert f"{SOME} questions" in capsys.readouterr().out


def test_the_offline_judge_registers_under_any_name(tmp_path: Path) -> None:
    assert main(command(tmp_path, "--model", "offline", "--name", "embedded", count=242)) == 0
    assert isinstance(load_judge("embedded", registry=tmp_path / "judges.json", environ={}), OfflineJudge)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--wandb"],
        ["--wandb", "--base-model", "b", "--model", "offline"],
        ["--model", "offline", "--bar", "high"],
        ["--model", "offline", "--bar", "nan"],
    ],
    ids=["no judge", "no base model", "two judges", "no number", "no accuracy"],
)
def test_bad_use_exits_with_2_and_what_to_type(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    assert "; see python make_judge_model.py --help" in capsys.readouterr().err


def test_an_unknown_judge_or_set_exits_with_2_and_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "--model", "nosuch")) == 2
    assert main(["--model", "offline", "--calibration", str(tmp_path / "none.jsonl")]) == 2
    told = capsys.readouterr().err
    assert "litellm/openai/gpt-4o-mini" in told
    assert "--calibration" in told


WEAVE = """
import asyncio, json, os
from make_judge_model import LLMJudge, OfflineJudge, calibrate, publish, read_calibration, weave_judge
from tests.fakes.judge_server import judge_server
from tests.fakes.weave_server import Received, trace_server
pairs = read_calibration()
result = asyncio.run(calibrate(OfflineJudge(), pairs))
received = Received()
with judge_server("ok", {"service_correct": True, "cause_correct": True, "reason": "yes"}) as server, trace_server(received):
    judge = LLMJudge("openai/fake", api_base=server.base_url, api_key="t")
    model, pair = weave_judge(judge, result), pairs[0]
    said = asyncio.run(model.predict(pair.scenario.model_dump(mode="json"), pair.report.model_dump(mode="json")))
    from weave.trace import weave_client
    from weave.trace.context import weave_client_context
    from weave.trace_server_bindings.remote_http_trace_server import RemoteHTTPTraceServer
    remote = RemoteHTTPTraceServer(os.environ["WF_TRACE_SERVER_URL"])
    client = weave_client.WeaveClient("team", "investigator", remote, ensure_project_exists=False)
    weave_client_context.set_weave_client_global(client)
    where = publish(judge, result, "team/investigator")
told = {"model": model.model, "accuracy": model.accuracy, "rubric": len(model.rubric), "correct": said["correct"], "where": where}
print(json.dumps(told))
"""


@pytest.mark.slow
def test_the_judge_is_a_weave_model_whose_prompt_and_scores_are_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WEAVE], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["model"], told["correct"]) == ("openai/fake", True)
    assert told["accuracy"] >= 0.95
    assert told["rubric"] > 500
    assert told["where"].startswith("weave:///team/investigator/object/judge-openai-fake:")


@pytest.mark.slow
def test_a_judge_that_weave_cannot_be_told_of_is_registered_all_the_same(tmp_path: Path) -> None:
    nobody = {
        "WANDB_API_KEY": "k" * 40,
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "WF_TRACE_SERVER_URL": "http://127.0.0.1:9",
    }
    with judge_server("ok", knows_the_labels) as server:
        program = [
            sys.executable,
            "make_judge_model.py",
            *command(tmp_path, "--model", "openai/fake", *at(server)),
        ]
        done = subprocess.run(
            program, cwd=ROOT, capture_output=True, text=True, timeout=300, env={**os.environ, **nobody}
        )
    assert done.returncode == 0, done.stderr
    assert "not published to Weave" in done.stderr
    assert "openai/fake" in read_registry(tmp_path / "judges.json")


@pytest.mark.slow
def test_a_judge_of_its_own_is_registered_through_the_serverless_backend_and_asked_there(
    tmp_path: Path,
) -> None:
    with ServiceProcess(tmp_path / "service") as service:
        arguments = command(
            tmp_path, "--wandb", "--base-model", "tiny-investigator", "--name", "own-judge", count=3
        )
        arguments += ["--entity", "team", "--base-url", f"{service.url}/v1", "--api-key", "local"]
        program = [sys.executable, "make_judge_model.py", *arguments]
        done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert "inference name: wandb-artifact:///team/log-investigator/own-judge" in done.stderr
    assert done.returncode == 2, "the scripted engine is no judge, so it is given up"
    assert "no usable verdict" in done.stderr, "it was asked at the same service"
    assert "Failed to fetch" not in done.stderr, "nothing but the service was contacted"


def test_a_calibration_is_plain_data_that_reads_back(tmp_path: Path) -> None:
    result = asyncio.run(calibrate(OfflineJudge(), PAIRS[:5]))
    assert Calibration.model_validate_json(result.model_dump_json()) == result

"""Adapters over HTTP: each request names its own, production moves at once, and a canary gets its share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from alignment.__main__ import main
from alignment.adapters import Registry
from alignment.reward_scores import RewardModel
from alignment.serving import Desk, build_app
from core.served_adapters import ServedAdapters, ServedScore
from core.serving.guard import Door, hosts_for
from core.serving.listening import in_background
from project_types import ConfigurationError, JudgeError, Report
from tests.training_service.random_model import write_random_model
from training_service.base_models import Base
from training_service.heads import ScalarModel

pytestmark = pytest.mark.slow
ASK = {"messages": [{"role": "user", "content": "checkout is failing"}], "temperature": 0, "max_tokens": 6}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Two adapters of one random base, and a third one of another base."""
    place = tmp_path_factory.mktemp("serving")
    write_random_model(place / "random", context=512)
    found = Registry(place / "adapters")
    base = Base("random", place / "random", torch.device("cpu"), adapt="lora")
    for name, seed in (("one", 1), ("two", 2), ("foreign", 3)):
        torch.manual_seed(seed)
        model = base.fresh_trainee()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.normal_(0, 0.3)
        made = place / name
        made.mkdir()
        base.save(model, made, 0)
        sha = base.sha256 if name != "foreign" else "0" * 64
        found.add(made, name, {"base_model": "random", "base_sha256": sha, "kind": "sft"})
    judge = place / "judge"
    judge.mkdir()
    scalar = ScalarModel(base.fresh_trainee(), base.device)
    torch.nn.init.normal_(scalar.head.weight)
    base.save(scalar.model, judge, 0)
    scalar.save_head(judge)
    found.add(judge, "judge", {"base_model": "random", "base_sha256": base.sha256, "kind": "reward"})
    found.promote("one@v1")
    return found


@pytest.fixture(scope="module")
def client(registry: Registry) -> Iterator[httpx.Client]:
    base = Base("random", registry.folder.parent / "random", torch.device("cpu"), adapt="lora")
    desk = Desk(base, registry, canary="two@v1", canary_share=0.5, reward="judge@v1")
    app = build_app(desk, Door(token="local", hosts=hosts_for("127.0.0.1")))
    with in_background(app) as url, httpx.Client(base_url=url, timeout=120) as http:
        http.headers["Authorization"] = "Bearer local"
        yield http
    desk.answerer.close()


def said(client: httpx.Client, model: str, **more: Any) -> dict[str, Any]:
    reply = client.post("/v1/chat/completions", json=ASK | {"model": model} | more)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def test_each_request_names_its_adapter_and_none_answers_for_another(client: httpx.Client) -> None:
    replies = [said(client, name)["choices"][0]["token_ids"] for name in ("base", "one@v1", "two@v1") * 2]
    assert replies[:3] == replies[3:]
    assert len({tuple(tokens) for tokens in replies}) == 3


def test_the_canary_gets_its_share_and_the_answer_says_who_gave_it(client: httpx.Client) -> None:
    asked = [{"messages": [{"role": "user", "content": f"case {number}"}]} for number in range(12)]
    served = [said(client, "production", **one)["model"] for one in asked]
    assert set(served) == {"one@v1", "two@v1"}
    assert served == [said(client, "production", **one)["model"] for one in asked]


@pytest.mark.parametrize(("name", "why"), [("foreign@v1", "other weights"), ("none@v1", "has no adapter")])
def test_what_cannot_be_served_is_refused(client: httpx.Client, name: str, why: str) -> None:
    refused = client.post("/v1/chat/completions", json=ASK | {"model": name})
    assert refused.status_code == 404
    assert why in refused.json()["error"]["message"]


def test_adapters_are_loaded_and_unloaded_by_their_immutable_names(client: httpx.Client) -> None:
    assert client.post("/v1/load_lora_adapter", json={"lora_name": "two@v1"}).json() == {"loaded": "two@v1"}
    assert "two@v1" in [row["id"] for row in client.get("/v1/models").json()["data"]]
    assert client.post("/v1/unload_lora_adapter", json={"lora_name": "one@v1"}).status_code == 409
    assert client.post("/v1/unload_lora_adapter", json={"lora_name": "x@v1"}).status_code == 404


def test_a_server_is_told_to_load_by_the_immutable_name(
    client: httpx.Client, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--adapters", str(registry.folder), "--url", str(client.base_url)]
    assert main(["adapters", "push", "two@v1", *flags]) == 0
    assert "serves two@v1" in capsys.readouterr().out
    assert main(["adapters", "push", "foreign@v1", *flags]) == 2
    assert "other weights" in capsys.readouterr().err
    assert main(["adapters", "withdraw", "one@v1", *flags]) == 2
    assert "in use" in capsys.readouterr().err
    assert (
        main(
            ["adapters", "push", "two@v1", "--adapters", str(registry.folder), "--url", "http://127.0.0.1:9"]
        )
        == 2
    )
    assert "no server answers" in capsys.readouterr().err


def test_nothing_is_written_for_a_client_that_has_left(client: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/chat/completions", json=ASK | {"model": "base", "max_tokens": 480}, timeout=0.05)
    left = 'alignment_requests_total{adapter="base",kind="chat",outcome="failed"} 1'
    until = time.monotonic() + 20
    while left not in (told := client.get("/v1/metrics").text):
        assert time.monotonic() < until, told
        time.sleep(0.05)


def test_triage_answers_and_a_green_log_asks_nobody(client: httpx.Client) -> None:
    failed = client.post(
        "/v1/triage", json={"log": "05:00:01 ERROR web: the pool of orders is empty", "adapter": "one@v1"}
    )
    assert (failed.json()["failed"], failed.json()["adapter"]) == (True, "one@v1")
    green = client.post("/v1/triage", json={"log": "05:00:01 INFO web started"}).json()
    assert (green["failed"], green["text"]) == (False, "No failure found.")


async def test_a_reward_model_scores_a_report_over_http(client: httpx.Client) -> None:
    service = ServedAdapters(str(client.base_url), timeout_s=120)
    asked: list[dict[str, Any]] = [{"role": "user", "content": "checkout is failing"}]
    named, scores = await service.scores("", asked, ["the pool is empty", "the disk is full"])
    assert named == "judge@v1"
    assert scores[0] != scores[1]
    report = Report(root_cause="the pool is empty", suspected_service="orders")
    first = await ServedScore("judge@v1", service).score(asked, report)
    assert first == await ServedScore("judge@v1", service).score(asked, report)
    with pytest.raises(JudgeError, match="served here: judge@v1"):
        await ServedScore("other@v1", service).score(asked, report)


@pytest.mark.parametrize("messages", [[{"content": "no role"}], [{"role": "user"}]])
def test_a_prompt_that_cannot_be_read_is_refused(
    client: httpx.Client, messages: list[dict[str, str]]
) -> None:
    refused = client.post("/v1/score", json={"messages": messages, "answers": ["a"]})
    assert refused.status_code == 422


def test_answers_that_do_not_fit_are_refused(client: httpx.Client) -> None:
    asked = {"messages": [{"role": "user", "content": "why"}], "answers": ["the pool is empty " * 300]}
    refused = client.post("/v1/score", json=asked)
    assert refused.status_code == 422
    assert "fit at once; send fewer answers" in refused.json()["error"]["message"]


def test_only_a_reward_model_scores(registry: Registry) -> None:
    base = Base("random", registry.folder.parent / "random", torch.device("cpu"), adapt="lora")
    with pytest.raises(ConfigurationError, match="one@v1 is of kind sft"):
        RewardModel(base, registry, "one@v1")


def test_what_each_adapter_did_is_counted(client: httpx.Client) -> None:
    said(client, "two@v1")
    counted = client.get("/v1/metrics").text
    assert 'alignment_requests_total{adapter="two@v1",kind="chat",outcome="ok"}' in counted
    (tokens,) = (
        line
        for line in counted.splitlines()
        if line.startswith('alignment_written_tokens_total{adapter="two@v1"')
    )
    assert int(tokens.split()[-1]) >= 1


def test_a_stranger_is_not_let_in(client: httpx.Client) -> None:
    assert httpx.get(client.base_url.join("/v1/models")).status_code == 401


def test_a_promotion_holds_at_once(client: httpx.Client, registry: Registry) -> None:
    registry.promote("two@v1")
    assert said(client, "production")["model"] == "two@v1"
    registry.rollback()
    assert Path(registry.folder).is_dir()

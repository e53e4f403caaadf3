"""Who and what the service refuses, and that it says why: tokens, hosts, bodies, parameters, flags."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.builders.examples import examples
from tests.training_service.service_process import ServiceProcess, client, group, refusal
from training_service.__main__ import main
from training_service.wire import ChatRequest, CreateModelRequest, TrainingJobRequest

USER = {"role": "user", "content": "hi"}
nobody = httpx.Client(timeout=60, trust_env=False)
"""A client without a token. To make one takes 20 ms."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    options = ("--max-chat-mib", "1", "--max-job-mib", "2")
    with ServiceProcess(tmp_path_factory.mktemp("service") / "data", *options) as service:
        yield service


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/preview/models",
        "/preview/models/x/checkpoints",
        "/nothing",
        "/docs",
        "/openapi.json",
    ],
)
@pytest.mark.parametrize(
    "header",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "local"}, {"Authorization": "Basic local"}],
)
def test_nothing_is_told_without_the_token(
    service: ServiceProcess, path: str, header: dict[str, str]
) -> None:
    response = nobody.get(f"{service.url}{path}", headers=header)
    status, message = refusal(response)
    assert status == 401
    assert "Authorization: Bearer TOKEN" in message


def test_health_needs_no_token(service: ServiceProcess) -> None:
    assert nobody.get(f"{service.url}/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]:80", "10.0.0.1"]
)
def test_a_rebound_host_name_is_refused(service: ServiceProcess, host: str) -> None:
    status, message = refusal(service.http.get("/health", headers={"Host": host}))
    assert status == 403
    assert "use 127.0.0.1, [::1], localhost" in message


@pytest.mark.parametrize("host", ["localhost:1234", "LOCALHOST", "127.0.0.1", "[::1]:80"])
def test_loopback_host_names_are_served(service: ServiceProcess, host: str) -> None:
    assert service.http.get("/health", headers={"Host": host}).is_success


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "not strict JSON"),
        (b"{", 400, "not strict JSON"),
        (b"[]", 422, "valid dictionary"),
        (b'{"model": "x", "messages": NaN}', 400, "not strict JSON"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "deep nesting"),
        (b'{"model": "\xff"}', 400, "not strict JSON"),
        (b'{"model": "\\ud800"}', 400, "not strict JSON"),
    ],
    ids=["empty", "cut", "list", "nan", "deep", "not-utf8", "surrogate"],
)
def test_a_body_that_is_not_strict_json_is_refused(
    service: ServiceProcess, body: bytes, status: int, said: str
) -> None:
    got, message = refusal(service.http.post("/v1/chat/completions", content=body))
    assert (got, said in message) == (status, True), message


CHAT: list[tuple[dict[str, Any], int, str]] = [
    ({"stream": True}, 400, "stream: streaming is not supported here; send stream=false"),
    ({"messages": []}, 422, "messages: List should have at least 1 item"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, 422, "messages.0.role: Input should be 'system'"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        422,
        "only text parts are supported",
    ),
    ({"messages": [{"role": "user", "content": 5}]}, 422, "messages.0.content"),
    ({"messages": "hi"}, 422, "messages"),
    ({"messages": [USER], "temperature": -1}, 422, "temperature: Input should be greater than or equal to 0"),
    ({"messages": [USER], "temperature": 1e999}, 400, "not strict JSON"),
    ({"messages": [USER], "top_p": 0}, 422, "top_p: Input should be greater than 0"),
    ({"messages": [USER], "n": 1000}, 422, "n: Input should be less than or equal to 64"),
    ({"messages": [USER], "max_tokens": 0}, 422, "max_completion_tokens"),
    (
        {"messages": [USER], "response_format": {"type": "json_object"}},
        422,
        "response_format: not supported here; leave it out",
    ),
    ({"messages": [USER], "frequency_penalty": 0.5}, 422, "frequency_penalty: not supported here"),
    (
        {"messages": [USER], "logprobs": True, "top_logprobs": 5},
        422,
        "top_logprobs: not supported here; leave it out",
    ),
    ({"messages": [USER], "tempreature": 1}, 422, "tempreature: not known here; leave it out"),
    ({"messages": [USER], "tool_choice": "required"}, 422, "tools is empty; send tools"),
    ({"messages": [USER], "tools": [{"type": "function"}]}, 422, "tools.0.function: Field required"),
    ({"messages": [{"role": "user", "content": "x" * 20_000}]}, 400, "the prompt is too long"),
    ({"messages": [{"role": "user", "content": "x" * (2 << 20)}]}, 413, "larger than 1 MiB"),
]


@pytest.mark.parametrize(
    ("body", "status", "said"), CHAT, ids=[said.partition(":")[0] for _, _, said in CHAT]
)
def test_a_chat_that_cannot_be_served_is_told_why(
    service: ServiceProcess, body: dict[str, Any], status: int, said: str
) -> None:
    content = json.dumps({"model": "tiny-investigator", **body})
    got, message = refusal(service.http.post("/v1/chat/completions", content=content))
    assert got == status
    assert said in message


def test_a_prompt_that_is_too_long_has_openai_s_code(service: ServiceProcess) -> None:
    response = service.ask("tiny-investigator", "x" * 20_000)
    assert response.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "neutral",
    [
        {"stream": False},
        {"frequency_penalty": 0},
        {"user": "me"},
        {"tools": None},
        {"response_format": {"type": "text"}},
    ],
)
def test_parameters_that_change_nothing_are_accepted(
    service: ServiceProcess, neutral: dict[str, Any]
) -> None:
    assert service.ask("tiny-investigator", **neutral).is_success


BAD_CHOICE = {
    "finish_reason": "stop",
    "message": {"role": "assistant"},
    "logprobs": {"content": [{"token": "a", "logprob": "low"}]},
}
JOBS: list[tuple[dict[str, Any], int, str]] = [
    (
        {"experimental_config": {"learning_rat": 1e-4}},
        422,
        "experimental_config.learning_rat: not known here; leave it out",
    ),
    (
        {"experimental_config": {"learning_rate": 0}},
        422,
        "experimental_config.learning_rate: Input should be greater than 0",
    ),
    (
        {"experimental_config": {"importance_sampling_level": "word"}},
        422,
        "experimental_config.importance_sampling_level",
    ),
    ({"model_id": "nobody"}, 404, "no model has id 'nobody'; register it first"),
    ({"trajectory_groups": "all"}, 422, "trajectory_groups"),
    ({"trajectory_groups": [{}]}, 422, "trajectory_groups.0.trajectories: Field required"),
    (
        {"trajectory_groups": [{"trajectories": [{"messages_and_choices": [], "reward": "good"}]}]},
        422,
        "trajectory_groups.0.trajectories.0.reward",
    ),
    (
        {
            "trajectory_groups": [
                {"trajectories": [{"messages_and_choices": [{"content": "?"}], "reward": 0}]}
            ]
        },
        422,
        "every entry is a message with a role or a choice",
    ),
    (
        {"trajectory_groups": [{"trajectories": [{"messages_and_choices": [BAD_CHOICE], "reward": 0}]}]},
        422,
        "trajectory_groups.0.trajectories.0.messages_and_choices.0.logprobs.content.0.logprob",
    ),
    (
        {"padding": "x" * (3 << 20)},
        413,
        "larger than 2 MiB; send less, or restart the service with a higher --max-*-mib",
    ),
]


@pytest.mark.parametrize(("change", "status", "said"), JOBS, ids=[said[:40] for _, _, said in JOBS])
def test_a_job_that_cannot_run_is_refused_at_once(
    service: ServiceProcess, change: dict[str, Any], status: int, said: str
) -> None:
    model = service.register("refusing")["id"]
    body = {"model_id": model, "trajectory_groups": [group()], "experimental_config": None} | change
    got, message = refusal(service.http.post("/v1/preview/training-jobs", json=body))
    assert got == status
    assert said in message
    assert service.steps(model) == []


def test_infinite_rewards_are_refused(service: ServiceProcess) -> None:
    body = json.dumps({"model_id": service.register("rich")["id"], "trajectory_groups": [group()]}).replace(
        "1.0", "1e999"
    )
    status, message = refusal(service.http.post("/v1/preview/training-jobs", content=body))
    assert status == 422
    assert "reward: Input should be a finite number" in message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a/b"),
        ("name", "a:step3"),
        ("project", ""),
        ("entity", "x" * 200),
        ("name", "a\nb"),
        ("name", "@"),
    ],
)
def test_a_name_that_could_not_be_asked_for_is_refused(
    service: ServiceProcess, field: str, value: str
) -> None:
    body = {"base_model": "tiny-investigator", field: value}
    status, message = refusal(service.http.post("/v1/preview/models", json=body))
    assert status == 422
    assert message.startswith(field)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/preview/models", 405),
        ("POST", "/v1/preview/sft-training-jobs", 501),
        ("GET", "/v1/preview/training-jobs/job-x/events", 404),
        ("GET", "/v1/preview/models/model-x", 404),
        ("DELETE", "/v1/preview/models/model-x", 404),
        ("GET", "/v1/preview/models/..%2f..%2fetc/checkpoints", 404),
    ],
)
def test_what_is_not_there_is_a_json_error(
    service: ServiceProcess, method: str, path: str, status: int
) -> None:
    assert refusal(service.http.request(method, path))[0] == status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    [*ChatRequest.model_fields, *TrainingJobRequest.model_fields, *CreateModelRequest.model_fields, "stream"]
)


@given(
    body=st.dictionaries(FIELDS, JSON),
    path=st.sampled_from(["chat/completions", "preview/training-jobs", "preview/models"]),
)
@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_makes_the_service_fail(service: ServiceProcess, body: dict[str, Any], path: str) -> None:
    response = service.http.post(f"/v1/{path}", content=json.dumps(body))
    assert response.is_success or refusal(response)[0] in (400, 404, 422)


# ------------------------------------------------------------------------------------------------------ flags


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--host", "0.0.0.0"], "needs a token of your own of at least 16 characters"),
        (["--host", "0.0.0.0", "--token", "short"], "needs a token of your own of at least 16 characters"),
        (["--token", "two words"], "--token: must be printable ASCII without spaces"),
        (["--max-job-mib", "0"], "--max-job-mib: must be above 0"),
        (["--port", "70000"], "choose another --port, or 0 for any"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--data", str(tmp_path), *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_taken_port_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--data", str(tmp_path), "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err


@pytest.mark.slow
def test_a_token_of_one_s_own_replaces_the_default(tmp_path: Path) -> None:
    with ServiceProcess(
        tmp_path / "data", "--token", "a-secret-of-my-own", token="a-secret-of-my-own"
    ) as service:
        assert service.http.get("/v1/models").is_success
        with client(service.url, "local") as stranger:
            assert refusal(stranger.get("/v1/models"))[0] == 401


@pytest.mark.slow
def test_other_machines_are_served_under_any_host_name_when_they_know_the_token(tmp_path: Path) -> None:
    token = "0123456789abcdef"
    with ServiceProcess(tmp_path / "data", "--host", "0.0.0.0", "--token", token, token=token) as service:
        assert service.http.get("/v1/models", headers={"Host": "gpu-7.example"}).is_success
        with client(service.url, "local") as stranger:
            assert refusal(stranger.get("/v1/models"))[0] == 401

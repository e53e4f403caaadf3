"""The unmodified ServerlessBackend of ART trains against the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.art_client import ArtClient, ClientRaised
from tests.fakes.art_clients import art_pythons
from tests.training_service.service_process import ServiceProcess, wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


@pytest.fixture(scope="module", params=art_pythons())
def python(request: pytest.FixtureRequest) -> str:
    """Each line of ART in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def service(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with ServiceProcess(
        tmp_path_factory.mktemp("service") / "data", "--base-models", "tiny-investigator", "other-base"
    ) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def art(
    python: str, service: ServiceProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ArtClient]:
    async with ArtClient(service.url, tmp_path_factory.mktemp("art"), python) as client:
        yield client


def groups(**script: Any) -> list[dict[str, Any]]:
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "a"},
        "logprobs": None,
    }
    turns = [{"role": "user", "content": "q"}, choice]
    return [
        {"metadata": script, "trajectories": [{"reward": reward, "turns": turns} for reward in (0.0, 1.0)]}
    ]


async def test_a_model_is_registered_once_and_starts_at_step_0(art: ArtClient) -> None:
    first = await art.do("register", model="once")
    again = await art.do("register", model="once")
    assert first == again
    assert first["entity"] == "local"
    assert first["run_id"] is None
    assert await art.do("get_step", model="once") == 0


async def test_training_advances_the_step_and_the_pinned_step_keeps_its_weights(art: ArtClient) -> None:
    await art.do("register", model="trained")
    result = await art.do(
        "train", model="trained", groups=groups(steps=3), options={"learning_rate": 1e-4, "ppo": True}
    )
    assert result["step"] == 1
    assert result["metrics"]["loss/train"] == pytest.approx((0.5 + 0.25 + 0.5 / 3) / 3)
    assert result["metrics"]["data/step_num_trajectories"] == 2
    assert result["artifact_name"] == "local/tests/trained:step1"
    latest, pinned = [
        await art.do("chat", model="trained", messages=[{"role": "user", "content": "?"}], step=step)
        for step in (None, 0)
    ]
    (trained,) = json.loads(latest["choices"][0]["message"]["content"])["history"]
    assert trained["config"]["learning_rate"] == 1e-4
    assert trained["config"]["ppo"] is True
    assert "epsilon" not in trained["config"], "what the caller left alone arrives as null and is dropped"
    assert json.loads(pinned["choices"][0]["message"]["content"])["history"] == []


async def test_exact_tokens_survive_the_client(art: ArtClient) -> None:
    await art.do("register", model="tokens")
    reply = await art.do("chat", model="tokens", messages=[{"role": "user", "content": "?"}])
    choice = reply["choices"][0]
    assert choice["prompt_token_ids"] == [1, 2, 3]
    assert bytes(choice["token_ids"]).decode() == choice["message"]["content"]
    assert len(choice["logprobs"]["content"]) == len(choice["token_ids"])


async def test_a_failed_job_raises_its_reason_at_the_client_and_keeps_the_step(art: ArtClient) -> None:
    await art.do("register", model="failing")
    with pytest.raises(ClientRaised, match="Training job failed: rewards are broken"):
        await art.do("train", model="failing", groups=groups(fail="rewards are broken"), options={})
    assert await art.do("get_step", model="failing") == 0


async def test_a_diverged_job_keeps_no_weights(art: ArtClient) -> None:
    await art.do("register", model="diverging")
    with pytest.raises(ClientRaised, match=r"training diverged: loss is nan; .* lower the learning rate"):
        await art.do("train", model="diverging", groups=groups(diverge=True), options={})
    assert await art.do("get_step", model="diverging") == 0


async def test_an_untrainable_batch_is_a_step_with_the_same_weights(art: ArtClient) -> None:
    await art.do("register", model="flat")
    await art.do("train", model="flat", groups=groups(), options={})
    before = await art.do("chat", model="flat", messages=[{"role": "user", "content": "?"}])
    result = await art.do("train", model="flat", groups=groups(steps=0), options={})
    after = await art.do("chat", model="flat", messages=[{"role": "user", "content": "?"}])
    assert result["step"] == 2
    assert after["choices"][0]["message"] == before["choices"][0]["message"]
    assert (await art.do("train", model="flat", groups=groups(), options={}))["step"] == 3, (
        "and training goes on from it"
    )


async def test_no_groups_at_all_are_a_step(art: ArtClient) -> None:
    await art.do("register", model="nothing")
    assert (await art.do("train", model="nothing", groups=[], options={}))["step"] == 1


async def test_old_checkpoints_are_deleted_and_the_kept_ones_answer(
    art: ArtClient, service: ServiceProcess
) -> None:
    await art.do("register", model="kept")
    for _ in range(4):
        await art.do("train", model="kept", groups=groups(), options={})
    await art.do("delete_checkpoints", model="kept", keep=[2, 4])
    assert await art.do("steps", model="kept") == [2, 4]
    assert await art.do("get_step", model="kept") == 4
    reply = await art.do("chat", model="kept", messages=[{"role": "user", "content": "?"}], step=2)
    assert len(json.loads(reply["choices"][0]["message"]["content"])["history"]) == 2
    with pytest.raises(ClientRaised, match=r"NotFoundError.*has no step 3; it has steps 0, 2, 4"):
        await art.do("chat", model="kept", messages=[{"role": "user", "content": "?"}], step=3)


async def test_the_client_pages_through_more_than_a_hundred_checkpoints(
    art: ArtClient, service: ServiceProcess
) -> None:
    model = await art.do("register", model="many")
    jobs = [service.submit(model["id"], steps=0) for _ in range(12)]
    while len(jobs) < 105:
        service.ended(jobs[-1])
        jobs += [service.submit(model["id"], steps=0) for _ in range(min(12, 105 - len(jobs)))]
    service.ended(jobs[-1])
    assert await art.do("steps", model="many") == list(range(1, 106))
    await art.do("delete_checkpoints", model="many", keep=[105])
    assert await art.do("steps", model="many") == [105]


async def test_a_model_answers_while_it_and_others_train(
    art: ArtClient, service: ServiceProcess, tmp_path: Path
) -> None:
    await art.do("register", model="busy")
    await art.do("register", model="bystander")
    release = tmp_path / "release"
    training = asyncio.ensure_future(
        art.do("train", model="busy", groups=groups(hold=str(release)), options={})
    )
    await asyncio.to_thread(wait_until, release.with_suffix(".waiting").exists)
    for model in ("busy", "bystander"):
        reply = await art.do("chat", model=model, messages=[{"role": "user", "content": "?"}])
        assert json.loads(reply["choices"][0]["message"]["content"])["history"] == []
    assert not training.done()
    release.touch()
    assert (await training)["step"] == 1


async def test_a_deleted_model_is_gone(art: ArtClient, service: ServiceProcess) -> None:
    model = await art.do("register", model="doomed")
    await art.do("train", model="doomed", groups=groups(), options={})
    await art.do("delete", model="doomed")
    with pytest.raises(ClientRaised, match="NotFoundError"):
        await art.do("get_step", model="doomed")
    wait_until(lambda: not (service.data / "models" / model["id"]).exists())
    assert (await art.do("register", model="doomed"))["id"] != model["id"]


async def test_another_base_model_is_refused_for_a_name_that_exists(art: ArtClient) -> None:
    await art.do("register", model="based")
    with pytest.raises(ClientRaised, match=r"ConflictError.*exists with base model 'tiny-investigator'"):
        await art.do("register", model="based", base_model="other-base")
    with pytest.raises(
        ClientRaised, match=r"NotFoundError.*'gpt-9' is not loaded; loaded: tiny-investigator, other-base"
    ):
        await art.do("register", model="based-elsewhere", base_model="gpt-9")


async def test_a_wrong_key_is_an_authentication_error(art: ArtClient) -> None:
    await art.do("connect", key="wrong")
    with pytest.raises(ClientRaised, match=r"AuthenticationError.*Authorization: Bearer TOKEN"):
        await art.do("register", model="intruder")
    await art.do("connect", key="local")

"""What clients other than ART may rely on: names, paging, events, chat, the openai SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI, NotFoundError

from tests.training_service.service_process import ServiceProcess, done, refusal, wait_until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path_factory.mktemp("service") / "data") as service:
        yield service


def steps_trained(answer: str) -> int:
    return len(json.loads(answer)["history"])


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_every_route_answers_with_and_without_v1(service: ServiceProcess, prefix: str) -> None:
    model = service.register("prefixed")
    assert done(service.http.get(f"{prefix}/health"))["status"] == "ok"
    assert done(service.http.get(f"{prefix}/preview/models/{model['id']}"))["name"] == "prefixed"
    assert "tiny-investigator" in [row["id"] for row in done(service.http.get(f"{prefix}/models"))["data"]]


def test_an_answer_does_not_wait_for_a_delayed_acknowledgement(service: ServiceProcess) -> None:
    assert min(service.http.get("/health").elapsed.total_seconds() for _ in range(20)) < 0.035, (
        "Nagle's algorithm costs 40 ms"
    )


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("wandb-artifact:///local/tests/named", 2),
        ("wandb-artifact:///local/tests/named:latest", 2),
        ("wandb-artifact:///local/tests/named:step1", 1),
        ("wandb-artifact:///local/tests/named:step0", 0),
        ("local/tests/named", 2),
        ("tests/named@step1", 1),
        ("named", 2),
        ("named@step1", 1),
        ("named:step2", 2),
        ("tiny-investigator", 0),
    ],
)
def test_a_name_means_a_checkpoint(service: ServiceProcess, name: str, steps: int) -> None:
    model = service.register("named")
    while len(service.steps(model["id"])) < 2:
        service.train(model["id"])
    assert steps_trained(service.answer(name)) == steps


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "nobody",
            "model 'nobody' does not exist; base models: tiny-investigator; registered models: local/",
        ),
        ("wandb-artifact:///local/tests/nobody:step3", "does not exist"),
        ("a/b/c/d", "does not exist"),
        ("", "model: String should have at least 1 character"),
        ("known@step9", "'known' has no step 9; it has steps 0"),
        ("known@step", "does not exist"),
        ("twice", "could be local/one/twice, local/two/twice; write entity/project/name"),
    ],
)
def test_an_unknown_name_is_told_what_exists(service: ServiceProcess, name: str, said: str) -> None:
    service.register("known")
    for project in ("one", "two"):
        service.register("twice", project=project)
    status, message = refusal(service.ask(name))
    assert status == (404 if name else 422)
    assert said in message


def test_a_model_without_a_name_gets_one(service: ServiceProcess) -> None:
    made = done(service.http.post("/preview/models", json={"base_model": "tiny-investigator"}))
    assert made["name"] == made["id"]
    assert (made["entity"], made["project"]) == ("local", "default")
    assert steps_trained(service.answer(f"local/default/{made['name']}")) == 0


def test_an_existing_model_is_a_conflict_unless_it_may_exist(service: ServiceProcess) -> None:
    service.register("taken")
    status, message = refusal(
        service.http.post(
            "/preview/models", json={"project": "tests", "name": "taken", "base_model": "tiny-investigator"}
        )
    )
    assert status == 409
    assert "return_existing=true" in message


def test_a_model_registered_by_many_at_once_is_one_model(service: ServiceProcess) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: service.register("contested")["id"], range(16)))
    assert len(ids) == 1


# ----------------------------------------------------------------------------------------------------- paging


@pytest.mark.parametrize(
    ("query", "steps", "more"),
    [
        ({}, [1, 2, 3, 4, 5], False),
        ({"limit": 2}, [1, 2], True),
        ({"limit": 2, "order": "desc"}, [5, 4], True),
        ({"after": 3}, [4, 5], False),
        ({"after": 3, "order": "desc"}, [2, 1], False),
        ({"before": 4, "limit": 2}, [2, 3], True),
        ({"before": 2, "order": "desc", "limit": 2}, [4, 3], True),
        ({"after": 1, "before": 5}, [2, 3, 4], False),
        ({"after": 5}, [], False),
        ({"after": 99}, [], False),
        ({"limit": 100_000}, [1, 2, 3, 4, 5], False),
    ],
)
def test_checkpoints_come_in_pages(
    service: ServiceProcess, query: dict[str, int | str], steps: list[int], more: bool
) -> None:
    model = service.register("paged")["id"]
    while len(service.steps(model)) < 5:
        service.train(model, steps=0)
    asked = {key: f"{model}:{value}" if key in ("after", "before") else value for key, value in query.items()}
    page = done(service.http.get(f"/v1/preview/models/{model}/checkpoints", params=asked))
    assert [row["step"] for row in page["data"]] == steps
    assert page["has_more"] is more
    assert page["object"] == "list"
    assert (page["first_id"], page["last_id"]) == (
        (f"{model}:{steps[0]}", f"{model}:{steps[-1]}") if steps else (None, None)
    )


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": "x"}, {"order": "up"}, {"after": "nonsense"}, {"after": "a:-1"}, {"page": 2}],
)
def test_a_bad_page_is_refused(service: ServiceProcess, query: dict[str, int | str]) -> None:
    model = service.register("paged-badly")["id"]
    status, message = refusal(service.http.get(f"/v1/preview/models/{model}/checkpoints", params=query))
    assert status in (400, 422)
    assert next(iter(query)) in message or "cursor" in message


def test_the_latest_checkpoint_cannot_be_deleted_and_the_refusal_is_final(service: ServiceProcess) -> None:
    model = service.register("shielded")["id"]
    service.train(model)
    service.train(model)
    response = service.http.request(
        "DELETE", f"/v1/preview/models/{model}/checkpoints", json={"steps": [1, 2]}
    )
    status, message = refusal(response)
    assert status == 409
    assert "step 2 is the latest" in message
    assert response.headers["x-should-retry"] == "false", "or the client would try four times"
    assert service.steps(model) == [1, 2], "a refused deletion deletes nothing"


def test_steps_that_are_not_there_are_reported(service: ServiceProcess) -> None:
    model = service.register("sparse")["id"]
    service.train(model)
    service.train(model)
    answer = done(
        service.http.request(
            "DELETE", f"/v1/preview/models/{model}/checkpoints", json={"steps": [0, 1, 1, 7]}
        )
    )
    assert answer == {"deleted_count": 1, "not_found_steps": [0, 7]}


# ----------------------------------------------------------------------------------------------------- events


def test_events_tell_the_story_of_a_job_in_order(service: ServiceProcess) -> None:
    job = service.submit(service.register("told")["id"], steps=2)
    service.ended(job)
    events = service.events(job)
    assert [event["type"] for event in events] == [
        "training_started",
        "gradient_step",
        "gradient_step",
        "training_ended",
    ]
    assert events[0]["data"] == {"num_sequences": 2}
    assert events[1]["data"] == {"loss": 0.5, "grad_norm": 1.0}
    assert service.events(job, after=events[1]["id"]) == events[2:]
    state = done(service.http.get(f"/v1/preview/training-jobs/{job}"))
    assert (state["state"], state["step"]) == ("succeeded", 1)


def test_training_started_is_there_on_every_poll_until_a_gradient_step(
    service: ServiceProcess, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    job = service.submit(service.register("polled")["id"], hold=str(release))
    wait_until(release.with_suffix(".waiting").exists)
    for _ in range(3):
        assert [event["type"] for event in service.events(job)] == ["training_started"]
    release.touch()
    assert service.ended(job)["type"] == "training_ended"


def test_a_job_in_which_nothing_can_be_trained_says_so(service: ServiceProcess) -> None:
    model = service.register("flat")["id"]
    service.train(model, steps=0)
    assert service.steps(model) == [1], "the client expects a step all the same"
    assert "nothing could be trained, so the weights stay as they are" in service.log.read_text()


def test_a_bug_of_the_engine_is_a_failed_job_and_the_next_one_runs(service: ServiceProcess) -> None:
    model = service.register("buggy")["id"]
    failed = service.train(model, crash=True)
    assert failed["type"] == "training_failed"
    assert "ZeroDivisionError" in failed["data"]["error_message"]
    assert service.train(model)["type"] == "training_ended"
    assert "a bug of the engine" in service.log.read_text()


def test_an_identical_job_queues_after_the_running_one(service: ServiceProcess, tmp_path: Path) -> None:
    model, release = service.register("twin")["id"], tmp_path / "release"
    first, second = (service.submit(model, hold=str(release)) for _ in range(2))
    wait_until(release.with_suffix(".waiting").exists)
    assert service.events(second) == []
    release.touch()
    assert [service.ended(job)["data"]["step"] for job in (first, second)] == [1, 2]


def test_a_full_queue_is_refused_until_jobs_end(service: ServiceProcess, tmp_path: Path) -> None:
    model, release = service.register("crowded")["id"], tmp_path / "release"
    jobs = [service.submit(model, hold=str(release)) for _ in range(17)]
    body = {"model_id": model, "trajectory_groups": []}
    status, message = refusal(service.http.post("/v1/preview/training-jobs", json=body))
    assert status == 429
    assert "17 jobs are waiting" in message
    release.touch()
    assert {service.ended(job)["type"] for job in jobs} == {"training_ended"}


def test_deleting_a_model_ends_its_job(service: ServiceProcess, tmp_path: Path) -> None:
    model, release = service.register("cut-short")["id"], tmp_path / "never"
    job = service.submit(model, hold=str(release))
    waiting = service.submit(model)
    wait_until(release.with_suffix(".waiting").exists)
    assert service.http.delete(f"/v1/preview/models/{model}").status_code == 204
    for ended in (service.ended(job), service.ended(waiting)):
        assert ended["data"] == {"error_message": "the model was deleted"}
    wait_until(lambda: not (service.data / "models" / model).exists())


def test_an_older_step_keeps_its_weights_and_loses_its_optimizer(service: ServiceProcess) -> None:
    model = service.register("lean")["id"]
    service.train(model)
    service.train(model)
    wait_until(lambda: not (service.data / "models" / model / "step-000001" / "optimizer.json").exists())
    assert (service.data / "models" / model / "step-000002" / "optimizer.json").exists()
    assert steps_trained(service.answer("lean@step1")) == 1


# ------------------------------------------------------------------------------------------------------- chat


def test_a_checkpoint_in_use_is_deleted_only_afterwards(service: ServiceProcess, tmp_path: Path) -> None:
    model, release = service.register("in-use")["id"], tmp_path / "release"
    service.train(model)
    service.train(model)
    folder = service.data / "models" / model / "step-000001"
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(service.ask, "in-use@step1", f"wait for {release}")
        wait_until(release.with_suffix(".waiting").exists)
        answer = done(
            service.http.request("DELETE", f"/v1/preview/models/{model}/checkpoints", json={"steps": [1]})
        )
        assert answer["deleted_count"] == 1
        assert refusal(service.ask("in-use@step1"))[0] == 404
        assert folder.exists()
        release.touch()
        assert steps_trained(done(reply.result())["choices"][0]["message"]["content"]) == 1
    wait_until(lambda: not folder.exists())


def test_a_client_that_hangs_up_frees_the_engine(service: ServiceProcess, tmp_path: Path) -> None:
    never = tmp_path / "never"
    with pytest.raises(httpx.ReadTimeout):
        service.http.post(
            "/v1/chat/completions",
            json={
                "model": "tiny-investigator",
                "messages": [{"role": "user", "content": f"wait for {never}"}],
            },
            timeout=1,
        )
    wait_until(never.with_suffix(".cancelled").exists)


def test_a_bug_of_the_engine_is_a_json_error_and_the_service_lives(service: ServiceProcess) -> None:
    status, message = refusal(service.ask("tiny-investigator", "crash"))
    assert status == 500
    assert "ZeroDivisionError" in message
    assert service.ask("tiny-investigator").is_success


@pytest.mark.slow
async def test_the_openai_sdk_is_served(service: ServiceProcess) -> None:
    async with AsyncOpenAI(api_key="local", base_url=f"{service.url}/v1") as sdk:
        reply = await sdk.chat.completions.create(
            model="tiny-investigator",
            messages=[
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            ],
            tools=[
                {"type": "function", "function": {"name": "search_logs", "parameters": {"type": "object"}}}
            ],
            tool_choice={"type": "function", "function": {"name": "search_logs"}},
            temperature=0.5,
            top_p=0.9,
            max_completion_tokens=10,
            stop=["\n"],
            seed=1,
            n=2,
            logprobs=True,
            top_logprobs=0,
        )
        assert [choice.index for choice in reply.choices] == [0, 1]
        assert reply.object == "chat.completion"
        assert reply.model == "tiny-investigator"
        assert reply.choices[0].logprobs is not None
        with pytest.raises(NotFoundError, match="does not exist"):
            await sdk.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "hi"}])
        assert "tiny-investigator" in [model.id async for model in sdk.models.list()]

"""A model's answer is told of another failure only when that is the very same one, and then it says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failure_analysis.explaining import MOST_UNANSWERED, Explainer
from failure_analysis.logs.analyzer import LogAnalyzer
from failure_analysis.records import Experiment, ExperimentType, Failure, Status, experiment_id
from failure_analysis.store import FailureStore
from tests.fakes.openai_server import OpenAIServer, Reply, http_error, say


def answers(body: dict[str, object]) -> Reply:
    """A model that quotes what it is shown."""
    told = json.dumps(body)
    name = "orders.csv" if "orders.csv" in told else "users.csv"
    cause = f"FileNotFoundError: {name} is not there"
    return say(
        json.dumps(
            {
                "failure_category": "runtime_error",
                "root_cause": cause,
                "fix_suggestion": "make it",
                "severity": "high",
            }
        )
    )


def explainer(server: OpenAIServer, store: FailureStore) -> Explainer:
    return Explainer(
        LogAnalyzer("openai/fake", api_base=server.base_url, api_key="test", timeout_s=60), store
    )


def message(name: str) -> str:
    return f"FileNotFoundError: [Errno 2] No such file or directory: '/data/{name}'"


@pytest.fixture
def store(tmp_path: Path) -> FailureStore:
    return FailureStore(tmp_path / "failures.db")


def put(store: FailureStore, id: str, failure: Failure) -> None:
    with store.writing() as writer:
        writer.put(
            Experiment(
                id=id,
                type=ExperimentType.LOG,
                name=id,
                run="x",
                status=Status.FAILED,
                at=datetime.now(UTC),
                failure=failure,
            )
        )


def test_the_very_same_failure_is_asked_about_once_and_the_second_answer_says_so(store: FailureStore) -> None:
    with OpenAIServer(answers) as server:
        explaining = explainer(server, store)
        first = explaining.error("a1", "log", message("orders.csv"), "at 10:00:01 pid 7")
        again = explaining.error("a2", "log", message("orders.csv"), "at 11:30:59 pid 8")
        assert len(server.requests) == 1
    assert again.analysis.root_cause == first.analysis.root_cause
    assert "a1, the very same failure" in again.analysis.why_method
    assert again.analysis.cost_usd == 0


def test_what_is_only_alike_gets_an_answer_of_its_own(store: FailureStore) -> None:
    with OpenAIServer(answers) as server:
        explaining = explainer(server, store)
        orders = explaining.error("a1", "log", message("orders.csv"), "")
        users = explaining.error("a2", "log", message("users.csv"), "")
        assert len(server.requests) == 2
    assert orders.signature == users.signature, "they are one group all the same"
    assert "orders.csv" in orders.analysis.root_cause
    assert "users.csv" in users.analysis.root_cause


def test_a_stored_answer_is_found_again_by_a_later_capture(store: FailureStore) -> None:
    with OpenAIServer(answers) as server:
        id = experiment_id("a")
        put(store, id, explainer(server, store).error(id, "log", message("orders.csv"), ""))
        later = explainer(server, store).error("b", "log", message("orders.csv"), "")
        assert len(server.requests) == 1
    assert id in later.analysis.why_method
    assert later.analysis.rules is not None


def test_a_model_that_never_answers_is_not_asked_for_ever(store: FailureStore) -> None:
    with OpenAIServer(lambda body: http_error(401, "bad key")) as server:
        explaining = explainer(server, store)
        found = [
            explaining.error(f"a{n}", "log", f"ValueError: boom in part {chr(97 + n)}", "") for n in range(6)
        ]
        assert len(server.requests) == MOST_UNANSWERED
    assert all(one.analysis.method == "rules" for one in found)
    assert "not asked any more" in found[-1].analysis.why_method

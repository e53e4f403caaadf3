"""A unit of work: that it is played in this process, and stored once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from build_logs import build
from core.episode_store.evaluation_store import EvaluationStore
from core.episode_store.loading import load
from core.log_stores.pinned import PinnedDatabase
from core.policies.contract import Access
from core.policies.scripted import policy
from evaluation.ray_executor import refuse_open_cluster, site_of
from evaluation.rollout_executor import InProcess, Rolled, Unit
from evaluation.rollout_worker import RolloutWorker, Site
from make_judge_model import load_judge
from project_types import EMBEDDED, ConfigurationError, DatabaseError, Episode, read_scenario
from tests.builders.scenarios import incident, write_scenarios

POLICY = "script:rarest-warning"
ACCESS = Access(None, "local", Path(), "project", "base")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("units")
    build(write_scenarios(folder / "split", "aa01"), folder / "logs.db")
    return folder / "logs.db"


def unit(**changes: Any) -> Unit:
    fields: dict[str, Any] = {
        "scenario": incident("aa01"),
        "sample": 0,
        "policy": POLICY,
        "config": EMBEDDED,
        "split": "test",
    }
    return Unit(**(fields | changes))


def timeless(episode: Episode) -> Episode:
    return episode.model_copy(update={"outcome": episode.outcome.model_copy(update={"seconds": 0.0})})


def test_a_unit_takes_a_scenario_whose_metrics_a_trainer_left_out() -> None:
    shipped = map(read_scenario, sorted(Path("log_scenarios/val").glob("*.json")))
    proved_by_metrics = (one for one in shipped if any(e.kind == "metric" for e in one.ground_truth.evidence))
    lean = next(proved_by_metrics).model_copy(update={"metrics": ()})
    assert unit(scenario=lean).scenario is lean


async def test_a_unit_played_twice_gives_the_same_episode(database: Path) -> None:
    played = policy("rarest-warning", EMBEDDED, 0)
    judge = load_judge("offline")
    executor = InProcess(
        lambda one: played.chat(one.scenario.id, one.sample), judge, PinnedDatabase(database)
    )
    first, second = [timeless((await executor.play(unit())).episode) for _ in range(2)]
    assert first == second
    assert (first.policy, first.split, first.outcome.correct) == (POLICY, "test", True)


async def test_a_worker_plays_as_this_process_does(database: Path) -> None:
    worker = RolloutWorker(site_of(database=database, judge="offline", seed=0, access=ACCESS))
    answer = await worker.play(unit())
    assert isinstance(answer, Rolled)
    assert answer.episode.outcome.grounded


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (lambda site: {"code": "0123"}, ConfigurationError, "its code is another revision"),
        (lambda site: {"database_sha256": "0123"}, DatabaseError, "copy the driver's there"),
        (lambda site: {"database": site.database.parent / "none.db"}, DatabaseError, "build_logs.py"),
    ],
    ids=["code", "another database", "no database"],
)
async def test_a_worker_refuses_what_would_not_compare(
    database: Path, change: Callable[[Site], dict[str, Any]], kind: type[Exception], said: str
) -> None:
    site = site_of(database=database, judge="offline", seed=0, access=ACCESS)
    answer = await RolloutWorker(site.model_copy(update=change(site))).play(unit())
    assert isinstance(answer, kind)
    assert said in str(answer)


async def test_a_unit_that_comes_twice_is_stored_once(database: Path, tmp_path: Path) -> None:
    worker = RolloutWorker(site_of(database=database, judge="offline", seed=0, access=ACCESS))
    answer = await worker.play(unit())
    assert isinstance(answer, Rolled)
    line = answer.episode.model_dump_json()
    with EvaluationStore(tmp_path) as store:
        assert store.add_once(("aa01", 0), "file", line)
        assert not store.add_once(("aa01", 0), "file", line)
        assert store.add_once(("aa01", 1), "file", line.replace('"sample":0', '"sample":1'))
        assert store.add_once(("aa01", 0), "another file", line), "the scenario has changed since"
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == 3
    assert len(load(tmp_path).episodes) == 2


def test_several_machines_need_a_token() -> None:
    refuse_open_cluster({"10.0.0.1"}, None)
    refuse_open_cluster({"10.0.0.1", "10.0.0.2"}, "token")
    with pytest.raises(ConfigurationError, match="2 machines and no token"):
        refuse_open_cluster({"10.0.0.1", "10.0.0.2"}, None)

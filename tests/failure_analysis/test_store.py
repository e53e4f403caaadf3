"""What is stored comes back, once, to any thread; a damaged file is said, saved as far as it can be read, and
kept.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from failure_analysis.records import (
    Claim,
    EpisodeFacts,
    Experiment,
    ExperimentType,
    Failure,
    FailureAnalysis,
    FailureCategory,
    InvestigationKind,
    RulesVerdict,
    Severity,
    Status,
    StoreError,
    experiment_id,
    signature_of,
)
from failure_analysis.repair import set_aside
from failure_analysis.store import FailureStore, Source, Wanted
from tests.builders.examples import examples

GAVE_UP = InvestigationKind.GAVE_UP
START = datetime(2026, 1, 1, tzinfo=UTC)


def failure(name: str = "x", severity: Severity = Severity.MEDIUM, **fields: Any) -> Failure:
    analysis = FailureAnalysis(
        failure_category=FailureCategory.TIMEOUT,
        root_cause=f"cause {name}",
        fix_suggestion="fix",
        severity=severity,
    )
    return Failure(
        **{"signature": signature_of(name), "template": f"like {name}", "analysis": analysis, **fields}
    )


def experiment(number: int = 0, **fields: Any) -> Experiment:
    given = {
        "id": experiment_id(number), "type": ExperimentType.EPISODE, "name": f"n{number}", "run": "one",
        "status": Status.OK,
        "at": START + timedelta(minutes=number), "scenario_id": "0f3c", "sample": number,
    }  # fmt: skip
    return Experiment(**{**given, **fields})


FACTS = EpisodeFacts(
    file="one/episodes.jsonl", offset=7, length=9, ending="answered", correct=False, grounded=False,
    reward=-0.5, turns=3,
    seconds=1.5, tokens=12, cost_usd=0.25, blamed="orders",
)  # fmt: skip


def store_with(path: Path, *experiments: Experiment) -> FailureStore:
    store = FailureStore(path / "failures.db")
    with store.writing() as writer:
        for one in experiments:
            writer.put(one)
    return store


def test_an_experiment_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    claim = Claim(
        kind=InvestigationKind.GAVE_UP,
        text="it answered 'unknown'",
        turns=(1, 2),
        log_ids=("a1",),
        method="llm",
    )
    whole = experiment(
        status=Status.FAILED, source="f:1", split="test", sampling="t0", step=4, policy="p",
        fault_type="disk_full",
        topology="shop", unseen=True, episode=FACTS,
        failure=failure(kind=InvestigationKind.GAVE_UP, claims=(claim,), error_message="e", excerpt="log", times=3),
    )  # fmt: skip
    store = store_with(tmp_path, whole)
    assert store.experiment(whole.id) == whole
    assert store.experiment("0" * 16) is None
    assert whole.failure_analysis is not None


def test_the_same_experiment_stored_twice_is_one_row_with_its_latest_content(tmp_path: Path) -> None:
    store = store_with(
        tmp_path, experiment(failure=failure(), status=Status.FAILED, episode=FACTS), experiment(name="again")
    )
    page = store.experiments()
    assert (page.total, page.rows[0].name, page.rows[0].failure) == (1, "again", None)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(), [3, 2, 1, 0]),
        (Wanted(types=(ExperimentType.LOG,)), [3]),
        (Wanted(statuses=(Status.FAILED,)), [2, 1]),
        (Wanted(categories=(FailureCategory.TIMEOUT,), severities=(Severity.HIGH, Severity.LOW)), [2]),
        (Wanted(kinds=(InvestigationKind.GAVE_UP,)), [1]),
        (Wanted(signature=signature_of("b")), [2]),
        (Wanted(run="two"), [3]),
        (Wanted(step=4, split="test"), [1]),
        (Wanted(ending="answered", correct=False), [1]),
        (Wanted(since=START + timedelta(minutes=1), until=START + timedelta(minutes=3)), [2, 1]),
        (Wanted(text="CAUSE B"), [2]),
        (Wanted(text="orders"), [1]),
        (Wanted(text="100%_"), []),
        (Wanted(scenario_id="0f3c", sample=0), [0]),
    ],
)
def test_filters_find_what_they_name(tmp_path: Path, wanted: Wanted, numbers: list[int]) -> None:
    store = store_with(
        tmp_path,
        experiment(0),
        experiment(1, status=Status.FAILED, step=4, split="test", episode=FACTS, failure=failure("a", kind=GAVE_UP)),
        experiment(2, status=Status.FAILED, failure=failure("b", Severity.HIGH)),
        experiment(3, type=ExperimentType.LOG, run="two"),
    )  # fmt: skip
    page = store.experiments(wanted)
    assert [row.sample for row in page.rows] == numbers
    assert page.total == len(numbers)


def test_pages_and_orders_cover_everything_once(tmp_path: Path) -> None:
    severities = [Severity.LOW, Severity.CRITICAL, Severity.MEDIUM, Severity.HIGH]
    store = store_with(
        tmp_path,
        *(
            experiment(n, status=Status.FAILED, failure=failure(str(n), severity))
            for n, severity in enumerate(severities)
        ),
    )
    assert [row.sample for row in store.experiments(order="severity").rows] == [1, 3, 2, 0]
    assert [row.sample for row in store.experiments(order="oldest").rows] == [0, 1, 2, 3]
    paged = [
        row.sample for offset in range(0, 4, 2) for row in store.experiments(offset=offset, limit=2).rows
    ]
    assert paged == [3, 2, 1, 0]
    assert store.experiments(limit=10**9).limit == 1000


def test_values_of_a_column_are_what_a_filter_can_name(tmp_path: Path) -> None:
    store = store_with(tmp_path, experiment(0, fault_type="disk_full", step=3), experiment(1, fault_type=""))
    assert store.values("fault_type") == ("disk_full",)
    assert store.values("step") == (3,)
    assert [run.name for run in store.runs()] == []


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = store_with(tmp_path)

    def interrupted() -> None:
        with store.writing() as writer:
            writer.put(experiment())
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        interrupted()
    assert store.experiments().total == 0


def test_many_threads_write_and_read_at_once_and_lose_nothing(tmp_path: Path) -> None:
    store = store_with(tmp_path)

    def work(thread: int) -> None:
        for number in range(10):
            with store.writing() as writer:
                writer.put(experiment(100 * thread + number))
            assert store.experiments(limit=1).total >= 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.experiments().total == 40


@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec=None), max_size=60))
def test_any_text_can_be_stored_and_searched_for(tmp_path: Path, text: str) -> None:
    store = store_with(
        tmp_path,
        experiment(name=text, scenario_id=text, failure=failure(error_message=text), status=Status.FAILED),
    )
    assert store.experiments(Wanted(text=text or None)).total >= 0
    assert store.experiments().total == 1


def test_what_was_read_of_a_file_is_remembered(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    source = Source(path="a", offset=5, line=2, head="ff", trouble="line 1")
    with store.writing() as writer:
        assert writer.source("a") is None
        writer.put_source(source)
        assert writer.source("a") == source


def test_a_store_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no such file; make it: python -m failure_analysis capture"):
        FailureStore(tmp_path / "failures.db").experiments()


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    with closing(sqlite3.connect(store.path)) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(StoreError, match="another version"):
        store.experiments()
    with pytest.raises(StoreError, match="another version"), store.writing():
        pass


def test_a_folder_nobody_may_write_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match="--failures"),
        FailureStore(tmp_path / "file" / "failures.db").writing(),
    ):
        pass


# ----------------------------------------------------------------------------------------------------- damage


@pytest.fixture
def large(tmp_path: Path) -> FailureStore:
    return store_with(
        tmp_path,
        *(
            experiment(n, status=Status.FAILED, failure=failure(str(n % 7)), episode=FACTS)
            for n in range(400)
        ),
    )


def damage(path: Path, at: float, length: int = 20_000) -> None:
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * at))
        file.write(b"\xde" * length)


def test_what_a_killed_writer_left_half_written_is_undone_by_the_next_reader(large: FailureStore) -> None:
    journal = large.path.with_name("failures.db-journal")
    before = large.experiments(limit=1000)
    with closing(sqlite3.connect(large.path, isolation_level=None)) as killed:
        killed.execute("PRAGMA cache_size = 1")
        killed.execute("BEGIN IMMEDIATE")
        killed.execute("DELETE FROM experiments")
        left = large.path.read_bytes(), journal.read_bytes()
    large.path.write_bytes(left[0])
    journal.write_bytes(left[1])
    assert large.experiments(limit=1000) == before


def test_a_file_of_the_version_before_is_brought_up_to_date_and_keeps_what_it_holds(
    large: FailureStore,
) -> None:
    before = large.experiments(limit=1000)
    with closing(sqlite3.connect(large.path, isolation_level=None)) as old:
        for table, column in (
            ("failures", "rules_category"),
            ("failures", "rules_severity"),
            ("episodes", "question"),
            ("episodes", "answer"),
        ):
            old.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        old.execute("PRAGMA user_version = 1")
    assert large.experiments(limit=1000) == before
    with large.writing() as writer:
        writer.put(experiment(1000, status=Status.FAILED, failure=failure()))
    assert large.experiments().total == before.total + 1


def test_what_the_rules_say_beside_a_model_is_kept(tmp_path: Path) -> None:
    verdict = RulesVerdict(failure_category=FailureCategory.TIMEOUT, severity=Severity.LOW)
    told = failure()
    told = told.model_copy(
        update={"analysis": told.analysis.model_copy(update={"rules": verdict, "method": "llm"})}
    )
    stored = store_with(tmp_path, experiment(status=Status.FAILED, failure=told)).experiments().rows[0]
    assert stored.failure_analysis is not None
    assert stored.failure_analysis.rules == verdict


def test_a_damaged_file_is_said_with_what_to_type(large: FailureStore) -> None:
    damage(large.path, 0.0, 100)
    with pytest.raises(StoreError, match=r"run: python -m failure_analysis repair"):
        large.experiments()
    with pytest.raises(StoreError, match=r"run: python -m failure_analysis repair"), large.writing():
        pass


def test_a_damaged_file_is_put_aside_with_all_that_belongs_to_it(large: FailureStore) -> None:
    damage(large.path, 0.5)
    large.path.with_name("failures.db-journal").write_bytes(b"left over")
    before = large.path.read_bytes()
    kept = set_aside(large.path)
    assert kept.read_bytes() == before
    assert kept.with_name(f"{kept.name}-journal").read_bytes() == b"left over"
    assert not large.path.exists()
    with pytest.raises(StoreError, match="no such file"):
        set_aside(large.path)


def test_a_second_damaged_file_does_not_take_the_place_of_the_first(large: FailureStore) -> None:
    first = set_aside(large.path)
    large.path.write_bytes(b"not a database at all")
    assert set_aside(large.path) != first
    assert first.exists()

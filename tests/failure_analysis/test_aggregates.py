"""Counts add up, trends speak only where chance would not, what is alike is found, checkpoints are compared
by scenario.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failure_analysis.aggregates import CHANCE, Trend, counts, groups, similar, trend
from failure_analysis.comparing import Side, compare
from failure_analysis.episodes.hardest import request
from failure_analysis.records import (
    Experiment,
    ExperimentType,
    InvestigationKind,
    Severity,
    Status,
    StoreError,
    experiment_id,
    signature_of,
)
from failure_analysis.store import FailureStore, Wanted
from tests.failure_analysis.test_store import START, experiment, failure, store_with

NOW = datetime(2026, 1, 11, tzinfo=UTC)


def test_counts_by_name_and_time_add_up_to_all_failures(tmp_path: Path) -> None:
    failed = [
        experiment(n, at=START + timedelta(hours=6 * n), status=Status.FAILED, failure=failure("a"))
        for n in range(8)
    ]
    store = store_with(tmp_path, *failed, experiment(99))
    days = counts(store, "category", "day")
    assert [(count.at, count.failures) for count in days] == [(START, 4), (START + timedelta(days=1), 4)]
    assert days[0].tried == 5
    assert [(c.name, c.failures) for c in counts(store, "severity", "all")] == [("medium", 8)]
    assert counts(store, "kind", "all") == ()


def test_a_count_is_also_a_share_of_what_was_tried_with_its_interval(tmp_path: Path) -> None:
    (count,) = counts(store_with(tmp_path, *tried(40, range(10))), "category", "all")
    assert (count.failures, count.tried, count.share) == (10, 40, 0.25)
    assert count.low is not None
    assert count.high is not None
    assert 0.14 < count.low < 0.25 < count.high < 0.41


def test_where_only_failures_are_stored_there_is_no_share(tmp_path: Path) -> None:
    test = experiment(type=ExperimentType.CI_TEST, status=Status.FAILED, failure=failure("a"))
    store = store_with(tmp_path, test)
    (count,) = counts(store, "category", "all")
    assert (count.failures, count.tried, count.share) == (1, 0, None)
    assert groups(store).rows[0].shares is None


def test_a_trend_is_told_as_shares_of_both_halves(tmp_path: Path) -> None:
    (group,) = groups(store_with(tmp_path, *tried(100, range(40))), now=NOW).rows
    assert group.trend is Trend.GONE
    assert group.shares is not None
    assert group.shares[0] == pytest.approx(0.8)
    assert group.shares[1] == 0.0


def test_counts_by_checkpoint_follow_a_training_run(tmp_path: Path) -> None:
    kind = InvestigationKind.GAVE_UP
    rows = [
        experiment(n, step=n % 3, status=Status.FAILED, failure=failure("a", kind=kind)) for n in range(6)
    ]
    store = store_with(tmp_path, *rows)
    assert [(c.step, c.name, c.failures) for c in counts(store, "kind", "step")] == [
        (0, kind, 2),
        (1, kind, 2),
        (2, kind, 2),
    ]


def test_a_failure_that_stands_for_several_counts_as_several(tmp_path: Path) -> None:
    store = store_with(tmp_path, experiment(status=Status.FAILED, failure=failure(times=5)))
    assert counts(store, "category", "all")[0].failures == 5
    assert groups(store).rows[0].failures == 5


def test_a_group_knows_when_it_was_seen_first_and_last_and_where(tmp_path: Path) -> None:
    store = store_with(
        tmp_path,
        experiment(0, status=Status.FAILED, failure=failure("a", Severity.LOW)),
        experiment(7, status=Status.FAILED, failure=failure("a", Severity.HIGH), run="two"),
        experiment(3, status=Status.FAILED, failure=failure("b")),
    )
    page = groups(store, now=NOW)
    first, second = page.rows
    assert (first.signature, first.failures, first.runs, first.severity) == (
        signature_of("a"),
        2,
        2,
        Severity.HIGH,
    )
    assert (first.first_seen, first.last_seen) == (START, START + timedelta(minutes=7))
    latest = store.experiment(first.latest)
    assert latest is not None
    assert latest.sample == 7
    assert second.template == "like b"
    assert groups(store, order="last_seen", limit=1, now=NOW).rows[0].signature == first.signature
    assert groups(store, order="severity", offset=1, limit=1, now=NOW).rows == (second,)
    assert page.total == 2


def tried(total: int, failing: range) -> list[Experiment]:
    return [
        experiment(
            n,
            status=Status.FAILED if n in failing else Status.OK,
            failure=failure() if n in failing else None,
        )
        for n in range(total)
    ]


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        (range(40), Trend.GONE),
        (range(60, 100), Trend.NEW),
        (range(55), Trend.DOWN),
        (range(45, 100), Trend.UP),
        (range(100), Trend.STEADY),
        (range(48, 52), Trend.STEADY),
    ],
)
def test_a_trend_compares_halves_of_what_was_tried(tmp_path: Path, failing: range, expected: Trend) -> None:
    store = store_with(tmp_path, *tried(100, failing))
    assert groups(store).rows[0].trend is expected


def test_things_of_which_only_failures_are_stored_are_compared_by_time(tmp_path: Path) -> None:
    early = [
        experiment(
            n, type=ExperimentType.LOG, at=START + timedelta(hours=n), status=Status.FAILED, failure=failure()
        )
        for n in range(12)
    ]
    store = store_with(tmp_path, *early)
    assert groups(store, now=NOW).rows[0].trend is Trend.GONE
    assert groups(store, now=START + timedelta(hours=12)).rows[0].trend is Trend.STEADY


@given(earlier=st.integers(0, 3000), later=st.integers(0, 3000), share=st.floats(0.05, 0.95))
def test_a_trend_points_where_the_counts_point(earlier: int, later: int, share: float) -> None:
    if earlier + later == 0:
        return
    found = trend(earlier, later, share)
    expected_later = share * (earlier + later)
    if found is Trend.UP:
        assert later > expected_later
    if found in (Trend.DOWN, Trend.GONE):
        assert later < expected_later
    assert (found is Trend.NEW) == (earlier == 0)


@pytest.mark.parametrize(
    ("earlier", "later", "p", "expected"),
    [
        (5, 5, 1.0, Trend.STEADY),
        (8, 2, 0.109375, Trend.STEADY),
        (9, 1, 0.021484375, Trend.DOWN),
        (6, 0, 0.03125, Trend.GONE),
    ],
)
def test_a_trend_agrees_with_the_exact_binomial_test(
    earlier: int, later: int, p: float, expected: Trend
) -> None:
    """The p-values are those of scipy.stats.binomtest(later, earlier + later, 0.5),
    which takes long to import.
    """
    assert (p < CHANCE) == (expected is not Trend.STEADY)
    assert trend(earlier, later, 0.5) is expected


def test_similar_failures_are_found_by_their_words(tmp_path: Path) -> None:
    texts = {"disk": "no space left on device", "memory": "CUDA out of memory", "late": "no reply within # s"}
    store = store_with(
        tmp_path,
        *(
            experiment(n, status=Status.FAILED, failure=failure(name, template=text))
            for n, (name, text) in enumerate(texts.items())
        ),
    )
    found = similar(store, "write failed: no space left on /data")
    assert found[0].template == texts["disk"]
    assert found[0].experiment.sample == 0
    by_id = similar(store, store.experiments(order="oldest").rows[1].id)
    assert by_id[0].template == texts["memory"]
    assert by_id[0].likeness == pytest.approx(1.0)
    assert similar(store, "zzz") == ()


def played(step: int, scenario: str, failed: bool, sample: int = 0) -> Experiment:
    return experiment(
        id=experiment_id(step, scenario, sample), run="seed1", step=step, split="test", sampling="t0",
        scenario_id=scenario,
        sample=sample,
        fault_type="disk_full", status=Status.FAILED if failed else Status.OK,
        failure=failure(kind=InvestigationKind.GAVE_UP) if failed else None,
    )  # fmt: skip


def test_two_checkpoints_are_compared_on_the_scenarios_both_have_tried(tmp_path: Path) -> None:
    before = [
        played(0, "aa", True),
        played(0, "bb", False),
        played(0, "cc", True),
        played(0, "dd", False),
        played(0, "only", True),
    ]
    after = [played(4, "aa", False), played(4, "bb", True), played(4, "cc", True), played(4, "dd", False)]
    store = store_with(tmp_path, *before, *after)
    found = compare(store, Side(run="seed1", step=0), Side(run="seed1", step=4))
    assert found.scenarios == 4
    assert [flip.scenario_id for flip in found.fixed] == ["aa"]
    assert [flip.scenario_id for flip in found.introduced] == ["bb"]
    assert [flip.scenario_id for flip in found.still_failing] == ["cc"]
    assert found.kinds == ((InvestigationKind.GAVE_UP, 2, 2),)
    cited = store.experiment(found.introduced[0].after.experiments[0])
    assert cited is not None
    assert (cited.scenario_id, cited.step) == ("bb", 4)


def test_comparing_what_was_never_captured_says_what_was(tmp_path: Path) -> None:
    store = store_with(
        tmp_path, played(0, "aa", True), experiment(1, type=ExperimentType.TRAINING_RUN, run="seed1")
    )
    with pytest.raises(StoreError, match=r"seed1@7: no captured episodes.*captured runs: seed1"):
        compare(store, Side(run="seed1", step=0), Side(run="seed1", step=7))


def episodes_of(
    fault: str, failed: int, of: int, start: int, split: str = "train", **fields: Any
) -> list[Experiment]:
    return [
        experiment(
            start + n, fault_type=fault, topology="shop", split=split,
            status=Status.FAILED if n < failed else Status.OK,
            failure=failure() if n < failed else None, **fields,
        )
        for n in range(of)
    ]  # fmt: skip


def test_what_fails_more_weighs_more_and_nothing_is_left_out(tmp_path: Path) -> None:
    rows = (
        episodes_of("disk_full", 40, 40, 0)
        + episodes_of("dns_failure", 0, 40, 100)
        + episodes_of("lock_contention", 20, 40, 200)
    )
    found = request(store_with(tmp_path, *rows), Wanted(), ("train",))
    weights = found["faults"]
    assert weights["disk_full"] > weights["lock_contention"] == 1.0 > weights["dns_failure"] >= 0.25
    assert found["topologies"] == {"shop": 1.0}


def test_test_episodes_unseen_faults_and_foreign_scenarios_do_not_shape_training_data(tmp_path: Path) -> None:
    rows = episodes_of("disk_full", 5, 10, 0) + episodes_of("dns_failure", 9, 10, 100, split="test")
    rows += episodes_of("missing_index", 9, 10, 200, unseen=True) + episodes_of("a fault by hand", 9, 10, 300)
    store = store_with(tmp_path, *rows)
    assert set(request(store, Wanted(), ("train", "val"))["faults"]) == {"disk_full"}
    with pytest.raises(StoreError, match="no captured episodes of the splits val"):
        request(store, Wanted(), ("val",))


def test_groups_of_nothing_are_none(tmp_path: Path) -> None:
    assert groups(store_with(tmp_path)).total == 0
    assert FailureStore(tmp_path / "failures.db").experiments().total == 0

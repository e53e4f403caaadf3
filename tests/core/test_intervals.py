"""The intervals and estimators against scipy, closed forms and properties."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.intervals import (
    Method,
    bootstrap_mean,
    bootstrap_means,
    cohens_kappa,
    paired_difference,
    proportion,
    share_of,
)
from tests.builders.examples import examples

scores = st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=40)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_the_interval_agrees_with_scipys_bootstrap(method: Method) -> None:
    from scipy import stats  # to import it takes a second, which the fast run spares

    sample = np.random.default_rng(7).beta(1.2, 3.0, size=60)
    ours = bootstrap_mean(sample, resamples=20_000, seed=1, method=method)
    name = "percentile" if method == "percentile" else "BCa"
    resampled = stats.bootstrap(
        (sample,), np.mean, n_resamples=20_000, method=name, rng=np.random.default_rng(2)
    )
    theirs = resampled.confidence_interval
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.03 * width
    assert abs(ours.high - theirs.high) < 0.03 * width


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(400):
        interval = bootstrap_mean(rng.binomial(1, 0.4, size=80), resamples=500, seed=trial)
        hits += interval.low <= 0.4 <= interval.high
    assert 0.91 <= hits / 400 <= 0.98


@given(scores)
@examples(50)
def test_an_interval_holds_its_mean_and_stays_inside_the_data(values: list[float]) -> None:
    interval = bootstrap_mean(values, resamples=200)
    slack = 1e-9
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack
    assert interval.value == pytest.approx(np.mean(values))
    assert interval.n == len(values)


@given(scores, st.integers(0, 2**31))
@examples(50)
def test_the_same_seed_gives_the_same_interval(values: list[float], seed: int) -> None:
    assert bootstrap_mean(values, resamples=50, seed=seed) == bootstrap_mean(values, resamples=50, seed=seed)


@given(st.floats(0, 1), st.integers(1, 50))
@examples(50)
def test_identical_scores_have_an_interval_of_no_width(value: float, n: int) -> None:
    assert bootstrap_mean([value] * n)[:3] == (value, value, value)


def test_measures_computed_together_equal_measures_computed_alone() -> None:
    table = np.random.default_rng(0).random((30, 3))
    together = bootstrap_means(table, seed=5)
    for m, interval in enumerate(together):
        assert interval == pytest.approx(bootstrap_mean(table[:, m], seed=5))


def test_a_missing_score_is_left_out_of_its_own_measure_only() -> None:
    table = [[1.0, float("nan")], [0.0, 0.5], [1.0, float("nan")]]
    first, second = bootstrap_means(table)
    assert (first.n, second.n, second.value) == (3, 1, 0.5)
    assert first.value == pytest.approx(2 / 3)


def test_nothing_measured_is_said_to_be_nothing() -> None:
    assert bootstrap_mean([]).percent() == "-"
    assert isnan(bootstrap_mean([float("nan")]).value)


@pytest.mark.parametrize(("value", "n"), [(0.0, 20), (1.0, 20), (0.0, 1), (1.0, 3)])
def test_a_share_without_spread_gets_the_exact_binomial_bound(value: float, n: int) -> None:
    far = 0.025 ** (1 / n)  # Clopper and Pearson's bound where all n are alike
    interval = proportion(bootstrap_mean([value] * n))
    assert interval.low == pytest.approx(far if value else 0.0)
    assert interval.high == pytest.approx(1.0 if value else 1 - far)


@pytest.mark.parametrize(("change", "n"), [(0.0, 1), (0.5, 1), (-0.5, 3), (1.0, 4), (0.0, 100)])
def test_a_change_that_is_the_same_everywhere_is_not_certain_and_no_more_than_everything(
    change: float, n: int
) -> None:
    value, low, high, _ = proportion(bootstrap_mean([change] * n), lowest=-1.0)
    assert -1.0 <= low <= value == change <= high <= 1.0
    assert high - low == pytest.approx(2 * (1 - 0.025 ** (1 / n)))


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_share_measured_on_one_scenario_has_width(share: float) -> None:
    interval = proportion(bootstrap_mean([share]))
    assert 0.0 <= interval.low < share < interval.high <= 1.0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
@examples(50)
def test_a_paired_difference_changes_sign_when_the_sides_swap(pairs: list[tuple[float, float]]) -> None:
    before, after = [p[0] for p in pairs], [p[1] for p in pairs]
    forward, backward = (
        paired_difference(before, after, resamples=300),
        paired_difference(after, before, resamples=300),
    )
    assert forward.value == pytest.approx(-backward.value, abs=1e-12)
    assert forward.low == pytest.approx(-backward.high, abs=1e-9)


def test_a_paired_interval_is_narrower_than_the_gap_between_unpaired_ones() -> None:
    hard = np.random.default_rng(1).random(100)
    interval = paired_difference(hard, hard + 0.1)
    assert interval.value == pytest.approx(0.1)
    assert interval.high - interval.low < 0.001


def test_a_paired_difference_refuses_different_scenarios() -> None:
    with pytest.raises(ValueError, match="same scenarios"):
        paired_difference([1, 0], [1])


labels = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40)


@given(labels)
@examples(60)
def test_kappa_follows_from_the_table_of_agreement(pairs: list[tuple[str, str]]) -> None:
    first, second = [p[0] for p in pairs], [p[1] for p in pairs]
    cells = [pairs.count((a, b)) for a in "abc" for b in "abc"]
    table = np.array(cells).reshape(3, 3) / len(pairs)
    chance = float(table.sum(0) @ table.sum(1))
    kappa = cohens_kappa(first, second)
    if chance > 1 - 1e-12:
        assert isnan(kappa)
    else:
        assert kappa == pytest.approx((table.trace() - chance) / (1 - chance))
    assert isnan(kappa) or kappa <= 1


def test_kappa_of_the_textbook_example() -> None:
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohens_kappa(first, second) == pytest.approx(0.4)


def test_kappa_refuses_ratings_of_different_things() -> None:
    with pytest.raises(ValueError, match="same things"):
        cohens_kappa(["a"], [])


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (1, 1000, 0.0002, 0.0056)],
)
def test_a_share_lies_in_the_score_interval_that_tables_give(
    hits: int, of: int, low: float, high: float
) -> None:
    found = share_of(hits, of)
    assert found.value == hits / of
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    assert share_of(0, 0).n == 0

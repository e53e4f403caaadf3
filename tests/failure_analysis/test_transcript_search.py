"""Words of a transcript are found in the files where transcripts lie, quickly and within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from failure_analysis.capture import capture
from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.store import FailureStore, Wanted
from failure_analysis.transcript_search import find
from tests.builders.played import SYMPTOM, Stage, answer, evaluation, search


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FailureStore:
    folder = tmp_path_factory.mktemp("search")
    stage = Stage(folder / "stage")
    said = 'orders: "quoted", a\\b and größer'
    odd = stage.play(search(service="mailer"), answer("orders", said, SYMPTOM), sample=2)
    run = evaluation(folder / "eval", stage, [stage.right(0), stage.wrong(1), odd])
    found = FailureStore(folder / "failures.db")
    capture(run, found, LogAnalyzer(NO_MODEL))
    return found


def samples(store: FailureStore, text: str, wanted: Wanted | None = None) -> set[int | None]:
    found = find(store, text, wanted or Wanted())
    assert found.whole
    rows = [store.experiment(id) for id in found.ids]
    return {row.sample for row in rows if row}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("min_level", {1}),
        ("MIN_LEVEL", {1}),
        ("call to ledger failed", {1}),
        ('"quoted"', {2}),
        ("a\\b", {2}),
        ("größer", {2}),
        ("search_logs", {0, 1, 2}),
        ("no such words", set()),
        ("a", set()),
    ],
)
def test_a_text_is_found_as_it_was_said(store: FailureStore, text: str, expected: set[int]) -> None:
    assert samples(store, text) == expected


def test_only_what_is_wanted_is_searched(store: FailureStore) -> None:
    assert samples(store, "search_logs", Wanted(correct=True)) == {0}
    assert samples(store, "search_logs", Wanted(run="another")) == set()


def test_a_search_of_the_store_finds_columns_and_transcripts(store: FailureStore) -> None:
    def rows(text: str) -> int:
        also = find(store, text, Wanted()).ids
        return store.experiments(Wanted(text=text, also=also)).total

    assert rows("stopped at symptom") + rows("saw and ignored") >= 1, "a kind, as a person writes it"
    assert rows("größer") == 1
    assert rows("no such words") == 0
    question = store.experiments(Wanted(correct=True)).rows[0].episode
    assert question is not None
    assert question.question
    assert rows(question.question[:30]) == 3


def test_a_file_that_is_gone_has_no_transcript(store: FailureStore, tmp_path: Path) -> None:
    copy = FailureStore(tmp_path / "failures.db")
    copy.path.write_bytes(store.path.read_bytes())
    assert find(copy, "search_logs", Wanted()).ids == ()

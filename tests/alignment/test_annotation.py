"""Judging by hand: blind, in an order of one's own, with old pairs coming again, and undone with one key."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.annotation import REPEAT_EVERY, Annotation
from alignment.generator import generate
from alignment.pairs import from_cases
from alignment.preferences import read, write
from project_types import ConfigurationError

PAIRS = list(from_cases(generate("train", 12)))


@pytest.fixture
def annotation(tmp_path: Path) -> Annotation:
    write(tmp_path / "pairs.jsonl", PAIRS)
    return Annotation(tmp_path)


def judge_all(annotation: Annotation, by: str, most: int = 100) -> list[str]:
    """Judge as the file does, from whichever side it is shown; returns the pairs in order."""
    order: list[str] = []
    while (shown := annotation.next(by)) is not None and len(order) < most:
        better_is_left = (shown.pair.better == "a") != shown.turned
        annotation.judge(by, shown.pair.id, "left" if better_is_left else "right", shown.turned)
        order.append(shown.pair.id)
    return order


def test_a_verdict_about_a_side_is_kept_as_one_about_the_answer(annotation: Annotation) -> None:
    judge_all(annotation, "meg")
    truth = {pair.id: pair.better for pair in PAIRS}
    said = list(read(annotation.folder / "judgements.jsonl"))
    assert all(one.better == truth[one.id] for one in said)
    assert {(one.kind, one.by) for one in said} == {("person", "meg")}


def test_every_pair_is_judged_and_some_come_again_turned_around(annotation: Annotation) -> None:
    order = judge_all(annotation, "meg")
    assert set(order) == {pair.id for pair in PAIRS}
    repeats = len(order) - len(set(order))
    assert repeats == len(PAIRS) // REPEAT_EVERY
    progress = annotation.progress("meg")
    assert (progress.judged, progress.pairs) == (len(PAIRS), len(PAIRS))
    assert (progress.repeated, progress.consistent) == (repeats, repeats)


def test_each_annotator_has_an_order_and_sides_of_their_own(annotation: Annotation) -> None:
    meg, owen = judge_all(annotation, "meg", 8), judge_all(annotation, "owen", 8)
    assert meg != owen
    assert annotation.annotators() == ["meg", "owen"]
    sides = [annotation.next(name) for name in "abcdefghijkl"]
    assert len({shown.turned for shown in sides if shown}) == 2


def test_an_annotator_goes_on_after_a_restart(annotation: Annotation) -> None:
    first = judge_all(annotation, "meg", 5)
    again = Annotation(annotation.folder)
    assert again.progress("meg").judged == 5
    assert not set(judge_all(again, "meg", 4)) & set(first)


def test_undo_takes_back_ones_own_last_judgement(annotation: Annotation) -> None:
    last = judge_all(annotation, "meg", 3)[-1]
    judge_all(annotation, "owen", 2)
    assert annotation.undo("meg")
    shown = annotation.next("meg")
    assert shown is not None
    assert shown.pair.id == last
    assert annotation.progress("owen").judged == 2
    assert not annotation.undo("nobody")


def test_what_is_not_there_is_refused(annotation: Annotation) -> None:
    shown = annotation.next("meg")
    assert shown is not None
    for id, side, why in (("x", "left", []), (shown.pair.id, "up", []), (shown.pair.id, "left", ["ugly"])):
        with pytest.raises(ConfigurationError, match="load the page again"):
            annotation.judge("meg", id, side, False, why)


def test_quoted_lines_of_the_log_are_known(annotation: Annotation) -> None:
    shown = annotation.next("meg")
    assert shown is not None
    lines = shown.log()
    assert any(quoted for _, quoted in lines)
    assert not all(quoted for _, quoted in lines)

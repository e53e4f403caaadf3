"""Preferences: what a record must hold, what is wrong with a file, who agrees with whom,
and where pairs come from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alignment.agreement import cohen, consistency, judgements, krippendorff, pairwise
from alignment.answers import TAGS, failing, right, tags_of
from alignment.generator import generate
from alignment.pairs import from_answers, from_cases, from_episodes, simulated
from alignment.preferences import Origin, Preference, now, problems, read, summary, write
from alignment.scorer import facts
from alignment.stored_answers import Answer, keep, stored
from project_types import ConfigurationError, Ending, Episode, Outcome, Report

CASES = {case.id: case for case in (*generate("train", 120), *generate("unseen", 40))}
PAIRS = list(from_cases(CASES.values()))


def test_every_failing_has_pairs_and_the_better_answer_scores_higher() -> None:
    assert set(Counter(tag for pair in PAIRS for tag in pair.why)) == set(TAGS)
    for pair in PAIRS[::5]:
        case = CASES[pair.case]
        assert facts(case, pair.chosen).score > facts(case, pair.rejected).score


@pytest.mark.parametrize("tag", ["wrong cause", "hallucinated", "better action"])
def test_a_judge_that_counts_characters_learns_nothing_where_wordings_allow(tag: str) -> None:
    found = [pair for pair in PAIRS if pair.why == (tag,) and CASES[pair.case].truth.failed]
    longer = sum(len(pair.chosen) > len(pair.rejected) for pair in found)
    assert 0.3 < longer / len(found) < 0.7, (tag, longer, len(found))


def test_a_wrong_cause_need_not_contradict_itself() -> None:
    """One that always named two units would be known without the log."""

    def names_one_unit(answer: str) -> bool:
        said = answer.rpartition(", in ")[2].partition(".\n")[0]
        return said in answer.partition("\n")[0]

    wrong = [failing(case, "wrong cause") for case in CASES.values() if case.truth.failed]
    assert 0.35 < sum(map(names_one_unit, wrong)) / len(wrong) < 0.65


WARM = Origin(model="smollm2", adapter="warm@v1", temperature=0.0)


def test_what_a_model_got_wrong_is_paired_with_the_right_answer() -> None:
    cases = [case for case in CASES.values() if case.truth.failed][:4]
    said = [right(cases[0]), *(failing(case, "wrong cause") for case in cases[1:3])]
    answers = {case.id: [text] for case, text in zip(cases, said, strict=False)}
    made = list(from_answers(cases, answers, WARM))
    assert [pair.case for pair in made] == [case.id for case in cases[1:3]], "the fourth case has no answer"
    for pair, wrong in zip(made, said[1:], strict=True):
        assert (pair.rejected, pair.why) == (wrong, ("wrong cause",))
        origin = pair.origin_b if pair.better == "a" else pair.origin_a
        assert origin.adapter == "warm@v1"


def test_of_several_answers_the_best_right_one_is_paired_with_one_mistake_of_each_kind() -> None:
    case = next(case for case in CASES.values() if "symptom" in tags_of(case))
    own = right(case).replace("Root cause", "root cause")
    lesser = failing(case, "better action")
    mistakes = [
        failing(case, "wrong cause"),
        failing(case, "wrong cause", seed=1),
        failing(case, "hallucinated"),
    ]
    made = list(from_answers([case], {case.id: [*mistakes, "", lesser, own, own]}, WARM))
    assert {pair.why: pair.rejected for pair in made} == {
        ("wrong cause",): mistakes[0],
        ("hallucinated",): mistakes[2],
    }
    assert {pair.chosen for pair in made} == {own}
    assert {pair.origin_a for pair in made} | {pair.origin_b for pair in made} == {WARM}
    assert problems(made) == []


def test_pairs_of_the_generator_have_nothing_wrong_with_them() -> None:
    assert problems(PAIRS) == []


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\u001e", "\v"])
def test_what_only_looks_like_the_end_of_a_line_ends_none(tmp_path: Path, separator: str) -> None:
    said = f"the disk{separator}is full"
    write(tmp_path / "pairs.jsonl", [PAIRS[0].model_copy(update={"answer_a": said})])
    assert [pair.answer_a for pair in read(tmp_path / "pairs.jsonl")] == [said]
    keep(tmp_path, [Answer(case="one", row="base", text=said)])
    assert stored(tmp_path, "base")["one"].text == said


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert write(tmp_path / "pairs.jsonl", PAIRS[:5]) == 5
    assert list(read(tmp_path / "pairs.jsonl")) == PAIRS[:5]


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"better": "c"}, "better"),
    ({"version": 2}, "version"),
    ({"why": ["ugly"]}, "why"),
    ({"at": "2026-01-31T12:00:00"}, "the time needs its zone"),
    ({"answer_a": "x", "answer_b": "x "}, "both answers are the same"),
    ({"prompt": []}, "prompt"),
]


@pytest.mark.parametrize(("change", "said"), BROKEN, ids=[said for _, said in BROKEN])
def test_a_broken_record_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(PAIRS[0].model_dump(mode="json") | change) + "\n")
    with pytest.raises(ConfigurationError, match=f"pairs.jsonl:1: .*{said}.*alignment schema"):
        list(read(path))


def changed(pair: Preference, **change: Any) -> Preference:
    return pair.model_copy(update=change)


def test_a_type_in_unseen_and_in_training_is_a_problem() -> None:
    unseen = next(pair for pair in PAIRS if pair.split == "unseen" and pair.failure_type != "none")
    found = problems([unseen, changed(unseen, split="train", case="other")])
    assert any("split by type, never by row" in one for one in found)


def test_near_duplicates_are_found_and_judgements_of_one_pair_are_none() -> None:
    pair = PAIRS[0]
    longer = changed(pair, id="other", answer_a=pair.answer_a + " Indeed.")
    assert any("near-duplicates" in one for one in problems([pair, longer]))
    assert problems([pair, changed(pair, by="somebody")]) == []


def test_a_position_that_wins_is_a_problem() -> None:
    always_first = [changed(pair, better="a") for pair in PAIRS]
    assert any("random order" in one for one in problems(always_first))


def judged(by: str, labels: Sequence[str], kind: str = "person") -> list[Preference]:
    return [
        changed(PAIRS[number], by=by, better=label, kind=kind) for number, label in enumerate(labels) if label
    ]


def test_agreement_is_what_the_textbook_says() -> None:
    # Krippendorff (2011), "Computing Krippendorff's alpha-reliability", example B: two
    # observers, ten units, binary
    one, other = "abaaaaaaba", "bbbaabaaaa"
    said = judgements([*judged("meg", one), *judged("owen", other)])
    assert krippendorff(said) == pytest.approx(0.095, abs=0.001)
    assert cohen(said["meg"], said["owen"]) == pytest.approx(0.0, abs=0.2)
    assert set(pairwise(said)) == {("meg", "owen")}


def test_full_agreement_is_one_and_missing_judgements_are_left_out() -> None:
    said = judgements([*judged("a", ["a", "b", "", "a"]), *judged("b", ["a", "b", "b", ""])])
    assert krippendorff(said) == 1.0
    assert cohen(said["a"], said["b"]) == 1.0
    assert krippendorff(judgements(judged("a", ["a", "b"]))) is None


def test_simulated_annotators_are_never_counted_as_people() -> None:
    robots = list(simulated(PAIRS, "longer"))
    assert {pair.by for pair in robots} == {"simulated:longer"}
    assert judgements(robots) == {}
    assert summary(robots)["annotators"] == {}
    assert krippendorff(judgements([*robots, *simulated(PAIRS, "careful")], ("simulated",))) is not None


def test_a_bias_is_what_its_name_says() -> None:
    assert all(pair.better == "a" for pair in simulated(PAIRS, "first"))
    assert all(len(pair.chosen) >= len(pair.rejected) for pair in simulated(PAIRS, "longer"))
    wrong = sum(
        one.better != two.better
        for one, two in zip(PAIRS, simulated(PAIRS, "careful", mistakes=0.3), strict=True)
    )
    assert 0.2 < wrong / len(PAIRS) < 0.4


def test_an_annotators_own_consistency_is_counted() -> None:
    first = judged("meg", ["a", "b", "a"])
    later = [changed(pair, at=now() + timedelta(hours=1)) for pair in judged("meg", ["a", "a", ""])]
    assert consistency([*first, *later], "meg") == (2, 1)


def episode(correct: bool, cause: str, **outcome: Any) -> Episode:
    report = Report.model_validate(
        {
            "root_cause": cause,
            "suspected_service": "cart",
            "primary_trace_ids": [],
            "key_log_ids": [],
            "timeline": [],
            "next_actions": [],
        }
    )
    return Episode(
        scenario_id="one",
        policy="script:x",
        messages=({"role": "system", "content": "s"}, {"role": "user", "content": "u"}),
        report=report,
        outcome=Outcome(ending=Ending.ANSWERED, correct=correct, **outcome),
    )


def test_rollouts_of_one_incident_with_different_outcomes_make_a_pair() -> None:
    right, wrong = (
        episode(True, "the disk ran full"),
        episode(False, "the cart is slow and it always was, they say"),
    )
    (pair,) = from_episodes([wrong, right])
    assert "the disk ran full" in pair.chosen
    assert pair.why == ("wrong cause",)
    assert (pair.kind, pair.prompt[0].role) == ("rollouts", "system")
    assert list(from_episodes([right, right])) == []
    assert list(from_episodes([wrong, right], length_matched=True)) == []


def test_of_two_right_reports_the_grounded_one_is_better() -> None:
    grounded = episode(True, "the disk ran full", cited_gold=1)
    invented = episode(True, "the disk is full", cited_fabricated=2)
    (pair,) = from_episodes([invented, grounded])
    assert "ran full" in pair.chosen
    assert pair.why == ("hallucinated",)

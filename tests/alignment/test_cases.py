"""Generated cases: the truth scores top, every failing scores lower and is seen for what it is, and no
wording or place gives the cause away.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from alignment.answers import FAULTS, GREEN, Tag, failing, right, tags_of
from alignment.cases import MOST_WORDS, ExplainCase, read_cases, write_cases
from alignment.generator import SIZES, families, generate, types
from alignment.scorer import SECTIONS, Facts, facts, message, names, sections
from project_types import ConfigurationError

CASES = [*generate("train", 400), *generate("unseen", 160)]
FAILED = [case for case in CASES if case.truth.failed]
SEEN_AS: dict[Tag, str] = {
    "wrong cause": "herring_as_cause",
    "symptom": "symptom_as_cause",
    "hallucinated": "hallucinated",
    "too long": "too_long",
    "unsafe action": "unsafe",
}


def test_there_are_enough_cases_and_no_type_is_in_a_split_it_must_not_be_in() -> None:
    assert sum(SIZES.values()) >= 2000
    assert SIZES["unseen"] >= 200
    assert len(families()) == 8
    for family in families():
        assert not set(types(family, "train")) & set(types(family, "unseen"))
        assert set(types(family, "seen")) == set(types(family, "train"))


def test_the_same_seed_makes_the_same_cases() -> None:
    assert list(generate("val", 20, seed=3)) == list(generate("val", 20, seed=3))
    assert list(generate("val", 20, seed=3)) != list(generate("val", 20, seed=4))
    assert not {case.id for case in generate("val")} & {case.id for case in generate("train")}


def test_the_right_answer_scores_top_and_is_short() -> None:
    for case in CASES:
        found = facts(case, right(case))
        assert found.score == 1.0, (case.id, found)
        assert found.words <= MOST_WORDS


@pytest.mark.parametrize("tag", FAULTS)
def test_a_failing_scores_lower_and_is_seen_for_what_it_is(tag: Tag) -> None:
    for case in CASES[::5]:
        if tag not in tags_of(case):
            continue
        found = facts(case, failing(case, tag))
        assert found.score < 1.0, (case.id, found)
        if case.truth.failed and tag in SEEN_AS:
            assert getattr(found, SEEN_AS[tag]), (case.id, found)


def test_an_answer_to_a_green_log_cannot_blame_a_symptom() -> None:
    green = next(case for case in CASES if not case.truth.failed)
    assert set(tags_of(green)) == set(GREEN)
    with pytest.raises(ValueError, match="green log"):
        failing(green, "symptom")


def test_every_answer_has_four_sections_so_that_none_is_told_by_how_it_begins() -> None:
    for case in CASES:
        for answer in (right(case), failing(case, "wrong cause")):
            parts = sections(answer)
            assert answer.startswith('Symptom: "'), answer
            assert all(parts[name].strip() for name in SECTIONS), answer


def test_no_line_of_a_family_names_the_cause_of_another_type() -> None:
    for table in families().values():
        for name, kind in table["types"].items():
            others = [other["cause"] for one, other in table["types"].items() if one != name]
            for line in (*others, kind["symptom"], *table["failed"], *table["recovered"], *table["noise"]):
                assert not names(line, kind["terms"]), (name, line)


def test_a_wording_is_the_cause_as_often_as_it_is_harmless() -> None:
    cause, harmless = Counter[str](), Counter[str]()
    for case in FAILED:
        for name, kind in families()[case.family]["types"].items():
            cause[f"{case.family} {name}"] += name == case.failure_type
            if tuple(kind["terms"]) in case.truth.herring_terms:
                harmless[f"{case.family} {name}"] += 1
    assert all(abs(cause[name] - harmless[name]) <= 3 for name in cause), (cause, harmless)


def test_neither_level_nor_place_tells_the_cause() -> None:
    first = [case for case in FAILED if (case.truth.cause_line or 0) < case.truth.herring_lines[0]]
    assert 0.4 < len(first) / len(FAILED) < 0.75, (
        "the cause comes first a little more often, as it does in life"
    )
    level = Counter(case.log[case.truth.cause_line or 0].split(" ")[1] for case in FAILED)
    assert 0.7 < level["WARN"] / level["ERROR"] < 1.4


def test_symptoms_carry_the_unit_of_the_cause_and_a_herrings_unit_went_on_well() -> None:
    for case in FAILED[::9]:
        assert case.truth.cause_line is not None
        cause, herring = case.log[case.truth.cause_line], case.log[case.truth.herring_lines[0]]
        unit = message(cause).partition(":")[0]
        assert all(unit in case.log[place] for place in case.truth.symptom_lines)
        assert sum(message(herring).partition(":")[0] in line for line in case.log) == 2


ANSWERS = [
    ("Root cause: the disk ran full.\nAction: x", {"cause_right": True}),
    ("The disk ran full, so the step failed.", {"cause_right": True}),
    ("Root cause: layer 4 of api is incomplete", {"cause_right": False, "symptom_as_cause": True}),
    ("No failure found.", {"cause_right": False, "refused": True}),
    ("", {"cause_right": False, "refused": True, "score": 0.0}),
    (
        'Root cause: no space.\nEvidence: "step 41: write /var/lib/docker: no space left on device"',
        {"cause_quoted": True},
    ),
    ('Root cause: disk.\nEvidence: "the moon fell on the runner"', {"hallucinated": 1}),
    ("Root cause: disk.\nAction: delete /var/lib/docker while builds run", {"unsafe": True}),
    ("Root cause: disk and undeclared identifier", {"cause_right": False, "herring_as_cause": True}),
]


@pytest.mark.parametrize(("answer", "expected"), ANSWERS, ids=range(len(ANSWERS)))
def test_what_an_answer_says_is_read(answer: str, expected: dict[str, object]) -> None:
    case = ExplainCase.model_validate(
        {
            "id": "ci-1",
            "family": "ci",
            "failure_type": "runner-disk",
            "split": "train",
            "log": (
                "05:00:00 ERROR docker step 41: write /var/lib/docker: no space left on device",
                "05:00:01 ERROR compiler step 12: api/main.c:3: error: undeclared identifier limit",
                "05:00:02 WARN docker step 41: layer 4 of api is incomplete",
                "05:00:03 INFO runner step 12 passed on retry",
            ),
            "truth": {
                "failed": True,
                "cause_line": 0,
                "terms": ("space|disk",),
                "symptom_lines": (2,),
                "herring_lines": (1,),
                "herring_terms": (("compil|undeclared|identifier",),),
                "safe_action": "prune old images of the runner and rerun",
                "unsafe_actions": ("delete /var/lib/docker while builds run",),
            },
        }
    )
    found: Facts = facts(case, answer)
    assert {name: getattr(found, name) for name in expected} == expected


def test_every_group_of_terms_has_to_be_named() -> None:
    assert names("the pool has no connection", ("pool|connection",))
    assert not names("the shuffle was slow", ("fetch|shuffle", "disk"))
    assert not names("anything", ())


def test_cases_survive_a_file_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    assert write_cases(path, CASES[:3]) == 3
    assert list(read_cases(path)) == CASES[:3]
    path.write_text(path.read_text() + '{"id": 1}\n')
    with pytest.raises(ConfigurationError, match=r"cases.jsonl:4: id: .*; fix or delete the line"):
        list(read_cases(path))
    with pytest.raises(ConfigurationError, match="python -m alignment cases"):
        list(read_cases(tmp_path / "none.jsonl"))

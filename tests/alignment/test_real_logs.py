"""Real builds and labelled failures as test data: what counts as right, and that
rules need no model for it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.real_logs import RealLog, builds, facts, labelled, table
from alignment.triage import NO_FAILURE
from project_types import ConfigurationError

FOLDER = Path(__file__).parent.parent / "failure_analysis" / "ci_logs"


@pytest.fixture(scope="module")
def real() -> list[RealLog]:
    return list(builds(FOLDER))


def test_every_failed_build_has_a_prompt_that_fits_and_a_green_one_has_none(real: list[RealLog]) -> None:
    assert [one.kind for one in real].count("build") == 4
    for one in real:
        if one.kind == "build":
            assert one.asked is not None
            assert len(one.asked) < 2_000 < len(one.log)
        else:
            assert one.asked is None, "triage asks no model about it"


def test_naming_or_quoting_a_marked_line_is_right(real: list[RealLog]) -> None:
    build = next(one for one in real if one.kind == "build")
    first, _ = build.marked[0]
    line = build.log.split("\n")[first - 1].strip()
    assert facts(build, f"Root cause: {line}").right
    assert facts(build, f'Root cause: the build broke.\nEvidence: "{line}"').right
    assert not facts(build, "Root cause: the build broke.").right
    assert not facts(build, NO_FAILURE).right


def test_a_quotation_that_the_log_does_not_hold_is_counted(real: list[RealLog]) -> None:
    assert facts(real[0], 'Root cause: "a line that nobody ever wrote"').hallucinated
    assert not facts(real[0], "Root cause: something else.").hallucinated


def test_of_a_green_build_only_no_failure_is_right(real: list[RealLog]) -> None:
    green = next(one for one in real if one.kind == "green")
    assert facts(green, NO_FAILURE).right
    assert not facts(green, "Root cause: the disk is full.").right


def test_rules_answer_in_the_same_form_and_stand_in_the_table(real: list[RealLog]) -> None:
    texts = {"rules": {one.id: one.by_rules() for one in real}}
    text = table(real, texts)
    assert "### Real builds that failed" in text
    assert "| rules | 4 |" in text
    assert all(not facts(one, texts["rules"][one.id]).hallucinated for one in real)


def test_a_labelled_failure_is_right_when_its_message_is_named() -> None:
    one, *rest = labelled(3)
    assert len(rest) == 2
    assert facts(one, f"Root cause: {one.log.splitlines()[0]}").right
    assert not facts(one, "Root cause: an error occurred.").right


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"labels\.json"):
        list(builds(tmp_path))

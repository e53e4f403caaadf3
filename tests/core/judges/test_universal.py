"""No sentence that knows nothing of its incident is worth writing: an optimiser looks
for one and finds little.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from core.judges.lexicon import beginnings, lexicon, plain
from core.judges.offline import OfflineJudge
from core.judges.universal import GLUE, MOST_WORDS, Optimiser
from project_types import Report, Scenario, read_scenario
from tests.builders.examples import one_in
from tests.core.judges.test_offline import judged, of_type

SHIPPED = Path(__file__).parents[3] / "log_scenarios"
CALIBRATION = SHIPPED / "judge_calibration.jsonl"


@pytest.mark.parametrize("glue", one_in(3, [*GLUE, " ", " → ", " which caused ", " and ", " + "]))
def test_a_list_of_all_faults_is_right_for_none_however_it_is_joined(glue: str) -> None:
    names = [name.replace("_", " ") for name in lexicon().cues]
    for fault in names:
        assert not judged(glue.join(names)[:2000], scenario=of_type(fault.replace(" ", "_"))).correct
    for said in ([names[0], *names], [*names[:20], names[0]]):
        assert not judged(glue.join(said)[:2000], scenario=of_type(names[0].replace(" ", "_"))).correct


def test_whatever_the_text_no_cue_that_stands_in_it_is_passed_over() -> None:
    cues = [cue for several in lexicon().cues.values() for cue in several]
    reports = [json.loads(line)["report"]["root_cause"] for line in CALIBRATION.read_text().splitlines()]
    for text in map(plain, [*reports[::9], *(cue.spelled for cue in cues[::3])]):
        held = beginnings(text)
        assert all(cue.may_stand(held) for cue in cues if any(cue.found(text)))


def one_of_each_fault() -> list[Scenario]:
    found: dict[str, Scenario] = {}
    for path in sorted(SHIPPED.glob("t*/scenario-*.json")):
        scenario = read_scenario(path)
        found.setdefault(scenario.ground_truth.fault_type, scenario)
    return list(found.values())


@pytest.mark.slow
def test_an_optimiser_over_the_lexicon_and_the_lines_finds_no_sentence_that_pays() -> None:
    """With the right service given, at most one scenario in ten; with a service
    guessed, three in a hundred.
    """
    scenarios = one_of_each_fault()
    assert len(scenarios) >= 20
    best = Optimiser(OfflineJudge(), scenarios).best()
    assert 0 < best.share <= 0.10, best
    assert len(best.root_cause.split()) <= MOST_WORDS
    culprits = Counter(scenario.ground_truth.service for scenario in scenarios)
    guess, _ = culprits.most_common(1)[0]
    report = Report(root_cause=best.root_cause, suspected_service=guess)
    verdicts = [asyncio.run(OfflineJudge().verdict(scenario, report)) for scenario in scenarios]
    assert sum(verdict.correct for verdict in verdicts) <= 0.03 * len(scenarios)

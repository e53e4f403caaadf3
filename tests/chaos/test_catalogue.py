"""The data that scenarios are drawn from keeps its promises: wordings, names, topologies."""

from __future__ import annotations

import re
import string

import pytest

from chaos import phrases
from chaos.catalogue import CATALOGUE, HELD_OUT
from chaos.leaks import PLAIN_WORDS
from chaos.plans import places
from chaos.topologies import Topology, pairs, parse, topologies
from chaos.world import NAMES
from project_types import FAULT_TYPES

DECISIVE = [
    (fault.name, wording)
    for fault in CATALOGUE.values()
    for strike in fault.strikes
    for wording in strike.wordings
]
SPOKEN = [
    *phrases.REPORTS,
    *phrases.ENTRANCE,
    *phrases.HINTS,
    *(text for texts in phrases.TROUBLE.values() for text in texts),
]
SPOKEN += [flow.purpose for system in topologies().values() for flow in system.flows]


def words(text: str) -> set[str]:
    """The words of a template, braces left out."""
    return set(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", text.lower())))


def every_template() -> list[str]:
    """All texts that can stand in a log line."""
    lists = [
        phrases.MISHAPS,
        phrases.ODDITIES,
        phrases.TRANSIENT,
        phrases.JOBS,
        phrases.FAILED,
        phrases.DELIVERY,
        phrases.RETRIED,
    ]
    lists += [
        phrases.FALLBACK,
        phrases.SLOW,
        phrases.CIRCUIT,
        phrases.EDGE_FAILED,
        phrases.CANCELLED,
        phrases.REFUSED,
    ]
    lists += [phrases.UNREADABLE, phrases.MISSED, *phrases.FLOODED.values(), *phrases.ROUTINE.values()]
    lists += [fault.mild for fault in CATALOGUE.values()]
    return [*(text for texts in lists for text in texts), *(wording for _, wording in DECISIVE)]


def test_every_fault_type_of_the_house_is_in_the_catalogue() -> None:
    assert list(CATALOGUE) == list(FAULT_TYPES)


def test_seen_faults_span_twelve_types_and_five_families() -> None:
    seen = [name for name in CATALOGUE if name not in HELD_OUT]
    assert len(seen) >= 12
    assert len({FAULT_TYPES[name].family for name in seen}) >= 5


@pytest.mark.parametrize(("fault", "wording"), DECISIVE, ids=lambda text: str(text)[:40])
def test_a_decisive_wording_has_6_to_16_words_a_number_and_no_label(fault: str, wording: str) -> None:
    assert 6 <= len(wording.split()) <= 16
    assert {field for _, field, _, _ in string.Formatter().parse(wording) if field} - {
        "peer",
        "lock",
        "table",
        "partner",
    }
    assert fault.replace("_", " ") not in wording
    assert "root cause" not in wording


def test_each_strike_has_at_least_four_wordings() -> None:
    assert min(len(set(strike.wordings)) for fault in CATALOGUE.values() for strike in fault.strikes) >= 4


def test_what_people_say_shares_no_telling_word_with_decisive_lines_or_labels() -> None:
    telling = {word for _, wording in DECISIVE for word in words(wording) if len(word) >= 6} - {"outage"}
    labels = {word for name in FAULT_TYPES for word in name.split("_")} - PLAIN_WORDS
    spoken = {word for text in SPOKEN for word in words(text)}
    assert spoken & (labels | telling) == set()


def test_service_names_are_neutral_and_occur_in_no_template() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 60
    assert set(NAMES) & {word for text in [*every_template(), *SPOKEN] for word in words(text)} == set()


def test_the_vocabulary_of_all_templates_is_modest() -> None:
    assert len({word for text in every_template() for word in words(text)}) + len(NAMES) < 1500


def test_eight_systems_are_for_training_and_three_are_held_out() -> None:
    held_out = [system for system in topologies().values() if system.held_out]
    assert len(held_out) >= 3
    assert len(topologies()) - len(held_out) >= 8


@pytest.mark.parametrize("system", topologies().values(), ids=lambda system: system.name)
def test_a_system_has_5_to_16_services_one_edge_and_uses_them_all(system: Topology) -> None:
    called = {call.service for flow in system.flows for pair in pairs(flow.root) for call in pair}
    assert 5 <= len(system.roles) <= 16
    assert called == set(system.roles)
    assert {flow.root.service for flow in system.flows} == {
        key for key, role in system.roles.items() if role == "edge"
    }


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_fault_has_a_place_in_several_systems(name: str) -> None:
    systems = [system for system in topologies().values() if system.held_out == (name in HELD_OUT)]
    assert sum(
        any(places(strike, system) for strike in CATALOGUE[name].strikes) for system in systems
    ) >= min(3, len(systems))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("edge: front\n", "before the first", id="no name"),
        pytest.param("# a\nchief: front\n", "role must be one of", id="unknown role"),
        pytest.param("# a\nedge: front\n> buying\nback GET /\n", "unknown service", id="unknown service"),
        pytest.param(
            "# a\nedge: front\nstore: db\n> buying\nfront GET /\n    db read\n",
            "indented too far",
            id="indent",
        ),
    ],
)
def test_a_broken_system_text_is_refused_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(text)

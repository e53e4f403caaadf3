"""The data that scenarios are drawn from keeps its promises: faults, wordings, names, systems."""

from __future__ import annotations

import random
import re
import string

import pytest

from chaos.faults import Values, catalogue
from chaos.leaks import PLAIN_WORDS
from chaos.mechanisms import MECHANISMS
from chaos.phrases import Phrasebook, every_wording, speech
from chaos.places import places, reaches
from chaos.topologies import Topology, grow, parse, topologies
from chaos.world import NAMES
from project_types import FAULT_TYPES

POOLS = ("train", "test")
CAUSES = [
    (fault.name, pool, wording)
    for fault in catalogue().values()
    for pool in POOLS
    for wording in fault.wordings[pool]  # type: ignore[index]
]
SPOKEN = [
    *(text for kind in ("error", "slow", "quiet", "reports", "entrance", "hints") for text in speech(kind)),
    *(flow.purpose for system in topologies().values() for flow in system.flows),
]


def words(text: str) -> set[str]:
    """The words of a template, braces left out."""
    return set(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", text.lower())))


def bare(text: str) -> str:
    """A template without what is filled in."""
    return re.sub(r"\{\w+\}", "#", text)


def test_every_fault_type_of_the_house_is_in_the_catalogue() -> None:
    assert list(catalogue()) == list(FAULT_TYPES)


def test_there_are_thirty_fault_types_and_more_in_seven_families() -> None:
    assert len(catalogue()) >= 30
    assert len({FAULT_TYPES[name].family for name in catalogue()}) == 7


def test_one_fault_type_of_each_family_is_held_out() -> None:
    held_out = [fault.name for fault in catalogue().values() if fault.held_out]
    assert sorted({FAULT_TYPES[name].family for name in held_out}) == sorted(
        {kind.family for kind in FAULT_TYPES.values()}
    )


@pytest.mark.parametrize("name", catalogue())
def test_a_fault_type_has_eight_wordings_and_more_and_shares_none_between_train_and_test(name: str) -> None:
    train, test = catalogue()[name].wordings["train"], catalogue()[name].wordings["test"]
    assert len({*train, *test}) == len(train) + len(test) >= 8
    assert len(test) >= 4
    assert not {bare(text) for text in train} & {bare(text) for text in test}


def test_no_wording_apart_from_causes_is_in_both_pools() -> None:
    train, test = (set(map(bare, every_wording(pool))) for pool in ("train", "test"))
    assert len(train) > 100
    assert len(test) > 100
    assert train & test == set()


@pytest.mark.parametrize(("fault", "pool", "wording"), CAUSES, ids=lambda text: str(text)[:40])
def test_a_wording_of_a_cause_can_be_filled_and_carries_no_label(fault: str, pool: str, wording: str) -> None:
    plain = wording.lower().replace("-", " ").replace("_", " ")
    assert fault.replace("_", " ") not in plain
    assert "root cause" not in plain
    fields = {field for _, field, _, _ in string.Formatter().parse(wording) if field}
    assert wording.format_map(Values(random.Random(1), peer="maple", clock="14:05"))
    assert fields or pool == "test"


def test_every_mechanism_is_used() -> None:
    used = {strike.mechanism for fault in catalogue().values() for strike in fault.strikes}
    assert used == set(MECHANISMS)


def test_what_people_say_shares_no_telling_word_with_causes_or_labels() -> None:
    telling = {word for _, _, wording in CAUSES for word in words(wording) if len(word) >= 6}
    labels = {word for name in FAULT_TYPES for word in name.split("_")} - PLAIN_WORDS
    spoken = {word for text in SPOKEN for word in words(text)}
    assert spoken & (labels | telling) == set()


def test_service_names_are_neutral_and_occur_in_no_wording() -> None:
    causes = [wording for _, _, wording in CAUSES]
    texts = [*every_wording("train"), *every_wording("test"), *causes]
    written = {word for text in texts for word in words(text)}
    assert len(NAMES) == len(set(NAMES)) >= 60
    assert set(NAMES) & (written | {word for text in SPOKEN for word in words(text)}) == set()


def test_an_unknown_kind_of_wording_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        Phrasebook("train").of("no such kind")


# --------------------------------------------------------------------------------------------------- systems


def test_eight_systems_and_more_are_for_training_and_three_and_more_are_held_out() -> None:
    held_out = [system for system in topologies().values() if system.held_out]
    assert len(held_out) >= 3
    assert len(topologies()) - len(held_out) >= 8


@pytest.mark.parametrize("system", topologies().values(), ids=lambda system: system.name)
def test_a_system_has_5_to_16_services_one_edge_and_uses_them_all(system: Topology) -> None:
    assert 5 <= len(system.roles) <= 16
    assert {service for flow in system.flows for service in flow.services} == set(system.roles)
    edges = {key for key, role in system.roles.items() if role == "edge"}
    assert {flow.root.service for flow in system.flows} == edges


def test_systems_grow_together_up_to_fifty_services_with_a_prober_and_jobs() -> None:
    known = [system for system in topologies().values() if not system.held_out]
    grown = grow(sorted(known, key=lambda system: len(system.roles))[-4:], random.Random(1))
    assert 30 <= len(grown.roles) <= 56
    assert {flow.kind for flow in grown.flows} == {"user", "drill", "job"}
    assert {service for flow in grown.flows for service in flow.services} == set(grown.roles)


@pytest.mark.parametrize("name", catalogue())
def test_each_fault_has_a_place_that_users_notice_in_several_systems(name: str) -> None:
    fault = catalogue()[name]
    systems = [
        grow([system], random.Random(1))
        for system in topologies().values()
        if system.held_out == fault.held_out
    ]

    def noticed(system: Topology) -> bool:
        spots = [(strike, place) for strike in fault.strikes for place in places(strike, system)]
        users = [flow for flow in system.flows if flow.kind == "user"]
        return any(reaches(strike, place, flow, system) for strike, place in spots for flow in users)

    assert sum(map(noticed, systems)) >= 3


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

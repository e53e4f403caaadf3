"""The careful script, where requests cannot be told apart: it accuses by what stands
out, and else says unknown.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from core.log_stores.memory import memory_store
from core.policies.scripted import SCRIPTED
from core.policies.sre.reading import Usual
from core.policies.sre.shifts import from_own_times
from log_search_tools import store_tools
from project_types import EpisodeConfig, Incident
from rollout import investigate

RULES = EpisodeConfig(tools="full", max_turns=40)
SERVICES = ("web", "cart", "db", "mail")


def clock(second: float) -> str:
    return f"2026-03-04T14:{int(second) // 60:02d}:{second % 60:09.6f}Z"


def line(number: int, second: float, service: str, message: str, level: str = "INFO") -> dict[str, Any]:
    return {
        "id": f"row{number:05d}",
        "timestamp": clock(second),
        "service": service,
        "level": level,
        "message": message,
    }


def healthy() -> list[dict[str, Any]]:
    """Ten minutes in which each service says the same every five seconds."""
    return [
        line(number * 10 + place, 5.0 * number + place, name, f"did {name} work in {number} ms")
        for number in range(120)
        for place, name in enumerate(SERVICES)
    ]


def errors(service: str, message: str, times: int, first: int = 9000) -> list[dict[str, Any]]:
    return [line(first + number, 330.0 + number, service, message, "ERROR") for number in range(times)]


def spans(gap_ms: float, cart_ms: float = 20) -> list[dict[str, Any]]:
    """web calls cart every three seconds; from the fifth minute on the way there takes
    `gap_ms`, and cart so long.
    """
    found: list[dict[str, Any]] = []
    for number in range(200):
        second, way = 3.0 * number, (gap_ms if number >= 100 else 2.0) / 1000
        trace = f"trace{number:04d}"
        cart = cart_ms if number >= 100 else 20.0
        found += [
            {"trace_id": trace, "span_id": f"a{number}", "service": "web", "operation": "web.checkout",
             "start": clock(second), "duration_ms": 10 + cart + way * 1000, "status": "unknown"},
            {"trace_id": trace, "span_id": f"b{number}", "parent_span_id": f"a{number}", "service": "cart",
             "operation": "cart.add", "start": clock(second + way), "duration_ms": cart, "status": "unknown"},
        ]  # fmt: skip
    return found


def metric(service: str, before: float, after: float, name: str = "CpuUsage(m)") -> dict[str, Any]:
    values = [before + number % 2 for number in range(30)] + [after + number % 2 for number in range(30)]
    return {"service": service, "name": name, "start": clock(0), "step_s": 10, "values": values}


async def accused(logs: Sequence[dict[str, Any]] = (), **parts: Any) -> tuple[str, str]:
    """Whom the script accuses, and of what."""
    incident = Incident.model_validate(
        {"id": "one", "description": "it is slow", "time_hint": "14:06", "services": SERVICES, "logs": [*healthy(), *logs],
         "baseline": {"start": clock(0), "end": clock(299)}} | parts
    )  # fmt: skip
    chat = SCRIPTED["sre"](random.Random(0), RULES)
    episode = await investigate(chat, incident, store_tools(memory_store(incident), RULES), config=RULES)
    assert episode.report is not None
    return episode.report.suspected_service, episode.report.root_cause


async def test_nothing_that_moved_is_unknown() -> None:
    calm = [metric(name, 10, 12) for name in SERVICES]
    assert (await accused(spans=spans(2.0), metrics=calm))[0] == "unknown"
    assert (await accused())[0] == "unknown"


async def test_a_resource_that_only_one_service_lost_accuses_it() -> None:
    usage = [metric("web", 10, 12), metric("cart", 10, 30), metric("db", 10, 500), metric("mail", 10, 11)]
    service, cause = await accused(spans=spans(2.0), metrics=usage)
    assert (service, "short of CPU" in cause) == ("db", True)


@pytest.mark.parametrize("usage", [[500, 490], [30, 12]])
async def test_a_resource_that_others_lost_too_or_that_is_left_accuses_nobody(usage: list[float]) -> None:
    series = [metric("web", 10, usage[0]), metric("db", 10, usage[1])]
    assert (await accused(metrics=series))[0] == "unknown"


async def test_a_share_of_a_resource_is_no_shortage_while_most_is_left() -> None:
    assert (await accused(metrics=[metric("db", 1, 12, "cpu_percent"), metric("web", 1, 1, "cpu_percent")]))[
        0
    ] == "unknown"
    assert (await accused(metrics=[metric("db", 1, 92, "cpu_percent"), metric("web", 1, 1, "cpu_percent")]))[
        0
    ] == "db"


async def test_a_way_that_became_long_is_a_delay_of_the_network() -> None:
    service, cause = await accused(spans=spans(900.0))
    assert (service, "network delay" in cause) == ("cart", True)


async def test_an_own_time_that_only_one_service_has_lost_accuses_it_when_nothing_else_does() -> None:
    service, cause = await accused(spans=spans(2.0, cart_ms=900))
    assert (service, "slow by itself" in cause) == ("cart", True)
    assert (await accused(errors("db", "disk full", 12), spans=spans(2.0, cart_ms=900)))[0] == "db"


async def test_an_own_time_that_rose_a_little_accuses_nobody() -> None:
    assert (await accused(spans=spans(2.0, cart_ms=80)))[0] == "unknown"


@pytest.mark.parametrize(("db_ms", "accuses"), [(20, ["cart"]), (600, [])])
def test_an_own_time_accuses_when_it_stands_out_from_that_of_others(db_ms: float, accuses: list[str]) -> None:
    found = [
        Usual(name, "read", 50, 0.0, own_ms, 20, 20, own_ms=own_ms, before_own_ms=20)
        for name, own_ms in (("cart", 900), ("db", db_ms))
    ]
    assert [one.service for one in from_own_times(found)] == accuses


async def test_new_errors_accuse_when_they_came_often() -> None:
    assert (await accused(errors("db", "journal cannot be written", 12)))[0] == "db"
    assert (await accused(errors("db", "journal cannot be written", 2)))[0] == "unknown"


async def test_a_complaint_speaks_against_the_service_that_it_names() -> None:
    said = [*errors("web", "call to cart failed", 200), *errors("mail", "cart gave no answer", 200, 9500)]
    assert (await accused(said))[0] == "cart"


async def test_an_address_names_the_service_that_people_say_has_it() -> None:
    said = [
        *errors("web", "10.0.0.7:9042: refused", 200),
        *errors("mail", "no answer of 10.0.0.7", 200, 9500),
    ]
    assert (await accused(said))[0] != "cart"
    told = "it is slow. Nodes: web (10.0.0.5), cart (10.0.0.7)."
    assert (await accused(said, description=told))[0] == "cart"


async def test_what_a_caller_complains_of_is_passed_on_where_people_tell_whom_it_calls() -> None:
    said = [*errors("web", "request failed", 90), *errors("db", "journal cannot be written", 12, 9500)]
    assert (await accused(said))[0] == "web"
    told = "it is slow. Calls: web mail -> cart db."
    assert (await accused(said, description=told))[0] == "db"
    assert (await accused(errors("web", "too many open files", 90), description=told))[0] == "web"


async def test_events_of_a_cluster_count_by_how_often_they_were_seen() -> None:
    event = {"id": "e1", "timestamp": clock(400), "service": "db", "object": "Pod/db-0", "reason": "BackOff",
             "message": "Back-off restarting failed container", "type": "Warning", "count": 9}  # fmt: skip
    assert (await accused(events=[event]))[0] == "db"

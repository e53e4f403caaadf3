"""`script:NAME`: named policies that are code, played through the real tools.

`SCRIPTED` maps the NAME of `--policy script:NAME` to a factory that gets dice seeded by scenario and sample,
and the rules of the episode, and makes one Chat per episode. The baselines see no more than a model would: a
page of results at a time, within its turns. For rules over the full data, see `chaos.baselines`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager

from core.policies.contract import Access, Policy
from core.policies.demonstrator import demonstrator, investigator
from core.policies.ranking import ranker, sre_ranker
from core.policies.screen import ShownRow, ShownSpan, cursor, rows, spans
from core.policies.scripting import UNKNOWN, Answer, Call, Desk, Play, as_policy, blame, read_trace, search
from core.policies.sre.play import sre
from project_types import Chat, EpisodeConfig, Level

Factory = Callable[[random.Random, EpisodeConfig], Chat]
MAX_PAGES = 4


def unknown(desk: Desk) -> Play:
    """Gives up at once: the floor of the reward's middle band."""
    yield from ()
    return UNKNOWN


def random_service(desk: Desk) -> Play:
    """Blames the service of a row picked at random from one search without filters."""
    text = yield search()
    found = rows(text)
    services = sorted({row.service for row in found})
    if not services:
        return UNKNOWN
    service = desk.rng.choice(services)
    return blame(next(row for row in found if row.service == service))


def loudest_error(desk: Desk) -> Play:
    """Blames the service with the most ERROR lines."""
    found = yield from _pages(desk, "ERROR")
    if not found:
        return UNKNOWN
    counts: Counter[str] = Counter()
    for row in found:
        counts[row.service] += row.alike
    service = counts.most_common(1)[0][0]
    return blame(next(row for row in found if row.service == service))


def first_error(desk: Desk) -> Play:
    """Blames the earliest ERROR line."""
    found = yield from _pages(desk, "ERROR")
    return blame(min(found, key=lambda row: row.time)) if found else UNKNOWN


def rarest_warning(desk: Desk) -> Play:
    """Blames the WARN line with the fewest others like it."""
    found = yield from _pages(desk, "WARN")
    warnings = [row for row in found if row.level is Level.WARN]
    return blame(min(warnings, key=lambda row: (row.alike, row.time))) if warnings else UNKNOWN


def deepest_span(desk: Desk) -> Play:
    """Reads traces of ERROR lines and blames the deepest span that failed."""
    read = yield from _traces(desk)
    best: tuple[int, float] = (-1, 0.0)
    answer: Answer | None = None
    for found, tree in read:
        for span in tree:
            if span.failed and (span.depth, span.duration_ms) > best:
                best, answer = (span.depth, span.duration_ms), _blame_service(span.service, found)
    return answer or UNKNOWN


def slow_traces(desk: Desk) -> Play:
    """Reads traces of ERROR lines and blames the service that holds most of their spans."""
    read = yield from _traces(desk)
    counts = Counter(span.service for _, tree in read for span in tree)
    if not counts:
        return UNKNOWN
    service = counts.most_common(1)[0][0]
    return _blame_service(service, [row for found, _ in read for row in found])


SCRIPTED: Mapping[str, Factory] = {
    "unknown": as_policy(unknown),
    "random-service": as_policy(random_service),
    "loudest-error": as_policy(loudest_error),
    "first-error": as_policy(first_error),
    "rarest-warning": as_policy(rarest_warning),
    "deepest-span": as_policy(deepest_span),
    "slow-traces": as_policy(slow_traces),
    "demonstrator": as_policy(demonstrator),
    "investigator": as_policy(investigator),
    "sre": as_policy(sre),
    "ranker": as_policy(ranker),
    "sre-ranker": as_policy(sre_ranker),
}


def _pages(desk: Desk, level: str) -> Generator[Call, str, list[ShownRow]]:
    """The rows of up to MAX_PAGES pages of one search."""
    found: list[ShownRow] = []
    at: int | None = None
    for _ in range(min(MAX_PAGES, desk.calls_left)):
        text = yield search(min_level=level, **({"cursor": at} if at is not None else {}))
        found += rows(text)
        at = cursor(text)
        if at is None:
            break
    return found


def _traces(desk: Desk) -> Generator[Call, str, list[tuple[list[ShownRow], list[ShownSpan]]]]:
    """The rows and spans of the traces that the first page of ERROR lines names,
    as many as the turns allow.
    """
    text = yield search(min_level="ERROR")
    names = dict.fromkeys(row.trace for row in rows(text) if row.trace)
    read: list[tuple[list[ShownRow], list[ShownSpan]]] = []
    for name in list(names)[: max(0, min(MAX_PAGES, desk.calls_left - 1))]:
        tree = yield read_trace(name)
        read.append((rows(tree), spans(tree)))
    return read


def _blame_service(service: str, found: Iterable[ShownRow]) -> Answer:
    """Blames a service by its most severe row among those seen, or by name alone."""
    own = [row for row in found if row.service == service]
    if own:
        return blame(max(own, key=lambda row: row.level))
    return {"root_cause": f"{service} is failing", "suspected_service": service}


def policy(name: str, config: EpisodeConfig, seed: int) -> Policy:
    """A script as a policy; its dice depend on the seed, the scenario and the sample, and on nothing else."""
    factory = SCRIPTED[name]

    def chat(scenario_id: str, sample: int) -> Chat:
        return factory(random.Random(f"{seed}:{name}:{scenario_id}:{sample}"), config)

    return Policy(f"script:{name}", chat)


@asynccontextmanager
async def opened(name: str, config: EpisodeConfig, seed: int, access: Access) -> AsyncIterator[Policy]:
    """The script; there is nothing to reach."""
    yield policy(name, config, seed)

"""Kinds of lines as a search shows them: grouped, ordered, and with what differs among them.

A store counts lines by kind and service. A kind that many services wrote is one kind here; one that a few
wrote is one for each of them, because which of them said it matters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from core.log_stores.contract import Count, Kind, Line, Tally

MANY_SERVICES = 4
"""From so many services on, a kind is shown once for all of them."""
_MOST_VALUES = 4
"""Values of one place that are named; more are counted."""
_MOST_PLACES = 3
_FEW = 8
"""Different values of one place up to which they are worth naming."""


class Group(NamedTuple):
    """Lines shown as one row."""

    kind: int
    level: int
    times: int
    first: tuple[int, int]
    services: tuple[str, ...]
    """The one that wrote most lines first."""


class Grouped(NamedTuple):
    """The kinds a query matches, in the order they are shown."""

    groups: Sequence[Group]
    total: Count


def grouped(tallies: Iterable[Tally]) -> Grouped:
    """Group what a store counted: the worst level first, then the rarest, then the earliest."""
    by_kind: dict[int, list[Tally]] = {}
    for tally in tallies:
        by_kind.setdefault(tally.kind, []).append(tally)
    groups: list[Group] = []
    for kind, parts in by_kind.items():
        if len(parts) >= MANY_SERVICES:
            groups.append(_one_of_all(kind, parts))
        else:
            groups += [Group(kind, one.level, one.times, one.first, (one.service,)) for one in parts]
    groups.sort(key=lambda group: (-group.level, group.times, group.first))
    return Grouped(groups, Count(sum(group.times for group in groups), len(groups)))


def kinds_of(
    groups: Sequence[Group], lines: Sequence[Line], alike: Callable[[int, Sequence[str]], Sequence[str]]
) -> list[Kind]:
    """Return groups with the first line of each. `alike` gives the texts of a kind
    that these services wrote.
    """

    def shown(group: Group, line: Line) -> Kind:
        differs = difference(alike(group.kind, group.services)) if group.times > 1 else ()
        return Kind(line, group.times, group.services, differs)

    return list(map(shown, groups, lines))


def _one_of_all(kind: int, parts: Sequence[Tally]) -> Group:
    ranked = sorted(parts, key=lambda one: (-one.times, one.service))
    times, first = sum(one.times for one in parts), min(one.first for one in parts)
    return Group(kind, parts[0].level, times, first, tuple(one.service for one in ranked))


_APART = str.maketrans(dict.fromkeys(",;{}()[]|", " "))
_ID = re.compile(r"(?=[0-9a-f-]*[a-f])(?=[0-9a-f-]*[0-9])[0-9a-f-]{8,}")
"""Nobody learns from the ids of single things."""
_KEY = re.compile(r"\"?(?P<key>[A-Za-z_][\w.-]*)\"?[:=]")


def difference(texts: Sequence[str]) -> tuple[str, ...]:
    """Return what differs among alike lines where it takes few values: '200 x20, 500 x3'."""
    # stored lines hold no line break; translating them all at once takes half the time
    found = [line.split() for line in "\n".join(texts).translate(_APART).split("\n")]
    usual = Counter(map(len, found)).most_common(1)[0][0]
    before: Sequence[str] = ()
    told: list[str] = []
    for place in zip(*(row for row in found if len(row) == usual), strict=True):
        same = place.count(place[0]) == len(place)
        if not same and (text := _told(Counter(place), before)):
            told.append(text)
        before = place
    return tuple(told[:_MOST_PLACES])


def _told(counts: Counter[str], before: Sequence[str]) -> str:
    """Name the values of one place; nothing when they are one, or as good as all different."""
    lines = counts.total()
    if any(map(_ID.search, counts)):
        return ""
    words = not any(map(str.isdigit, "".join(counts)))
    telling = 1 < len(counts) <= _FEW and (words or lines >= 2 * len(counts))
    if not telling:
        return ""
    key = _common_key([*counts]) or _common_key(before)
    plain = Counter[str]()
    for value, times in counts.items():
        plain[_plain(_KEY.sub("", value, count=1))] += times
    named = sorted(plain.items(), key=lambda one: (-one[1], one[0]))
    told = ", ".join(f"{value} x{times}" for value, times in named[:_MOST_VALUES])
    left = f", {len(named) - _MOST_VALUES} more" if len(named) > _MOST_VALUES else ""
    return f"{f'{key}: ' if key else ''}{told}{left}"


def _common_key(values: Sequence[str]) -> str:
    """The name in front of the values, such as status in '"status":' and in 'status=ok'."""
    found = _KEY.match(values[0]) if values else None
    if not found or not all(value.startswith(found[0]) for value in values):
        return ""
    return found["key"]


def _plain(value: str) -> str:
    """A value without quotes, cut to a few letters."""
    value = value.strip("\"'.:=") or '""'
    return value if len(value) <= 24 else f"{value[:20]}..."

"""Masks that belong together: lines that differ in a plain word, where many words have stood in that place.

A mask blanks what looks like a value. A user's name, a host or a file looks like a word, so lines about
different users have different masks. Here masks of one length that are equal but for one word are joined when
the word looks like a name (a path, a host, something with a number in it), when the word before it announces
one ("user root"), or when so many different words stood there that none of them is the point.

After P. He et al., "Drain: an online log parsing approach with fixed depth tree" (ICWS 2017): the idea that
lines of one length with most words in common share a template. The rules of joining are our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set

from core.log_stores.masks import BLANK

ANY = "*"
"""A word that varies."""
_MANY = 10
"""Different plain words in one place from which on they are values."""
_FEW_NAMES = 2
_MARKS = ":;=,.\"'()[]{}"
_ROUNDS = 3
"""Words of a mask that may vary: each round finds one more."""
_LONGEST = 60
"""Words of a mask beyond which it is a message of its own."""
_NAME = re.compile(r".*[A-Za-z0-9][./\\@~$_:-]+[A-Za-z0-9].*|[/\\~].*")
"""A path, a host, a class, an address: words joined by marks."""
_ANNOUNCES = frozenset(
    {"user", "users", "for", "host", "hostname", "from", "by", "to", "named", "name", "client", "datasource"}
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""What is done to an address of HTTP: the address is the point."""

Mask = tuple[int, str]
"""A level and a mask."""


def families(masks: Iterable[Mask], services: Iterable[str] = ()) -> dict[Mask, Mask]:
    """Return those masks that belong to another one, and to which; a family is named by its first member.

    Which service a line speaks of is its point, so the name of a service never varies. Takes time in
    proportion to the words of all masks.
    """
    constant = frozenset(services)
    words = {mask: tuple(mask[1].split()) for mask in masks}
    words = {mask: found for mask, found in words.items() if 1 < len(found) <= _LONGEST}
    chief: dict[Mask, Mask] = {}
    for _ in range(_ROUNDS):
        joined = _joined(words, constant)
        if not joined:
            break
        for mask, (first, template) in joined.items():
            words.pop(mask, None)
            words[first] = template
            if mask != first:
                chief[mask] = first
    return {mask: _root(chief, mask) for mask in chief}


def _root(chief: Mapping[Mask, Mask], mask: Mask) -> Mask:
    while mask in chief:
        mask = chief[mask]
    return mask


Words = tuple[str, ...]


def _joined(words: Mapping[Mask, Words], constant: Set[str]) -> dict[Mask, tuple[Mask, Words]]:
    """Masks that are equal but for one word that may vary: their first one, and its words now."""
    lengths: dict[tuple[int, int], list[Mask]] = {}
    for mask, found in words.items():
        lengths.setdefault((mask[0], len(found)), []).append(mask)
    joined: dict[Mask, tuple[Mask, Words]] = {}
    for alike in lengths.values():
        if len(alike) < _FEW_NAMES:
            continue
        for place, template, members in _equal_but_for_one(words, alike):
            members = [mask for mask in members if mask not in joined]
            values = {words[mask][place] for mask in members}
            if any(value.strip(_MARKS) in constant for value in values):
                continue
            if len(values) >= _needed(template, place, values):
                joined |= dict.fromkeys(members, (members[0], template))
    return joined


def _equal_but_for_one(
    words: Mapping[Mask, Words], alike: Iterable[Mask]
) -> Iterable[tuple[int, Words, list[Mask]]]:
    """Groups of masks that differ in one place only: the place, the words with it open, the masks."""
    groups: dict[tuple[int, Words], list[Mask]] = {}
    for mask in alike:
        found = words[mask]
        for place in range(len(found)):
            groups.setdefault((place, (*found[:place], ANY, *found[place + 1 :])), []).append(mask)
    several = [
        (place, template, members) for (place, template), members in groups.items() if len(members) > 1
    ]
    # the place where most masks meet varies most surely
    return sorted(several, key=lambda group: -len(group[2]))


def _needed(template: Words, place: int, values: Iterable[str]) -> int:
    """How many different words in a place make it one that varies."""
    told = sum(word not in (BLANK, ANY) for word in template)
    before = template[place - 1].strip(_MARKS) if place else ""
    if not told or before in _METHODS:  # nothing would be left of what the lines say
        return 1_000_000
    if before.lower() in _ANNOUNCES or all(
        BLANK in word or ANY in word or _NAME.fullmatch(word) for word in values
    ):
        return _FEW_NAMES
    return _MANY

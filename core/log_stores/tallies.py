"""How many lines of each kind and service stand in each granule of a growing file, so
that few are read to count.

A granule that lies within the window is counted from its tallies. Lines are read only where the window ends,
in the first and the last granule of each writer. Words are decided once for a kind whose lines all hold the
same ones, numbers left out; that is looked up in one of its lines. The lines of other kinds, with a user's
name or an id with letters in them, are read one by one. Log compressors answer searches in this way.

Following K. Rodrigues et al., "CLP: Efficient and Scalable Search on Compressed Text Logs" (OSDI
2021): the idea that a word is looked for in the fixed part of a kind first. What is fixed is
decided here in our own way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core.log_stores.contract import LogQuery, Tally
from core.log_stores.granules import BITS, SOURCE, WITHIN, Rows, can_hold, ends
from core.log_stores.masks import mask_keys

_COUNT = f"""
INSERT OR REPLACE INTO tallies SELECT row >> {BITS}, kind, service, level, count(*), min(at_us), row FROM logs
    WHERE row BETWEEN {{}} AND {{}} GROUP BY row >> {BITS}, kind, service"""
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS tallies(granule INTEGER NOT NULL, kind INTEGER NOT NULL, service TEXT NOT NULL,
    level INTEGER NOT NULL, times INTEGER NOT NULL, first_us INTEGER NOT NULL, first_row INTEGER NOT NULL,
    PRIMARY KEY(granule, kind, service)) WITHOUT ROWID;
{_COUNT.format(0, (1 << 63) - 1)};
CREATE TABLE IF NOT EXISTS kind_words(scenario INTEGER NOT NULL, kind INTEGER NOT NULL, words BLOB,
    PRIMARY KEY(scenario, kind)) WITHOUT ROWID;
INSERT OR IGNORE INTO kind_words SELECT DISTINCT scenario, kind, NULL FROM kinds;
"""
"""`words` is null where the lines of a kind differ in them, or where an earlier version stored them."""
_SAME_WORDS = "(SELECT kind FROM kind_words WHERE scenario = ? AND words IS NOT NULL)"
"""Takes the incident's number."""
_WITH_LETTER = re.compile(rb"[0-9]*[A-Za-z\x80-\xff][0-9A-Za-z\x80-\xff]*")
_DIGITS = re.compile(rb"[0-9]+")
Sql = tuple[str, list[Any]]
"""A query or a condition, and its parameters."""


def counted(connection: Any, first_row: int, last_row: int) -> None:
    """Count the lines from a row on, together with those before it in the same granule."""
    connection.execute(_COUNT.format("?", "?"), (first_row >> BITS << BITS, last_row))


def words_known(connection: Any, number: int, kinds: Sequence[int], texts: Sequence[str]) -> None:
    """Note which kinds of an incident still hold the same words in all their lines, with these ones."""
    of_incident = "SELECT kind, words FROM kind_words WHERE scenario = ?"
    known: dict[int, bytes | None] = dict(connection.execute(of_incident, (number,)))
    found = _same_words({*zip(kinds, mask_keys(texts), strict=True)}, known)
    connection.executemany(
        "INSERT OR REPLACE INTO kind_words VALUES (?,?,?)",
        [(number, kind, words) for kind, words in found.items() if words is None or kind not in known],
    )


def _same_words(
    lines: Iterable[tuple[int, bytes]], known: Mapping[int, bytes | None]
) -> dict[int, bytes | None]:
    """Return the words of each kind among lines, as a digest; None where two lines differ, now or before."""
    found: dict[int, bytes | None] = {}
    differing = {kind for kind, words in known.items() if words is None}
    for kind, key in lines:
        if kind in differing:
            continue
        words = _words(key)
        if found.setdefault(kind, known.get(kind, words)) != words:
            found[kind] = None
            differing.add(kind)
    return found


def _words(key: bytes) -> bytes:
    """Return a digest of all that a word of letters can be found in: two lines with one
    hold the same such words.

    What stands between is left out, and so are numbers. Digits inside a word count as one, whatever they are.
    """
    words = _DIGITS.sub(b"0", b" ".join(_WITH_LETTER.findall(key)))
    return hashlib.blake2b(words, digest_size=16).digest()


def asks_for_letters(query: LogQuery) -> bool:
    """Whether lines that hold the same words, numbers left out, all match a query's words or all do not."""
    return all(word.isascii() and word.isalpha() for word in query.words)


def of_granules(block: Rows, query: LogQuery, number: int, words: Sql) -> Sql:
    """Return a query that counts what matches in granules within the window, by kind and service.

    Args:
        block: the incident's rows.
        query: what is asked for; its words satisfy `asks_for_letters`.
        number: the incident's.
        words: the condition on a line that these words set.
    """
    where, parameters = can_hold(block, query)
    conditions = [where, WITHIN, "tallies.granule = granules.granule"]
    parameters += ends(query)
    if query.service is not None:
        conditions.append("service = ?")
        parameters.append(query.service)
    if query.min_level is not None:
        conditions.append("level >= ?")
        parameters.append(query.min_level.value)
    # names of their own, because a condition on a line names the line's
    names = "kind AS of_kind, service AS of_service, level AS of_level, sum(times) AS times, min(tallies.first_us), first_row"
    tables = f"{SOURCE} CROSS JOIN tallies WHERE {' AND '.join(conditions)}"
    counts = f"SELECT {names} FROM {tables} GROUP BY kind, service"
    if not query.words:
        return counts, parameters
    condition, values = words
    one_line = f"CROSS JOIN logs ON logs.row = first_row WHERE of_kind IN {_SAME_WORDS} AND {condition}"
    return f"SELECT counts.* FROM ({counts}) AS counts {one_line}", [*parameters, number, *values]


def besides(query: LogQuery, number: int) -> Sql:
    """Return the condition on granules and their lines that leaves those which
    `of_granules` does not count.
    """
    outside = f"NOT ({WITHIN})"
    if not query.words:
        return outside, ends(query)
    open_here = (
        "EXISTS (SELECT 1 FROM tallies WHERE tallies.granule = granules.granule "
        f"AND tallies.kind NOT IN {_SAME_WORDS})"
    )
    # the first is asked once for a granule, the second for each line of it
    condition = f"({outside} OR {open_here}) AND ({outside} OR logs.kind NOT IN {_SAME_WORDS})"
    return condition, [*ends(query), number] * 2


def together(counts: Iterable[tuple[int, str, int, int, int, int]]) -> list[Tally]:
    """Return counts as tallies, those of one kind and service as one."""
    found: dict[tuple[int, str], Tally] = {}
    for kind, service, level, times, at_us, row in counts:
        first = (at_us, row)
        if other := found.get((kind, service)):
            times, first = times + other.times, min(first, other.first)
        found[kind, service] = Tally(kind, service, level, times, first)
    return list(found.values())

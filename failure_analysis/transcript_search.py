"""Finds words in stored transcripts, which are not in failures.db: in the JSONL files where they lie.

The files are read as bytes, because comparing bytes is many times as fast as parsing episodes. A text is
looked for as JSON writes it. How much is read is bounded; what lies beyond is not searched, and said.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

from failure_analysis.store import JOINED, FailureStore, Wanted

MOST_BYTES = 512 << 20
MOST_FOUND = 20_000
LEAST_CHARACTERS = 3
"""Shorter texts stand in nearly every transcript."""


class Found(NamedTuple):
    """Episodes in whose transcript a text occurs."""

    ids: tuple[str, ...]
    whole: bool
    """Whether everything was searched."""


def find(store: FailureStore, text: str, wanted: Wanted) -> Found:
    """Episodes among those wanted (whatever its `text` says) whose line of JSON holds a
    text; case does not matter.
    """
    if len(text.strip()) < LEAST_CHARACTERS or not store.path.exists():
        return Found((), True)
    where, values = wanted.model_copy(update={"text": None}).sql()
    query = f"SELECT e.id, p.file, p.offset, p.length FROM {JOINED} WHERE p.id IS NOT NULL AND {where} ORDER BY p.file, p.offset"
    files: dict[str, list[tuple[int, int, str]]] = {}
    with store.reading() as database:
        for id, file, offset, length in database.execute(query, values):
            files.setdefault(file, []).append((offset, length, id))
    found: list[str] = []
    read = 0
    for file, lines in files.items():
        if read >= MOST_BYTES or len(found) >= MOST_FOUND:
            return Found(tuple(found), False)
        content = _content(store.folder / file, MOST_BYTES - read)
        read += len(content)
        found += _within(content, _forms(text), lines)
    return Found(tuple(found[:MOST_FOUND]), True)


def _content(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most).lower()
    except OSError:  # an episode whose file is gone has no transcript
        return b""


def _forms(text: str) -> list[bytes]:
    """The text as JSON may write it, in lower case: with letters or with escapes for those beyond ASCII."""
    written = [json.dumps(text.strip(), ensure_ascii=ascii)[1:-1].encode() for ascii in (False, True)]
    return list(dict.fromkeys(form.lower() for form in written))


def _within(content: bytes, forms: list[bytes], lines: list[tuple[int, int, str]]) -> list[str]:
    """The ids of the lines in which a form stands; `lines` are offset, length and id, in order."""
    starts = [offset for offset, _, _ in lines]
    hits: dict[str, None] = {}
    for form in forms:
        at = content.find(form)
        while at >= 0:
            place = bisect_right(starts, at) - 1
            if place < 0:
                at = content.find(form, starts[0])
                continue
            offset, length, id = lines[place]
            if at + len(form) <= offset + length:
                hits[id] = None
            at = content.find(form, max(at + 1, offset + length))
    return list(hits)

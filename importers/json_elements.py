"""Read large JSON without holding it: the elements of the arrays that are wanted, one at a time.

A file may hold one document or many, one a line or over many lines. Only one element is in memory. What
nobody wants is parsed and passed over.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from core.archives import Readable
from importers.counting import ImportTrouble

BLOCK_BYTES = 1 << 18
MOST_CHARACTERS = 256 << 20
"""The longest element that is read."""
_SPACE = re.compile(r"[\s\ufeff]*")
Path = tuple[str, ...]


class Element(NamedTuple):
    """A value at one of the wanted paths; for an array, one of its elements."""

    path: Path
    value: Any
    line: int
    """Where it begins, from 1."""


def elements(content: Readable, name: str, wanted: Sequence[Path]) -> Iterator[Element]:
    """Yield what stands at the wanted paths of every document, in the order of the file.

    Args:
        content: UTF-8.
        name: names the file in errors.
        wanted: paths of keys from the top, such as ("data", "result"); () is a document that is an array.

    Raises:
        ImportTrouble: it is not JSON; names the line.
    """
    reader = _Reader(content, name)
    while reader.peek():
        yield from _value(reader, (), tuple(wanted))


def _value(reader: _Reader, path: Path, wanted: tuple[Path, ...]) -> Iterator[Element]:
    """Read one value, and yield what is wanted of it."""
    begins = reader.peek()
    if path in wanted and begins == "[":
        for line in reader.each_item():
            yield Element(path, reader.parse(), line)
    elif begins == "{" and any(one[: len(path)] == path and len(one) > len(path) for one in wanted):
        for key in reader.each_key():
            yield from _value(reader, (*path, key), wanted)
    else:
        line, value = reader.line(), reader.parse()
        if path in wanted:
            yield Element(path, value, line)


class _Reader:
    """Text of a stream, and the place that was reached."""

    def __init__(self, content: Readable, name: str) -> None:
        self._content, self._name = content, name
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text, self._at, self._ended = "", 0, False
        self._lines, self._counted = 0, 0
        """Newlines before a place of the text, and that place: each is counted once."""

    def _more(self, at_least: int = BLOCK_BYTES) -> bool:
        """Read on; False at the end."""
        if self._ended:
            return False
        self.line()
        parts, got = [self._text[self._at :]], 0
        while got < at_least and not self._ended:
            block = self._content.read(BLOCK_BYTES)
            self._ended = not block
            text = self._decode(block, self._ended)
            parts.append(text)
            got += len(text)
        self._text, self._at, self._counted = "".join(parts), 0, 0
        return got > 0

    def line(self) -> int:
        """Return the number of the line that was reached."""
        self._lines += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._lines + 1

    def peek(self) -> str:
        """Return the next character that is no space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _take(self, expected: str) -> str:
        found = self.peek()
        if not found or found not in expected:
            self._refuse(f"expected {' or '.join(expected)}, found {found or 'the end'}")
        self._at += 1
        return found

    def _refuse(self, why: str) -> NoReturn:
        raise ImportTrouble(f"{self._name}:{self.line()}: is no whole JSON ({why}); mend or export it again")

    def each_item(self) -> Iterator[int]:
        """Yield the line of each element of an array; who asks parses it before the next."""
        self._take("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            self.peek()
            yield self.line()
            if self._take(",]") == "]":
                return

    def each_key(self) -> Iterator[str]:
        """Yield each key of an object; who asks reads its value before the next."""
        self._take("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            key = self.parse()
            self._take(":")
            yield str(key)
            if self._take(",}") == "}":
                return

    def parse(self) -> Any:
        """Parse the value that begins here, reading on as long as it is not whole."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                self._refuse("it is nested too deep")
            except json.JSONDecodeError as trouble:
                if self._ended or self._is_wrong(trouble):
                    self._refuse(trouble.msg)
            else:
                if end < len(self._text) or self._ended:  # a number at the end of a block may go on
                    self._at = end
                    return value
            waiting = len(self._text) - self._at
            if waiting > MOST_CHARACTERS:
                self._refuse(f"one element has more than {MOST_CHARACTERS >> 20} MB")
            # twice as much each time, so that parsing again and again costs no more than parsing twice
            self._more(max(BLOCK_BYTES, waiting))

    def _is_wrong(self, trouble: json.JSONDecodeError) -> bool:
        """Whether more text would not help: the trouble is not at the end of what was read."""
        return not trouble.msg.startswith("Unterminated") and trouble.pos < len(self._text) - _LONGEST_WORD


_LONGEST_WORD = len("-Infinity")
_DECODER = json.JSONDecoder(strict=False)

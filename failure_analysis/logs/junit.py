"""Failed test cases of a JUnit XML file, one at a time, however large or hostile the file is.

A DOCTYPE is refused, so that no entity can be declared; nesting, attributes and texts are bounded, and the
file is read in pieces. What was read before a mistake in the XML counts. Any dialect with
testcase/failure/error is understood (pytest, Surefire, Jest, go-junit-report ...); passed and skipped cases
are counted only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from failure_analysis.records import StoreError

PIECE = 1 << 16
DEEPEST = 50
LONGEST_TOKEN = 8 << 20
"""Bytes that one tag or one stretch of text may take before the file is given up."""
LONGEST_TEXT = 70_000
"""Characters of a failure's text that are kept: its end."""
_FAILED = {"failure", "error", "rerunFailure", "rerunError", "flakyFailure", "flakyError"}


class Case(NamedTuple):
    """A test case that failed."""

    name: str
    message: str
    text: str
    """The text of the failure and the ends of its output."""
    at: datetime | None
    """When its suite ran, if the file says so with a time zone."""
    flaky: bool
    """It passed when it was run again."""


class JUnitTrouble(StoreError):
    """The file is no JUnit XML as far as it was read; the text says where."""


def looks_like_junit(path: Path) -> bool:
    """Whether a file begins as JUnit XML does."""
    with path.open("rb") as file:
        start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(b"<") and (b"<testsuite" in start or b"<!DOCTYPE" in start)


def failed_cases(path: Path) -> Iterator[Case]:
    """The failed cases of a file in order. Raises JUnitTrouble at the place where it cannot be read on."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    read = 0
    with path.open("rb") as file:
        while True:
            piece = file.read(PIECE)
            try:
                parser.Parse(piece, not piece)
            except expat.ExpatError as trouble:
                yield from reader.take()
                raise JUnitTrouble(
                    f"{path}: no XML any more at line {trouble.lineno} ({trouble}); read up to there"
                ) from trouble
            except _RefusedError as trouble:
                raise JUnitTrouble(f"{path}: {trouble}; refused") from trouble
            yield from reader.take()
            if not piece:
                return
            read += len(piece)
            if read - parser.CurrentByteIndex > LONGEST_TOKEN:
                raise JUnitTrouble(
                    f"{path}: one tag takes more than {LONGEST_TOKEN >> 20} MiB; read up to there"
                )


class _RefusedError(Exception):
    """Something no JUnit file needs."""


@dataclass
class _Reader:
    """What the parser reports, reduced to failed cases."""

    depth: int = 0
    case: str | None = None
    at: datetime | None = None
    inside: str = ""
    """The element whose text is kept."""
    message: str = ""
    flaky: bool = False
    texts: list[str] = field(default_factory=list)
    kept: int = 0
    failed: bool = False
    done: list[Case] = field(default_factory=list)

    def doctype(self, *_: object) -> None:
        raise _RefusedError("has a DOCTYPE, which JUnit XML never needs")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _RefusedError(f"is nested more than {DEEPEST} deep")
        if name == "testsuite":
            self.at = _moment(attributes.get("timestamp", "")) or self.at
        elif name == "testcase":
            parts = (attributes.get("classname", ""), attributes.get("name", ""))
            self.case = "::".join(part[:500] for part in parts if part) or "(a test without a name)"
            self.message, self.flaky, self.failed, self.inside, self.kept = "", False, False, "", 0
            self.texts.clear()
        elif self.case is not None and name in _FAILED:
            self.failed, self.flaky = (
                True,
                name.startswith("flaky") or (self.flaky and name.startswith("rerun")),
            )
            self.inside = name
            said = attributes.get("message", "") or attributes.get("type", "")
            self.message = self.message or said[:LONGEST_TEXT]
        elif self.case is not None and name in {"system-out", "system-err"}:
            self.inside = name

    def text(self, data: str) -> None:
        if not self.inside or self.case is None:
            return
        self.texts.append(data)
        self.kept += len(data)
        if self.kept > 2 * LONGEST_TEXT:
            end = "".join(self.texts)[-LONGEST_TEXT:]
            self.texts, self.kept = [end], len(end)

    def end(self, name: str) -> None:
        self.depth -= 1
        if name == self.inside:
            self.inside = ""
            self.texts.append("\n")
        if name == "testcase":
            if self.failed and self.case is not None:
                text = "".join(self.texts)[-LONGEST_TEXT:].strip()
                message = self.message or next(
                    (line for line in text.splitlines() if line.strip()), "the test failed"
                )
                self.done.append(Case(self.case, message, text, self.at, self.flaky))
            self.case = None

    def take(self) -> Iterator[Case]:
        done, self.done = self.done, []
        return iter(done)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None

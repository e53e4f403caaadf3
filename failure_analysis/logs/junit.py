"""Failed test cases of a JUnit XML file, one at a time, however large or hostile the file is.

Any dialect with testcase/failure/error is understood (pytest, Surefire, Jest, go-junit-report ...), also an
error of a whole suite, and a suite that counts more failures than it names. What was read before a mistake in
the XML counts, and the mistake is raised. A DOCTYPE is refused, so that no entity can be declared; nesting,
attributes and texts are bounded, and the file is read in pieces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from failure_analysis.logs.xml_text import first_element, texts
from failure_analysis.records import StoreError

DEEPEST = 50
LONGEST_TOKEN = 8 << 20
"""Bytes that one tag or one stretch of text may take before the file is given up."""
LONGEST_TEXT = 70_000
"""Characters of a failure's text that are kept: its end."""
LONGEST_NAME = 500
_COUNTED = {"failure", "error"}
_FAILED = {*_COUNTED, "rerunFailure", "rerunError", "flakyFailure", "flakyError"}
_SUITES = {"testsuite", "testsuites"}


class Case(NamedTuple):
    """A test case that failed, or a suite that did."""

    name: str
    message: str
    text: str
    """The text of the failure and the ends of its output."""
    at: datetime | None
    """When its suite ran, if the file says so with a time zone."""
    flaky: bool
    """It passed when it was run again."""
    suite: str = ""
    """The names of the suites it is in, outermost first."""
    place: int = 1
    """Which of the cases of this suite and name it is."""
    line: int = 0


class JUnitTrouble(StoreError):
    """The file is no JUnit XML as far as it was read; the text says where."""


def looks_like_junit(path: Path) -> bool:
    """Whether a file begins as JUnit XML does, or is called XML and begins as nothing at all."""
    element = first_element(path)
    return element in {*_SUITES, "!DOCTYPE"} or (not element and path.suffix.lower() == ".xml")


def failed_cases(path: Path) -> Iterator[Case]:
    """The failed cases of a file in order. Raises JUnitTrouble at the place where it cannot be read on."""
    parser = expat.ParserCreate()
    reader = _Reader(parser)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        fed = 0
        for text in texts(path):
            parser.Parse(text, False)
            yield from reader.take()
            fed += len(text.encode("utf-8", "surrogatepass"))
            if fed - parser.CurrentByteIndex > LONGEST_TOKEN:
                raise JUnitTrouble(
                    f"{path}: one tag takes more than {LONGEST_TOKEN >> 20} MiB; read up to there"
                )
        parser.Parse("", True)
    except expat.ExpatError as trouble:
        reader.broke_off()
        yield from reader.take()
        raise JUnitTrouble(
            f"{path}: no XML any more at line {trouble.lineno} ({trouble}); read up to there"
        ) from trouble
    except _RefusedError as trouble:
        raise JUnitTrouble(f"{path}: {trouble}; refused") from trouble
    yield from reader.take()


class _RefusedError(Exception):
    """Something no JUnit file needs."""


@dataclass
class _Suite:
    """A suite that is being read."""

    name: str
    declared: int
    """Failures and errors that it counts itself."""
    line: int
    seen: int = 0
    """Those that were found in it."""


@dataclass
class _Found:
    """A case, or a suite, that is being read."""

    name: str
    line: int
    message: str = ""
    failed: bool = False
    flaky: bool = False
    texts: list[str] = field(default_factory=list)
    kept: int = 0

    def add(self, data: str) -> None:
        self.texts.append(data)
        self.kept += len(data)
        if self.kept > 2 * LONGEST_TEXT:
            end = "".join(self.texts)[-LONGEST_TEXT:]
            self.texts, self.kept = [end], len(end)


@dataclass
class _Reader:
    """What the parser reports, reduced to failed cases."""

    parser: expat.XMLParserType
    depth: int = 0
    at: datetime | None = None
    suites: list[_Suite] = field(default_factory=list)
    case: _Found | None = None
    inside: str = ""
    """The element whose text is kept."""
    done: list[Case] = field(default_factory=list)
    places: Counter[tuple[str, str]] = field(default_factory=Counter)

    def doctype(self, *_: object) -> None:
        raise _RefusedError("has a DOCTYPE, which JUnit XML never needs")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _RefusedError(f"is nested more than {DEEPEST} deep")
        line = self.parser.CurrentLineNumber
        if name in _SUITES:
            self.at = _moment(attributes.get("timestamp", "")) or self.at
            self.suites.append(_Suite(attributes.get("name", "")[:LONGEST_NAME], _declared(attributes), line))
        elif name == "testcase":
            parts = (attributes.get("classname", ""), attributes.get("name", ""))
            shown = "::".join(part[:LONGEST_NAME] for part in parts if part)
            self.case, self.inside = _Found(shown or "(a test without a name)", line), ""
        elif name in _FAILED:
            self._failed(name, attributes, line)
        elif self.case is not None and name in {"system-out", "system-err"}:
            self.inside = name

    def _failed(self, name: str, attributes: dict[str, str], line: int) -> None:
        if self.case is None:  # of the suite itself
            suite = self.suites[-1].name if self.suites else ""
            self.case = _Found(suite or "(a suite without a name)", line)
        case = self.case
        flaky = name.startswith("flaky") or (case.flaky and name.startswith("rerun"))
        case.failed, case.flaky, self.inside = True, flaky, name
        said = attributes.get("message", "") or attributes.get("type", "")
        case.message = case.message or said[:LONGEST_TEXT]
        if name in _COUNTED:
            for suite_around in self.suites:
                suite_around.seen += 1

    def text(self, data: str) -> None:
        if self.inside and self.case is not None:
            self.case.add(data)

    def end(self, name: str) -> None:
        self.depth -= 1
        of_suite = name == self.inside and name in _FAILED and self.case is not None
        if name == self.inside:
            self.inside = ""
            if self.case is not None:
                self.case.add("\n")
        if name == "testcase" or (of_suite and self._is_of_suite()):
            self._close_case()
        if name in _SUITES and self.suites:
            self._close_suite(self.suites.pop(), name)

    def _is_of_suite(self) -> bool:
        """Whether what failed is a suite: its element stands right inside it."""
        return self.depth == len(self.suites)

    def _close_case(self) -> None:
        case, self.case = self.case, None
        if case is None or not case.failed:
            return
        text = "".join(case.texts)[-LONGEST_TEXT:].strip()
        first_line = next((line for line in text.splitlines() if line.strip()), "the test failed")
        self._add(case.name, case.message or first_line, text, case.line, flaky=case.flaky)

    def _close_suite(self, suite: _Suite, element: str) -> None:
        if suite.declared <= suite.seen or element == "testsuites":  # a sum over suites says nothing more
            return
        message = f"the suite counts {suite.declared} failures and errors and names {suite.seen}"
        self._add(suite.name or "(a suite without a name)", message, "", suite.line)
        for around in self.suites:
            around.seen += suite.declared - suite.seen

    def _add(self, name: str, message: str, text: str, line: int, *, flaky: bool = False) -> None:
        suite = " / ".join(one.name for one in self.suites if one.name)
        self.places[suite, name] += 1
        self.done.append(Case(name, message, text, self.at, flaky, suite, self.places[suite, name], line))

    def broke_off(self) -> None:
        """Count the case that was being read when the file broke off, if it had failed by then."""
        self._close_case()

    def take(self) -> Iterator[Case]:
        done, self.done = self.done, []
        return iter(done)


def _declared(attributes: dict[str, str]) -> int:
    counts = (attributes.get("failures", ""), attributes.get("errors", ""))
    return sum(int(count) for count in counts if count.isascii() and count.isdigit() and len(count) < 9)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None

"""What in this code, configuration or scenario set has failed before, before it runs again.

Reads the file and the stored failures; runs nothing. A finding is a fact: this file was named in a failure,
this module could not be imported, this key was refused, this fault is mostly not found. Whether it fails
again is not known. Groups that were marked as fixed are named and count for nothing.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from core.intervals import share_of
from failure_analysis.notes import NOTHING_SAID, Notes
from failure_analysis.records import Experiment, ExperimentType, FailureCategory, StoreError
from failure_analysis.store import LARGEST_PAGE, FailureStore, Wanted
from project_types import Frozen, ScenarioError, read_scenario

LARGEST_FILE = 4 << 20
CONFIGURATIONS = {".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".env"}
MOST_KEYS = 20_000
"""Of one configuration: aliases can make few lines stand for many."""
LEAST_TRIED = 4
MOSTLY = 0.5
"""Share of failed episodes from which on a fault counts as one that is mostly not found."""
_QUOTED = re.compile(r"['\"`]([A-Za-z_][\w.-]{2,60})['\"`]")
_FORBIDDEN = re.compile(
    r"forbidden (?:import|module|attribute|call|function)s?(?: from)?:? ([\w., ]{1,200})", re.IGNORECASE
)
_MISSING = re.compile(r"no module named ['\"]?([\w.]+)|cannot import name ['\"](\w+)", re.IGNORECASE)
_PLACE = re.compile(r"(?P<file>[\w./\\-]{1,200}\.\w{1,8})[\"']?(?::|, line |\(|\[)(?P<line>\d+)")
_COMMON = {"str", "int", "float", "bool", "list", "dict", "none", "type", "name", "value", "data", "file", "true", "false",
           "object", "module", "self", "path", "line", "error", "test", "utf-8"}  # fmt: skip


class Finding(Frozen):
    """One thing in a file that has failed before, or that cannot be read at all."""

    line: int | None
    about: str
    """What it is about: a name in the file."""
    text: str
    times: int
    last: str = ""
    """When and where it failed last."""
    signature: str = ""
    fixed: str = ""
    """What somebody marked the group as; a fixed one does not count."""

    def words(self) -> str:
        """In one line."""
        place = f"line {self.line}: " if self.line else ""
        times = f" ({self.times} times, last {self.last})" if self.times else ""
        return f"{place}{self.about}: {self.text}{times}" + (f" [{self.fixed}]" if self.fixed else "")


class _Known(NamedTuple):
    """A group of stored failures: its latest, and how many there are."""

    latest: Experiment
    times: int
    fixed: str

    def finding(self, about: str, line: int | None = None) -> Finding:
        failure = self.latest.failure
        assert failure is not None, "only failures are in groups"
        return Finding(
            line=line,
            about=about,
            text=failure.analysis.root_cause[:300],
            times=self.times,
            last=f"{self.latest.at:%Y-%m-%d} in {self.latest.run}",
            signature=failure.signature,
            fixed=self.fixed,
        )


def review(path: Path, store: FailureStore) -> list[Finding]:
    """What in a file, or a folder of scenarios, has failed before. Raises
    StoreError when it cannot be read.
    """
    if path.is_dir():
        return _of_scenarios(sorted(path.rglob("scenario-*.json")), store)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise StoreError(f"{path}: larger than {LARGEST_FILE >> 20} MiB; review its parts")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as trouble:
        raise StoreError(f"{path}: cannot be read ({trouble.strerror}); check the path") from trouble
    if path.name.startswith("scenario-") and path.suffix == ".json":
        return _of_scenarios([path], store)
    known = list(_groups(store))
    found = [*_of_place(path, known)]
    found += (
        _of_configuration(path, text, known) if path.suffix in CONFIGURATIONS else _of_code(path, text, known)
    )
    return _without_repeats(found)


def _groups(store: FailureStore) -> Iterator[_Known]:
    """Each group once, the latest first."""
    if not store.path.exists():
        return
    notes = Notes(store.folder).all()
    times: dict[str, int] = {}
    latest: dict[str, Experiment] = {}
    for row in store.experiments(Wanted(), limit=LARGEST_PAGE).rows:
        if row.failure is not None and row.type is not ExperimentType.EPISODE:
            latest.setdefault(row.failure.signature, row)
            times[row.failure.signature] = times.get(row.failure.signature, 0) + row.failure.times
    for signature, row in latest.items():
        said = notes.get(signature, NOTHING_SAID)
        yield _Known(row, times[signature], said.words() if said.mark == "fixed" else "")


def _texts(one: _Known) -> str:
    failure = one.latest.failure
    return f"{failure.error_message}\n{failure.analysis.root_cause}\n{failure.excerpt}" if failure else ""


def _message(one: _Known) -> str:
    failure = one.latest.failure
    return f"{failure.error_message}\n{failure.analysis.root_cause}" if failure else ""


def _of_place(path: Path, known: Iterable[_Known]) -> Iterator[Finding]:
    """Failures whose text names this file; the same name in another folder is another file."""
    for one in known:
        for place in _PLACE.finditer(_texts(one)):
            named = Path(place["file"].replace("\\", "/"))
            if _same_file(path, named):
                yield one.finding(path.name, int(place["line"]))
                break


def _same_file(path: Path, named: Path) -> bool:
    ours, theirs = path.resolve().parts, [part for part in named.parts if part not in (".", "..", "/")]
    return bool(theirs) and list(ours[-len(theirs) :]) == theirs


# ------------------------------------------------------------------------------------------------------- code


def _of_code(path: Path, text: str, known: list[_Known]) -> Iterator[Finding]:
    names = _names_of_python(text) if path.suffix in (".py", "") else _names_of_text(text)
    if isinstance(names, Finding):
        yield names
        names = _names_of_text(text)
    for one in known:
        for name in _named_in(one):
            if name in names:
                yield one.finding(name, names[name])


def _named_in(one: _Known) -> list[str]:
    """The names in a message that stand for what failed: a module that is missing,
    a call that is forbidden.
    """
    message = _message(one)
    forbidden = [name.strip() for found in _FORBIDDEN.finditer(message) for name in found[1].split(",")]
    missing = [found[1] or found[2] for found in _MISSING.finditer(message)]
    category = one.latest.failure_analysis.failure_category if one.latest.failure_analysis else None
    quoted = _QUOTED.findall(message) if category in _NAMES_THINGS and not (forbidden or missing) else []
    return [name for name in (*forbidden, *missing, *quoted) if name and name.lower() not in _COMMON]


_NAMES_THINGS = {
    FailureCategory.VALIDATION_ERROR,
    FailureCategory.IMPORT_ERROR,
    FailureCategory.RUNTIME_ERROR,
}


def _names_of_python(text: str) -> dict[str, int] | Finding:
    """Every name in Python code and the line it stands on first; a finding when it does not parse."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as trouble:
        line = getattr(trouble, "lineno", None)
        return Finding(line=line, about="syntax", text=f"does not parse: {trouble}"[:300], times=0)
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        for name in _names_of_node(node):
            found.setdefault(name, getattr(node, "lineno", 0))
    return found


def _names_of_node(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [part for alias in node.names for part in (alias.name, alias.name.partition(".")[0])]
        case ast.ImportFrom():
            module = node.module or ""
            return [module, module.partition(".")[0], *(alias.name for alias in node.names)]
        case ast.Attribute():
            return [node.attr, ast.unparse(node)] if isinstance(node.value, ast.Name) else [node.attr]
        case ast.Name():
            return [node.id]
        case ast.keyword(arg=str(name)):
            return [name]
        case ast.Constant(value=str(value)) if len(value) <= 60:
            return [value]
    return []


def _names_of_text(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        for name in re.findall(r"[A-Za-z_][\w.-]{2,60}", line):
            found.setdefault(name, number)
    return found


# --------------------------------------------------------------------------------------------- configurations


def _of_configuration(path: Path, text: str, known: list[_Known]) -> Iterator[Finding]:
    """Keys that stood in a failure: quoted, or as a flag, or as `key=`."""
    try:
        keys = dict(islice(_keys(_parsed(path, text)), MOST_KEYS))
    except (
        ValueError,
        yaml.YAMLError,
        tomllib.TOMLDecodeError,
        configparser.Error,
        RecursionError,
    ) as trouble:
        said = " ".join(str(trouble).split())[:300]
        yield Finding(line=None, about="syntax", text=f"does not parse: {said}", times=0)
        return
    for one in known:
        message = _message(one)
        for key, value in keys.items():
            if len(key) >= 3 and key.lower() not in _COMMON and _says_key(message, key):
                again = (
                    f"{key}={value}"
                    if value and re.search(rf"(?<![\w.]){re.escape(value)}(?![\w.])", message)
                    else key
                )
                yield one.finding(again, _line_of(text, key))


def _says_key(message: str, key: str) -> bool:
    name = re.escape(key).replace("_", "[_-]")
    return bool(
        re.search(
            rf"(?<![\w-])(?:['\"`]{name}['\"`]|--{name}\b|{name}\s?[=:]|{name} (?:must|should|is|was)\b)",
            message,
        )
    )


def _parsed(path: Path, text: str) -> Any:
    match path.suffix:
        case ".json":
            return json.loads(text)
        case ".toml":
            return tomllib.loads(text)
        case ".ini" | ".cfg":
            parser = configparser.ConfigParser(interpolation=None)
            parser.read_string(text)
            return {section: dict(parser[section]) for section in parser.sections()}
        case ".env":
            return dict(
                line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#")
            )
    return list(yaml.safe_load_all(text))


def _keys(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key), "" if isinstance(inner, Mapping | list) else str(inner)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def _line_of(text: str, key: str) -> int | None:
    return next((number for number, line in enumerate(text.splitlines(), start=1) if key in line), None)


# -------------------------------------------------------------------------------------------------- scenarios


def _of_scenarios(paths: list[Path], store: FailureStore) -> list[Finding]:
    """Scenarios that cannot be read, and faults that stored episodes mostly did not find."""
    if not paths:
        raise StoreError("no scenario-*.json there; name a file, or a folder of scenarios")
    faults: dict[str, int] = {}
    found: list[Finding] = []
    for path in paths:
        try:
            fault = read_scenario(path).ground_truth.fault_type
        except ScenarioError as trouble:
            found.append(Finding(line=None, about=path.name, text=str(trouble)[:300], times=0))
        else:
            faults[fault] = faults.get(fault, 0) + 1
    return found + [one for fault, count in sorted(faults.items()) if (one := _of_fault(fault, count, store))]


def _of_fault(fault: str, scenarios: int, store: FailureStore) -> Finding | None:
    if not store.path.exists():
        return None
    page = store.experiments(Wanted(types=(ExperimentType.EPISODE,), fault_type=fault), limit=LARGEST_PAGE)
    failed = [row for row in page.rows if row.failure is not None]
    share = share_of(len(failed), len(page.rows))
    if share.n < LEAST_TRIED or share.value < MOSTLY:
        return None
    latest = failed[0]
    text = (
        f"{share.percent()} of {share.n} stored episodes failed; {scenarios} scenarios here have this fault"
    )
    return Finding(
        line=None, about=fault, text=text, times=len(failed), last=f"{latest.at:%Y-%m-%d} in {latest.run}"
    )


def _without_repeats(found: Iterable[Finding]) -> list[Finding]:
    kept: dict[tuple[str, str], Finding] = {}
    for one in found:
        kept.setdefault((one.signature or one.text, one.about), one)
    return list(kept.values())

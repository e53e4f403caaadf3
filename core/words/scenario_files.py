"""Scenario and incident files, and JSON Lines, read with errors that name the file, the field and the fix."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from core.words.errors import ScenarioError
from core.words.scenario import Incident, Scenario


def read_scenario(path: Path) -> Scenario:
    """Read one scenario file.

    Raises:
        ScenarioError: the file is unreadable, is not JSON or breaks the schema; names the file and the first
        bad field.
    """
    return read_checked(path, Scenario.model_validate_json)


_TRUTH = frozenset(Scenario.model_fields) - frozenset(Incident.model_fields)


def read_incident(path: Path) -> Incident:
    """Read what an agent may see of an incident file or of a scenario file.

    Raises:
        ScenarioError: as `read_scenario` does.
    """
    return read_checked(path, _incident)


def _incident(content: bytes) -> Incident:
    if has_truth(content):
        return Scenario.model_validate_json(content).incident
    return Incident.model_validate_json(content)


def has_truth(content: bytes) -> bool:
    """Whether a file's JSON object has a field that only a scenario has."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return False  # the validator that comes next says what is wrong
    return isinstance(parsed, dict) and not _TRUTH.isdisjoint(parsed)


Parsed = TypeVar("Parsed")


def read_checked(path: Path, parse: Callable[[bytes], Parsed]) -> Parsed:
    """What `parse`, a pydantic validator, makes of the file. Raises ScenarioError as `read_scenario` does."""
    try:
        return parse(path.read_bytes())
    except OSError as trouble:
        raise ScenarioError(
            f"{path}: cannot be read ({trouble.strerror}); check the path and its permissions"
        ) from trouble
    except ValidationError as trouble:
        first = trouble.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        problems = f"{trouble.error_count()} problem(s); fix this one first"
        raise ScenarioError(f"{path}: field {field}: {first['msg']} ({problems})") from trouble


def each_scenario(folder: Path) -> Iterator[Scenario]:
    """Read every `scenario-*.json` of a split folder in name order, each when it is asked for.

    Raises:
        ScenarioError: there is none, or one is bad.
    """
    paths = sorted(folder.glob("scenario-*.json"))
    if not paths:
        raise ScenarioError(f"{folder}: no scenario-*.json; run: python -m chaos generate --help")
    return map(read_scenario, paths)


def read_scenarios(folder: Path) -> list[Scenario]:
    """Read all of `each_scenario`, with its errors."""
    return list(each_scenario(folder))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Whole JSON lines of a file; a half-written last line is left out. Raises ScenarioError on a bad line
    before it.
    """
    rows: list[dict[str, Any]] = []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except ValueError as trouble:
            if number == len(lines):  # no newline after it: still being written
                break
            raise ScenarioError(
                f"{path}:{number}: not JSON ({trouble}); remove or mend this line"
            ) from trouble
    return rows

"""The command behind `python -m chaos show`: one scenario as text, and as a picture."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from chaos.shipped import GENERATED, ensure
from chaos.showing import shown
from core.episode_store.scenarios import PREFIX, shipped_folders
from project_types import ConfigurationError, Scenario, ScenarioError, read_scenario


def command(arguments: argparse.Namespace) -> int:
    """Print one scenario, and draw it if asked. Returns 0."""
    path = find(arguments.scenario)
    scenario = read_scenario(path)
    print(shown(scenario))
    if arguments.picture:
        _draw(scenario, path, arguments.picture)
    return 0


def find(name: str) -> Path:
    """Return the file that a name means: a file, or the beginning of the id of a shipped scenario.

    Raises:
        ScenarioError: no file is meant, or several are.
    """
    if Path(name).is_file():
        return Path(name)
    found = sorted(_beginning_with(name))
    if not found:  # train is not in the repository
        for folder in shipped_folders():
            ensure(folder)
        found = sorted(_beginning_with(name))
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(path.stem.removeprefix(PREFIX) for path in found[:4])
        raise ScenarioError(
            f"{name}: {len(found)} shipped scenarios begin so, such as {ids}; give more digits"
        )
    raise ScenarioError(
        f"{name}: no file, and no shipped scenario begins so (looked in {', '.join(map(str, shipped_folders()))}, "
        f"{', '.join(GENERATED)} included); list them: ls log_scenarios/*/scenario-*.json"
    )


def _beginning_with(name: str) -> Iterator[Path]:
    if name.isalnum():
        for folder in shipped_folders()[:1]:
            yield from folder.glob(f"*/{PREFIX}{name}*.json")


def _draw(scenario: Scenario, path: Path, picture: Path) -> None:
    from chaos.pictures import draw

    twin = path.with_name(f"{PREFIX}{scenario.provenance.twin}.json")
    pair = [scenario] + ([read_scenario(twin)] if twin.is_file() else [])
    try:
        draw(pair, picture)
    except (OSError, ValueError) as trouble:
        raise ConfigurationError(
            f"{picture}: cannot be written ({trouble}); give a file that ends in .svg or .png"
        ) from trouble
    print(f"{picture}: drawn")

"""The house stays as drawn: who imports whom, what is heavy, and which names are taken."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    ("core.words",),
    ("project_types",),
    ("core",),
    ("build_logs", "llm_judge", "log_search_tools", "make_judge_model", "rewards"),
    ("rollout",),
    (
        "chaos",
        "importers",
        "training_service",
        "failure_analysis",
        "testrun_investigator",
    ),
    ("evaluation", "log_investigator_env"),
    ("training_runs", "alignment", "graph_rca"),
    ("dashboard", "train_serverless"),
)
"""What may import what, lowest first: a module imports its own room and what stands in a line above it here.

`core.words` is a layer of its own: the door `project_types` is made of it.
"""
WORDS = "core.words"
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
DOORS = sorted(path.stem for path in ROOT.glob("*.py"))
ROOMS = sorted(
    path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in {"tests", "benchmarks"}
)
OURS = {*DOORS, *ROOMS}
LIGHT = {*DOORS, "core"} - {"train_serverless"}
"""Whatever imports these must stay quick."""
HEAVY = {
    "art",
    "torch",
    "transformers",
    "litellm",
    "openai",
    "wandb",
    "weave",
    "chromadb",
    "torch_geometric",
    "ray",
}


def files() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    paths = [*ROOT.glob("*.py"), *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


MODULES = files()


class Imports(NamedTuple):
    """Dotted names of the modules a file imports."""

    at_once: frozenset[str]
    """When the module is imported."""
    at_all: frozenset[str]
    """And those that a function imports, or only a type checker."""


def statements(node: ast.AST, deferred: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every statement below a node, and whether it waits for a call. Expressions hold no
    imports: they are left out.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            continue
        waits = deferred or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or checks_types(child)
        yield child, waits
        yield from statements(child, waits)


def checks_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@cache
def imports(path: Path) -> Imports:
    """What a file imports (absolute imports only; the project uses no others)."""
    found: tuple[set[str], set[str]] = (set(), set())
    for node, deferred in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found[deferred].update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found[deferred].update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    at_once, later = found
    return Imports(frozenset(at_once), frozenset(at_once | later))


def layer(name: str) -> str:
    """The room or door that a module belongs to."""
    return WORDS if name == WORDS or name.startswith(f"{WORDS}.") else name.partition(".")[0]


def roots(names: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("room", sorted({*OURS, WORDS}))
def test_a_module_imports_only_what_stands_below_it(room: str) -> None:
    own = [path for name, path in MODULES.items() if layer(name) == room]
    assert own
    for path in own:
        used = set(map(layer, imports(path).at_all))
        others = (used & {*OURS, WORDS}) - {room}
        too_high = {other for other in others if LEVEL[other] >= LEVEL[room]}
        assert not too_high, f"{path.relative_to(ROOT)} imports {sorted(too_high)}"


def test_the_root_holds_the_doors_and_nothing_else() -> None:
    assert {name for names in LAYERS for name in names if (ROOT / f"{name}.py").is_file()} == set(DOORS)


def test_every_room_has_its_place_in_the_table() -> None:
    assert set(ROOMS) <= LEVEL.keys()


@pytest.mark.parametrize("room", sorted(LIGHT))
def test_the_doors_and_core_import_nothing_heavy_at_module_level(room: str) -> None:
    for name, path in MODULES.items():
        if name.partition(".")[0] == room:
            assert not roots(imports(path).at_once) & HEAVY, path


def test_no_modules_import_each_other_in_a_circle() -> None:
    uses = {name: imports(path).at_all & (MODULES.keys() - {name}) for name, path in MODULES.items()}
    assert "core.log_stores.printing" in uses["log_search_tools"]  # the walk does see imports
    assert list(TopologicalSorter(uses).static_order())  # raises CycleError, which names the circle


def test_the_process_that_runs_models_never_imports_art() -> None:
    for path in (ROOT / "training_service").rglob("*.py"):
        assert "art" not in roots(imports(path).at_all), path


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_readme_and_tests(room: str) -> None:
    assert (ROOT / room / "README.md").is_file()
    assert (ROOT / "tests" / room).is_dir()


def test_no_root_name_equals_an_installed_package() -> None:
    elsewhere = [place for place in sys.path if Path(place).resolve() != ROOT]
    assert PathFinder.find_spec("pytest", elsewhere)
    assert not [name for name in (*OURS, "benchmarks") if PathFinder.find_spec(name, elsewhere)]


def test_importing_the_doors_loads_nothing_heavy() -> None:
    code = f"import sys, log_search_tools, build_logs, rollout, make_judge_model; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

"""The house stays as drawn: who imports whom, what is heavy, and which names are taken."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = {
    "project_types": set[str](),
    "build_logs": {"project_types", "scenario_rows"},
    "log_search_tools": {"project_types", "log_rows", "log_traces"},
    "make_judge_model": {"project_types", "offline_judge", "llm_judge", "judge_calibration"},
    "rollout": {"project_types", "log_search_tools", "rewards", "provider_chats"},
}
COMPANIONS = {
    "scenario_rows": {"project_types"},
    "log_rows": {"project_types"},
    "log_traces": {"project_types", "log_rows"},
    "offline_judge": {"project_types"},
    "llm_judge": {"project_types", "offline_judge"},
    "judge_calibration": {"project_types"},
    "rewards": {"project_types"},
    "provider_chats": {"project_types"},
}
"""Flat modules that belong to one core module and are imported through it; see docs/adr/0002."""
FLAT = CORE | COMPANIONS
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in {"tests", "benchmarks"})
OURS = {*FLAT, *ROOMS, "train_serverless"}
HEAVY = {"art", "torch", "transformers", "litellm", "openai", "wandb", "weave"}


def imported(path: Path, *, top_level_only: bool) -> set[str]:
    """Root names of the modules a file imports (absolute imports only; the project uses no others)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    deferred: set[ast.AST] = set()
    if top_level_only:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                deferred |= set(ast.walk(node))
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                deferred |= set(ast.walk(node))
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in deferred:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("module", FLAT)
def test_a_core_module_imports_only_downward(module: str) -> None:
    assert imported(ROOT / f"{module}.py", top_level_only=False) & OURS <= FLAT[module]


def test_the_root_holds_the_core_its_companions_and_nothing_else() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} == {*FLAT, "train_serverless"}


def test_rooms_reach_companions_only_through_their_core_module() -> None:
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            assert not imported(path, top_level_only=False) & set(COMPANIONS), path


@pytest.mark.parametrize("module", FLAT)
def test_a_core_module_imports_nothing_heavy_at_module_level(module: str) -> None:
    assert not imported(ROOT / f"{module}.py", top_level_only=True) & HEAVY


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_core_and_itself_only(room: str) -> None:
    others = (set(ROOMS) | {"train_serverless"}) - {room}
    for path in (ROOT / room).rglob("*.py"):
        assert not imported(path, top_level_only=path.name == "__main__.py") & others, path


def modules_used(path: Path, modules: set[str]) -> set[str]:
    """Our modules that a file imports anywhere, deferred imports and those for types included."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return named & modules


def test_no_modules_import_each_other_in_a_circle() -> None:
    paths = [*ROOT.glob("*.py"), *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    uses = {name: modules_used(path, files.keys() - {name}) for name, path in files.items()}
    assert set(uses["rollout"]) & CORE.keys()  # the walk does see imports
    assert list(TopologicalSorter(uses).static_order())  # raises CycleError, which names the circle


def test_the_process_that_runs_models_never_imports_art() -> None:
    for path in (ROOT / "training_service").rglob("*.py"):
        assert "art" not in imported(path, top_level_only=False), path


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_readme_and_tests(room: str) -> None:
    assert (ROOT / room / "README.md").is_file()
    assert (ROOT / "tests" / room).is_dir()


def test_no_root_name_equals_an_installed_package() -> None:
    ours = {"log-investigator", "log_investigator"}
    taken = {name for name, owners in packages_distributions().items() if not set(owners) <= ours}
    assert not (OURS | {"benchmarks"}) & taken


def test_importing_the_tools_loads_nothing_heavy() -> None:
    code = f"import sys, log_search_tools, build_logs, rollout, make_judge_model; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

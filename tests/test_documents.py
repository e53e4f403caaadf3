"""What the documents say can be typed, and what they point to is there."""

from __future__ import annotations

import ast
import re
import shlex
from argparse import ArgumentParser
from functools import cache
from pathlib import Path

import pytest

from core.rooms import rooms

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("core/*/README.md"),
    )
    if path.name not in ("experiments.md", "CHANGELOG.md")  # these say what was typed then
    and not path.parent.name.startswith(".")  # pytest writes a page of its own into its cache
)


@cache
def parser(room: str) -> ArgumentParser:
    """The parser of a room, made once."""
    return rooms()[room].parser()


def typed(page: Path) -> list[str]:
    """The commands of rooms in a page's code blocks, one line each."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", text, re.DOTALL)
    names = "|".join(rooms())
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.search(rf"python -m (?:{names}) .*", line) for line in lines]
    return [each[0] for each in found if each]


@pytest.mark.parametrize(
    ("page", "line"),
    [
        pytest.param(page, line, id=f"{page.parent.name}/{page.name}: {line[:60]}")
        for page in PAGES
        for line in typed(page)
    ],
)
def test_a_command_of_a_page_can_be_typed(page: Path, line: str) -> None:
    _, _, room, command, *arguments = shlex.split(line.split(" && ")[0], comments=True)
    arguments = [word for word in arguments if word not in ("2>&1", "&")]
    if "|" in arguments:
        arguments = arguments[: arguments.index("|")]
    assert parser(room).parse_args([command, *arguments]).command == command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    missing = [link for link in local if not (page.parent / link).exists()]
    assert not missing


def test_every_command_of_evaluation_is_shown_in_its_readme() -> None:
    shown = {shlex.split(line)[3] for line in typed(ROOT / "evaluation" / "README.md")}
    assert shown == {command.name for command in rooms()["evaluation"].commands}


# ------------------------------------------------------------------------------------------- where things are

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PLACES = re.findall(r"^\| (.+?) \| `([\w/]+\.py)` \| `(\w+)` \|$", ARCHITECTURE, re.MULTILINE)
ASKED = {
    "where a run stops for failed rollouts",
    "learning-rate decay",
    "choice of the best checkpoint",
    "an id's prefix",
    "where a training episode is written",
    "the training report's page",
    "pass@k",
    "`embedded:NAME`",
    "redaction",
    "flat groups",
}
"""What a newcomer looks for first."""


def names_in(path: Path) -> set[str]:
    """Functions, classes and constants that a module defines at its top."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@pytest.mark.parametrize(("behaviour", "file", "name"), PLACES, ids=[place[0] for place in PLACES])
def test_a_behaviour_is_where_the_table_says(behaviour: str, file: str, name: str) -> None:
    assert name in names_in(ROOT / file), f"docs/architecture.md: {behaviour} is not in {file}"


def test_the_table_answers_what_a_newcomer_asks() -> None:
    assert {behaviour for behaviour, _, _ in PLACES} >= ASKED


def test_every_room_and_door_is_in_the_architecture() -> None:
    for path in (*ROOT.glob("*/__init__.py"), *ROOT.glob("*.py")):
        name = path.parent.name if path.name == "__init__.py" else path.stem
        if name not in ("tests", "benchmarks"):
            assert re.search(rf"`{name}/?`", ARCHITECTURE), name


# -------------------------------------------------------------------------------------- environment variables


MAY_NAME_ONE = re.compile(r"""\benv(iron(ment)?)?\b|^\s*\w+ = ["'][A-Z][A-Z0-9_]+["']""", re.MULTILINE)
"""What holds no match neither asks the environment nor names a variable. To parse the others takes long."""


def product() -> list[ast.Module]:
    """Every module of the product that may name a variable of the environment."""
    rooms_and_core = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    paths = [*ROOT.glob("*.py"), *(path for name in rooms_and_core for path in (ROOT / name).rglob("*.py"))]
    texts = (path.read_text(encoding="utf-8") for path in paths)
    return [ast.parse(text) for text in texts if MAY_NAME_ONE.search(text)]


def environment_variables() -> set[str]:
    """What the product asks the environment for, or sets in it, by name or by a constant."""
    asked: list[ast.expr] = []
    constants: dict[str, set[str]] = {}
    for module in product():
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                if node.func.attr in ("get", "setdefault", "pop") and _is_environment(node.func.value):
                    asked.append(node.args[0])
            elif isinstance(node, ast.Subscript) and _is_environment(node.value):
                asked.append(node.slice)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                for target in node.targets:
                    if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                        constants.setdefault(target.id, set()).add(node.value.value)
    found: set[str] = set()
    for name in asked:
        if isinstance(name, ast.Constant):
            found.add(str(name.value))
        elif isinstance(name, ast.Name):
            found |= constants.get(name.id, set())
    return {name for name in found if re.fullmatch(r"[A-Z][A-Z0-9_]+", name)}


def _is_environment(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in ("environ", "environment", "env")


def test_every_environment_variable_is_documented() -> None:
    page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    first_column = re.findall(r"^\|([^|]+)\|", page, re.MULTILINE)
    documented = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", " ".join(first_column)))
    asked = environment_variables()
    assert {"WANDB_API_KEY", "FAILURE_ANALYSIS_TOKEN", "TRAINING_SERVICE_TOKEN"} <= asked  # the search works
    assert asked <= documented, "add what is missing to docs/environment.md"

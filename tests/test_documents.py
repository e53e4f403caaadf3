"""What the documents say can be typed, and what they point to is there."""

from __future__ import annotations

import re
import shlex
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
)


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
    assert rooms()[room].parser().parse_args([command, *arguments]).command == command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    missing = [link for link in local if not (page.parent / link).exists()]
    assert not missing


def test_every_command_of_evaluation_is_shown_in_its_readme() -> None:
    shown = {shlex.split(line)[3] for line in typed(ROOT / "evaluation" / "README.md")}
    assert shown == {command.name for command in rooms()["evaluation"].commands}

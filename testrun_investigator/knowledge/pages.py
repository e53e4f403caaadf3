"""Cut Markdown pages into passages by their headings, each with its file and line.

A passage is what is embedded and what is shown. Headings inside code fences are no headings. What ranks the
passages is `index`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from project_types import ConfigurationError

_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*")
_FENCE = re.compile(r"\s*(```|~~~)")
MOST_CHARACTERS = 1600
"""A longer passage is cut at a paragraph: the model reads 256 tokens."""


class Passage(NamedTuple):
    """One part of a page under one heading."""

    file: str
    line: int
    """Where its heading stands, counted from 1."""
    title: str
    """The page's own heading."""
    heading: str
    text: str

    @property
    def place(self) -> str:
        """How it is cited: file:line."""
        return f"{self.file}:{self.line}"

    @property
    def embedded(self) -> str:
        """What is turned into a vector: the headings say what the text is about."""
        heads = self.title if self.heading == self.title else f"{self.title}. {self.heading}"
        return f"{heads}. {self.text}"


class Page(NamedTuple):
    """A Markdown file: its passages and a hash of its bytes."""

    file: str
    digest: str
    passages: tuple[Passage, ...]


def read_pages(folder: Path) -> list[Page]:
    """Read every Markdown file below a folder, in name order.

    Raises:
        ConfigurationError: the folder holds none.
    """
    paths = sorted(path for path in folder.rglob("*.md") if path.is_file())
    if not paths:
        raise ConfigurationError(
            f"{folder}: holds no Markdown pages; set RAG_KNOWLEDGE_BASE_DIR to the folder knowledge_base of this project"
        )
    return [_page(path, path.relative_to(folder).as_posix()) for path in paths]


def _page(path: Path, name: str) -> Page:
    content = path.read_bytes()
    text = content.decode("utf-8", "replace")
    return Page(name, hashlib.blake2b(content, digest_size=16).hexdigest(), tuple(passages(name, text)))


def passages(file: str, text: str) -> Iterator[Passage]:
    """Yield the passages of a page. Text before the first heading belongs to the file's name."""
    title = heading = Path(file).stem.replace("-", " ")
    line, body, fenced, seen_title = 1, list[str](), False, False
    for number, row in enumerate(text.splitlines(), 1):
        fenced ^= _FENCE.match(row) is not None
        match = None if fenced else _HEADING.fullmatch(row)
        if match is None:
            body.append(row)
            continue
        yield from _cut(Passage(file, line, title, heading, "\n".join(body).strip()))
        heading, line, body = match[2] or heading, number, []
        if not seen_title:
            title, seen_title = heading, True
    yield from _cut(Passage(file, line, title, heading, "\n".join(body).strip()))


def _cut(passage: Passage) -> Iterator[Passage]:
    """Yield the passage in pieces that fit, cut at paragraphs. An empty one is left out."""
    text, line = passage.text, passage.line
    while len(text) > MOST_CHARACTERS:
        at = text.rfind("\n\n", 1, MOST_CHARACTERS)
        at = at if at > 0 else MOST_CHARACTERS
        yield passage._replace(line=line, text=text[:at].strip())
        line += text[:at].count("\n") + 1
        text = text[at:].strip()
    if text:
        yield passage._replace(line=line, text=text)

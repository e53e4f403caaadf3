"""XML as test runners really write it, made readable: any encoding, stray control
characters, endless comments.

A runner that copies a coloured message into a file writes bytes that XML forbids. They are replaced, piece by
piece, so that one of them does not hide every failure after it. What is not mended is the structure: a cut
file stays cut. What the elements mean is in `junit`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

PIECE = 1 << 16
LOOKED_AT = 1 << 20
"""Bytes at the front of a file in which its first element is looked for: licences can be long."""
LONGEST_REFERENCE = 16
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_REFERENCE = re.compile(r"&#(?:x([0-9a-fA-F]{1,8})|([0-9]{1,8}));")
_PROLOGUE = re.compile(r"\s*(?:<\?.*?\?>|<!--.*?-->)", re.DOTALL)
_ROOT = re.compile(r"\s*<(!?[\w:.-]+)")


def texts(path: Path) -> Iterator[str]:
    """The text of a file in pieces, without what XML forbids. The declaration loses its encoding."""
    with path.open("rb") as file:
        first = file.read(PIECE)
        encoding, mark = encoding_of(first)
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        kept, piece = "", first[mark:]
        while piece:
            text = kept + decoder.decode(piece)
            cut = _end_of_whole(text)
            yield allowed(text[:cut])
            kept, piece = text[cut:], file.read(PIECE)
        yield allowed(kept + decoder.decode(b"", final=True))


def encoding_of(start: bytes) -> tuple[str, int]:
    """The encoding of a file that begins so, and the length of its byte order mark."""
    for mark, name in _BOMS:
        if start.startswith(mark):
            return name, len(mark)
    if start[:4:2] == b"\0\0" or start[1:4:2] == b"\0\0":
        return ("utf-16-be" if start[:1] == b"\0" else "utf-16-le"), 0
    declared = _DECLARED.search(start[:400])
    try:
        return codecs.lookup(declared[1].decode("ascii") if declared else "utf-8").name, 0
    except LookupError:
        return "utf-8", 0


def allowed(text: str) -> str:
    """The text with what XML forbids replaced; an escape becomes `#x1B`, as pytest writes it."""
    text = _FORBIDDEN.sub(lambda found: "#x1B" if found[0] == "\x1b" else "\N{REPLACEMENT CHARACTER}", text)
    return _REFERENCE.sub(_reference, text)


def _reference(found: re.Match[str]) -> str:
    number = int(found[1], 16) if found[1] else int(found[2])
    if number > 0x10FFFF:
        return "\N{REPLACEMENT CHARACTER}"
    return found[0] if not _FORBIDDEN.match(chr(number)) else allowed(chr(number))


def _end_of_whole(text: str) -> int:
    """Where a text may be cut without cutting a character reference in two."""
    start = text.rfind("&", max(0, len(text) - LONGEST_REFERENCE))
    return start if start >= 0 and ";" not in text[start:] else len(text)


def first_element(path: Path) -> str:
    """The name of a file's first element, `!DOCTYPE` for a declaration; empty when it begins with none."""
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    encoding, mark = encoding_of(start)
    text = start[mark:].decode(encoding, "replace").lstrip("\ufeff")
    at = 0
    while found := _PROLOGUE.match(text, at):
        at = found.end()
    root = _ROOT.match(text, at)
    return root[1] if root else ""

"""Text from logs, models and file names, made safe for a terminal."""

from __future__ import annotations

MOST_CHARACTERS = 4000


def printable(text: str) -> str:
    """The text with control and bidirectional characters shown as escapes, and cut when it is very long;
    newlines stay.
    """
    cut = (
        text
        if len(text) <= MOST_CHARACTERS
        else text[:MOST_CHARACTERS] + f" [+{len(text) - MOST_CHARACTERS} characters]"
    )
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in cut
    )

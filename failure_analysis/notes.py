"""What people say about groups of failures: comments, and whether a group is known or fixed.

Kept in one file of lines beside failures.db (`failure_notes.jsonl`), which is only ever appended to: it
survives a damaged database, and what somebody wrote is never lost to what somebody else wrote. The last mark
counts. A group that was marked as fixed and fails again has come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from core.episode_store.lines import append, read_lines
from core.redaction import redacted_message
from failure_analysis.records import StoreError
from project_types import Frozen, Timestamp

NOTES = "failure_notes.jsonl"
LONGEST_COMMENT = 4000
LONGEST_NAME = 100
MOST_NOTES = 20_000
"""Lines that are read; the latest count."""
Mark = Literal["open", "known", "fixed"]


class Note(Frozen):
    """One thing that somebody said about a group."""

    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]
    at: Timestamp
    author: str = ""
    comment: str = ""
    mark: Mark | None = None
    """None: only a comment."""
    fixed_in: str = ""
    """A version, a commit or a run, when the mark is `fixed`."""


class GroupNotes(Frozen):
    """All that was said about one group, oldest first."""

    notes: tuple[Note, ...] = ()

    @property
    def mark(self) -> Mark:
        """The last mark."""
        return next((note.mark for note in reversed(self.notes) if note.mark), "open")

    @property
    def marked(self) -> Note | None:
        """The note that holds it."""
        return next((note for note in reversed(self.notes) if note.mark), None)

    @property
    def comments(self) -> tuple[Note, ...]:
        """The notes that hold a comment, oldest first."""
        return tuple(note for note in self.notes if note.comment)

    def came_back(self, last_seen: datetime) -> bool:
        """Whether it failed after it was marked as fixed."""
        return self.mark == "fixed" and self.marked is not None and last_seen > self.marked.at

    def words(self) -> str:
        """The mark as a person says it; empty for an open group."""
        marked = self.marked
        if marked is None or marked.mark == "open":
            return ""
        return (
            f"fixed in {marked.fixed_in}" if marked.mark == "fixed" and marked.fixed_in else str(marked.mark)
        )


NOTHING_SAID = GroupNotes()


class Notes:
    """The notes beside one failures.db."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NOTES

    def add(
        self,
        signature: str,
        *,
        author: str = "",
        comment: str = "",
        mark: Mark | None = None,
        fixed_in: str = "",
    ) -> Note:
        """Write a note down, without secrets and cut. Raises StoreError."""
        if not comment.strip() and mark is None:
            raise StoreError("nothing was said; write a comment or choose a mark")
        note = Note(
            signature=signature,
            at=datetime.now(UTC),
            author=_one_line(author),
            comment=redacted_message(comment.strip(), LONGEST_COMMENT),
            mark=mark,
            fixed_in=_one_line(fixed_in),
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with append(self.path) as put:
                put(note.model_dump_json())
        except OSError as trouble:
            raise StoreError(
                f"{self.path}: cannot be written ({trouble.strerror}); check the folder"
            ) from trouble
        return note

    def all(self) -> Mapping[str, GroupNotes]:
        """What was said, by group; lines that cannot be read are passed over."""
        found: dict[str, list[Note]] = {}
        lines = list(read_lines(self.path))[-MOST_NOTES:] if self.path.exists() else []
        for line in lines:
            try:
                note = Note.model_validate_json(line.content or b"")
            except ValidationError:
                continue
            found.setdefault(note.signature, []).append(note)
        return {signature: GroupNotes(notes=tuple(notes)) for signature, notes in found.items()}

    def of(self, signature: str) -> GroupNotes:
        """What was said about one group."""
        return self.all().get(signature, NOTHING_SAID)


def _one_line(text: str) -> str:
    return redacted_message(" ".join(text.split()), LONGEST_NAME)

"""Plain-text tables for a terminal; their cells may hold any text."""

from __future__ import annotations

from collections.abc import Sequence

from core.command_line import printable


def aligned(rows: Sequence[Sequence[object]], *, left: int = 1) -> str:
    """Return columns padded to equal width: the first `left` ones to the left, the others to the right.

    What a log or a model wrote cannot end a line or move the cursor.
    """
    clean = [list(map(_one_line, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    return "\n".join(_padded(row, widths, left) for row in clean)


def _one_line(cell: object) -> str:
    return printable(str(cell)).replace("\n", "\\n")


def _padded(row: Sequence[str], widths: Sequence[int], left: int) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row[:left], widths, strict=False)]
    cells += [cell.rjust(width) for cell, width in zip(row[left:], widths[left:], strict=True)]
    return "  ".join(cells).rstrip()

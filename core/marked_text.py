"""A part of a page that a command writes: what stands between two comments of one name.

    <!-- card:begin -->
    <!-- card:end -->

The rest of the page is never touched.
"""

from __future__ import annotations

from pathlib import Path

from project_types import ConfigurationError


def write_between(file: Path, name: str, text: str) -> None:
    """Replace what stands between the two comments. Raises ConfigurationError when the file lacks them."""
    before, _, after = _parts(file, name)
    begin, end = _comments(name)
    try:
        file.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
    except OSError as trouble:
        raise ConfigurationError(f"{file}: cannot be written ({trouble.strerror})") from trouble


def read_between(file: Path, name: str) -> str:
    """Return what stands between the two comments. Raises ConfigurationError when the file lacks them."""
    return _parts(file, name)[1].strip("\n")


def _comments(name: str) -> tuple[str, str]:
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def _parts(file: Path, name: str) -> tuple[str, str, str]:
    try:
        page = file.read_text(encoding="utf-8")
    except OSError as trouble:
        raise ConfigurationError(
            f"{file}: cannot be read ({trouble.strerror}); name the page: --write-docs FILE"
        ) from trouble
    begin, end = _comments(name)
    before, found, rest = page.partition(begin)
    inside, closed, after = rest.partition(end)
    if not found or not closed:
        raise ConfigurationError(
            f"{file}: lacks the lines {begin} and {end}; add them where the table belongs"
        )
    return before, inside, after

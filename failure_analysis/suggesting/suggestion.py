"""A fix as a patch: found by rules or by a model, and checked by running the command that failed.

The repository is only read. Each candidate is tried in a copy; the first with which the command
passes becomes a diff, or a commit on a new branch that is made without touching the working
tree. Nothing is ever pushed.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.logs.lines import lines_of
from failure_analysis.logs.rules import find_failure
from failure_analysis.logs.suspects import suspect
from failure_analysis.records import FailureAnalysis, StoreError
from failure_analysis.suggesting.by_model import suggested
from failure_analysis.suggesting.copies import Ran, copied, files_of
from failure_analysis.suggesting.mends import Mend, Place, mends

MOST_PLACES = 6
LARGEST_FILE = 1 << 20
_PLACES = re.compile(r"(?P<file>[\w./\\@+-]{1,300}\.\w{1,8})[\"']?(?::|, line |\(|\[)(?P<line>\d{1,7})")


class Suggestion(NamedTuple):
    """What came of it."""

    analysis: FailureAnalysis | None
    """Why the command failed; None when it did not."""
    mend: Mend | None
    """The edit with which it passes; None when none was found."""
    diff: str
    tried: tuple[str, ...]
    """What was tried before, in vain, and why a model's edit was not."""


def suggest(repo: Path, command: str, analyzer: LogAnalyzer, timeout_s: float) -> Suggestion:
    """Run a command that fails, and look for an edit with which it passes. Raises StoreError."""
    with copied(repo) as plain:
        ran = plain.run(command, timeout_s)
    if ran.code == 0:
        return Suggestion(None, None, "", ())
    analysis = find_failure("ci_build", "", ran.output) or find_failure(
        "ci_build", f"exit code {ran.code}", ""
    )
    places = places_in(ran.output, files_of(repo))
    texts = {place.file: _text(repo / place.file) for place in places}
    tried: list[str] = []
    for mend in _candidates(ran, places, texts, analyzer, tried):
        with copied(repo) as copy:
            copy.write(mend.texts)
            if copy.run(command, timeout_s).code == 0:
                return Suggestion(analysis, mend, diff_of(texts, mend), tuple(tried))
        tried.append(f"{mend.what}: it fails all the same")
    return Suggestion(analysis, None, "", tuple(tried))


def _candidates(
    ran: Ran, places: list[Place], texts: dict[str, str], analyzer: LogAnalyzer, tried: list[str]
) -> Iterator[Mend]:
    found = suspect(ran.output)
    messages = [found.line, *found.around, *found.others] if found else [ran.output[-2000:]]
    seen: list[dict[str, str]] = []
    for place in places:
        for message in messages:
            for mend in mends(message, place.file, texts[place.file], place.line):
                if mend.texts not in seen:
                    seen.append(mend.texts)
                    yield mend
    if analyzer.model != NO_MODEL and places:
        mend_by_model, why = suggested(analyzer, ran.output, places, texts)
        if mend_by_model is not None:
            yield mend_by_model
        else:
            tried.append(why)


def places_in(output: str, files: list[str]) -> list[Place]:
    """Lines of the repository's files that an output names, the last named first."""
    known = set(files)
    found: list[Place] = []
    for line in reversed(lines_of(output)):
        for named in _PLACES.finditer(line.raw):
            file = _of_repo(named["file"].replace("\\", "/"), known)
            place = Place(file, int(named["line"]))
            if file and place not in found:
                found.append(place)
    return found[:MOST_PLACES]


def _of_repo(named: str, known: set[str]) -> str:
    """The file of the repository that is meant: by its whole path, or by the end of
    it when that is one only.
    """
    parts = [part for part in named.split("/") if part not in ("", ".", "..")]
    for first in range(len(parts)):
        if (name := "/".join(parts[first:])) in known:
            return name
    return ""


def _text(path: Path) -> str:
    if path.is_symlink() or path.stat().st_size > LARGEST_FILE:
        return ""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def diff_of(texts: dict[str, str], mend: Mend) -> str:
    """A unified diff that `git apply` takes."""
    parts: list[str] = []
    for name, new in mend.texts.items():
        lines = difflib.unified_diff(
            texts[name].splitlines(keepends=True), new.splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
        parts += [
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
        ]
    return "".join(parts)


def commit(repo: Path, branch: str, diff: str, what: str) -> str:
    """Put a diff on a new branch, as one commit on HEAD; the working tree and the index stay as they are.

    Raises StoreError: the branch exists, or the diff does not fit to HEAD.
    """
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        if _git(repo, ["rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"], allowed=True):
            raise StoreError(f"branch {branch} exists; choose another --branch")
        _git(repo, ["check-ref-format", "--branch", branch])
        head = _git(repo, ["rev-parse", "HEAD"])
        _git(repo, ["read-tree", "HEAD"], index)
        _git(repo, ["apply", "--cached", "-"], index, diff)
        tree = _git(repo, ["write-tree"], index)
        made = _git(repo, ["commit-tree", tree, "-p", head, "-m", what])
        _git(repo, ["branch", branch, made])
    return made


def _git(
    repo: Path,
    asked: list[str],
    environment: dict[str, str] | None = None,
    given: str = "",
    *,
    allowed: bool = False,
) -> str:
    """What git prints; with `allowed` an error is an empty text. Nothing here talks to a remote."""
    names = {"GIT_AUTHOR_NAME": "log-investigator", "GIT_AUTHOR_EMAIL": "log-investigator@localhost"}
    names |= {
        "GIT_COMMITTER_NAME": names["GIT_AUTHOR_NAME"],
        "GIT_COMMITTER_EMAIL": names["GIT_AUTHOR_EMAIL"],
    }
    done = subprocess.run(
        ["git", "-C", str(repo), *asked],
        input=given.encode("utf-8", "surrogateescape"),
        capture_output=True,
        env={**names, **os.environ, **(environment or {})},
    )
    if done.returncode and not allowed:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[:1]
        raise StoreError(f"git {asked[0]}: {''.join(said)}; write the diff with --out instead")
    return done.stdout.decode("utf-8", "replace").strip() if not done.returncode else ""

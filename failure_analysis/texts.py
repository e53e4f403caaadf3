"""One text file per group of alike failures, beside failures.db: what a person reads without a browser, and
what CI prints.

A file is named by its group's signature alone, which is hexadecimal; nothing that a log or a model wrote ever
names a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from core.command_line import printable
from core.files import replace_file
from failure_analysis.records import Experiment, StoreError
from failure_analysis.store import FailureStore, Wanted

FOLDER = "failures"
SHOWN = 20
"""Experiments a text lists."""


def write_texts(store: FailureStore, signatures: Iterable[str]) -> list[Path]:
    """Write the texts of these groups again; their paths, in order of signature."""
    folder = store.folder / FOLDER
    return [
        _write(folder / f"{signature}.txt", text)
        for signature in sorted(set(signatures))
        if (text := render(store, signature))
    ]


def render(store: FailureStore, signature: str) -> str:
    """What is known of a group, or an empty text when there is none of that signature."""
    page = store.experiments(Wanted(signature=signature), limit=SHOWN)
    if not page.rows or page.rows[0].failure is None:
        return ""
    latest, failure = page.rows[0], page.rows[0].failure
    oldest = store.experiments(Wanted(signature=signature), order="oldest", limit=1).rows[0]
    why = failure.analysis
    lines = [
        f"{failure.template}",
        "",
        f"category    {why.failure_category}",
        f"severity    {why.severity}",
        *([f"kind        {failure.kind}"] if failure.kind else []),
        f"cause       {why.root_cause}",
        f"fix         {why.fix_suggestion}",
        f"found by    {why.method}: {why.why_method}",
        *([f"rules say   {why.rules.failure_category}, {why.rules.severity}"] if why.rules else []),
        f"first seen  {oldest.at:%Y-%m-%d %H:%M:%S} UTC",
        f"last seen   {latest.at:%Y-%m-%d %H:%M:%S} UTC",
        f"stored      {page.total} times{'' if page.total <= SHOWN else f', the latest {SHOWN} are listed'}",
        "",
        *(_line(experiment) for experiment in page.rows),
    ]
    if failure.claims:
        lines += ["", f"claims about {latest.name} (id {latest.id})"]
        lines += [
            f"- {claim.kind}: {claim.text} [{_cited(claim.turns, claim.log_ids)}]" for claim in failure.claims
        ]
    if failure.error_message:
        lines += ["", "error", failure.error_message]
    if failure.excerpt:
        lines += ["", "the log around it", failure.excerpt]
    return "\n".join(printable(line) for line in "\n".join(lines).split("\n")) + "\n"


def _line(experiment: Experiment) -> str:
    cause = experiment.failure.analysis.root_cause if experiment.failure else ""
    first_line = cause.splitlines()[0][:200] if cause else ""
    return f"{experiment.at:%Y-%m-%d %H:%M:%S} {experiment.id} {experiment.source}: {first_line}"


def _cited(turns: tuple[int, ...], log_ids: tuple[str, ...]) -> str:
    parts = [f"turns {', '.join(map(str, turns))}"] if turns else []
    parts += [f"log ids {', '.join(log_ids)}"] if log_ids else []
    return "; ".join(parts)


def _write(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode("utf-8", "backslashreplace"))
    except OSError as trouble:
        raise StoreError(
            f"{path}: cannot be written ({trouble.strerror}); give another --failures"
        ) from trouble
    return path

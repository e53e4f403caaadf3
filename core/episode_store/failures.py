"""`failures.jsonl`: samples, training jobs and runs that ended in no episode, and why.

A failure is not a result. It is counted apart, never as a wrong answer, and what failed is done again.
Evaluations and training runs write the same lines.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from core.episode_store.lines import Line, last_text, read_lines
from project_types import Episode, Frozen, Timestamp

FAILURES = "failures.jsonl"
LONGEST_MESSAGE = 4000
READ_BACK = 200_000
"""Characters at the end of a file in which the last failure of a run is looked for."""


class Failure(Frozen):
    """Something that ended in no episode: the provider, the judge, a file or a training job failed."""

    scenario_id: str = ""
    """Empty when no rollout failed, but a training job or the run."""
    sample: int | None = None
    error: str
    """Class of the exception."""
    message: str = ""
    at: Timestamp | None = None
    episode: Episode | None = None
    """How far it got, when it began."""
    failure_analysis: dict[str, str] | None = None
    """Category, root cause, fix and severity, as far as they were known at that moment."""

    @classmethod
    def of(cls, trouble: BaseException, scenario_id: str = "", sample: int | None = None) -> Failure:
        """Return the failure that an exception stands for; long texts are cut.

        The exception's `episode`, where it carries one, says which sample it was.
        """
        text, begun = str(trouble).strip() or repr(trouble), getattr(trouble, "episode", None)
        episode = begun if isinstance(begun, Episode) else None
        return cls(
            scenario_id=scenario_id or (episode.scenario_id if episode else ""),
            sample=episode.sample if sample is None and episode else sample,
            error=type(trouble).__name__,
            message=text[:LONGEST_MESSAGE],
            at=datetime.now(UTC),
            episode=episode,
        )


def parse_failure(line: Line) -> Failure:
    """Read a line as a failure. Raises ValueError."""
    return Failure.model_validate_json(line.content or b"")


def read_failures(path: Path) -> list[Failure]:
    """Read the failures of a file in order; lines that are none are skipped, and a missing file is empty."""
    found: list[Failure] = []
    for line in read_lines(path) if path.exists() else ():
        try:
            found.append(parse_failure(line))
        except ValidationError:
            continue
    return found


def latest_failures(path: Path) -> list[Failure]:
    """Return the latest failure of each sample, in order; failures of no sample are left out."""
    samples = [failure for failure in read_failures(path) if failure.scenario_id]
    return list({(failure.scenario_id, failure.sample): failure for failure in samples}.values())


def last_failure_of_run(path: Path) -> Failure | None:
    """Return the last failure of a training job or of the run itself, None when none was written down."""
    if not path.is_file():
        return None
    for text in reversed(last_text(path, READ_BACK).split("\n")):
        try:
            found = Failure.model_validate_json(text)
        except ValidationError:  # the first line may be cut
            continue
        if not found.scenario_id:
            return found
    return None

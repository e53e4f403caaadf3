"""Findings: answers about runs, kept with the rows that prove them, found again and checked before reuse.

A finding that cites a row which the run's store does not hold is refused. What makes a run recognisable (its
fingerprint) is the shape of its error lines, without numbers and ids, so that a later run with the same fault
is offered the earlier answer, and why it is similar. Text from logs is redacted before it is kept.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple

from core.log_stores.contract import Line, LogQuery, LogStore
from core.log_stores.masks import masked
from core.redaction import redact
from project_types import Frozen, InvestigatorError, Level, Timestamp

_KINDS = 25
"""Kinds of error lines that make a fingerprint."""
_TEXT = 600
_WORD = re.compile(r"[a-z][a-z_]{3,}")
_LEVELS = {level.value: level.name for level in Level}
_COMMON = frozenset(
    {"that", "with", "from", "this", "were", "have", "which", "because", "node", "failed", "error"}
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS findings(
    id TEXT PRIMARY KEY, run_id TEXT NOT NULL, at TEXT NOT NULL, finding TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS findings_run ON findings(run_id, at);
"""


class FindingError(InvestigatorError):
    """A finding cannot be saved or read; the text says why."""


class CitedRow(Frozen):
    """A row that proves a finding, as it was when it was cited."""

    log_id: str
    time: str
    level: str
    service: str
    text: str


class Finding(Frozen):
    """An answer about a run."""

    id: str
    run_id: str
    at: Timestamp
    cause: str
    service: str
    """The node or component that is to blame, or 'unknown'."""
    fault_type: str = ""
    confidence: float | None = None
    next_actions: tuple[str, ...] = ()
    evidence: tuple[CitedRow, ...] = ()
    versions: Mapping[str, str] = {}
    """Package to version, of the run."""
    author: str = ""
    """Who found it: a policy, or the client."""
    fingerprint: tuple[str, ...] = ()
    """Masks of the run's error lines."""


Checked = Literal["holds", "rows are gone", "rows differ", "not checked"]


class Similar(NamedTuple):
    """A finding of another run and why it is similar."""

    finding: Finding
    score: float
    why: str


class History:
    """The findings of a cache folder. Safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def save(
        self, store: LogStore, run_id: str, cause: str, service: str, log_ids: Sequence[str], **more: Any
    ) -> Finding:
        """Keep a finding and return it.

        `more`: fault_type, confidence, next_actions, versions, author.

        Raises:
            FindingError: nothing is cited, or a cited id is not in the run's store.
        """
        if not cause.strip():
            raise FindingError("cause: is empty; say in one sentence what broke, where and why")
        if not log_ids and service.strip().lower() != "unknown":
            raise FindingError(
                "log_ids: is empty; cite the rows that prove the cause, or say service='unknown'"
            )
        rows = [_cited(store, one) for one in dict.fromkeys(log_ids)]
        at = datetime.now(UTC)
        finding = Finding(
            id=blake2b(f"{run_id} {at.isoformat()} {cause}".encode(), digest_size=6).hexdigest(),
            run_id=run_id,
            at=at,
            cause=redact(cause.strip())[:2000],
            service=service.strip()[:200] or "unknown",
            evidence=tuple(rows),
            fingerprint=fingerprint(store, [row.text for row in rows]),
            **more,
        )
        self._write(finding)
        return finding

    def _write(self, finding: Finding) -> None:
        with self._lock, self._connection() as connection:
            values = (finding.id, finding.run_id, finding.at.isoformat(), finding.model_dump_json())
            connection.execute("INSERT OR REPLACE INTO findings VALUES (?,?,?,?)", values)
        connection.close()

    def of_run(self, run_id: str) -> list[Finding]:
        """Return the findings of a run, the newest first."""
        return self._read("WHERE run_id = ?", run_id)

    def get(self, finding_id: str) -> Finding | None:
        """Return one finding; None when it is not known."""
        found = self._read("WHERE id = ?", finding_id)
        return found[0] if found else None

    def all(self) -> list[Finding]:
        """Return every finding, the newest first."""
        return self._read("")

    def _read(self, where: str, *values: str) -> list[Finding]:
        if not self._path.is_file():
            return []
        with self._lock, self._connection() as connection:
            rows = connection.execute(
                f"SELECT finding FROM findings {where} ORDER BY at DESC", values
            ).fetchall()
        connection.close()
        return [Finding.model_validate_json(row[0]) for row in rows]

    def _connection(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=10)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as trouble:
            raise FindingError(
                f"{self._path}: cannot be used ({trouble}); set TESTRUN_CACHE_DIR"
            ) from trouble
        return connection

    def similar(self, text: str, prints: Sequence[str] = (), but: str = "", limit: int = 5) -> list[Similar]:
        """Return findings of other runs that are like a question or a fingerprint, the most similar first."""
        found = [_similar(finding, text, prints) for finding in self.all() if finding.run_id != but]
        return sorted((one for one in found if one.score > 0), key=lambda one: -one.score)[:limit]


def _cited(store: LogStore, log_id: str) -> CitedRow:
    shown = log_id.strip()
    found = store.resolve("log", shown)
    if len(found) != 1:
        why = (
            "is not in the logs of this run"
            if not found
            else f"stands for {len(found)} rows; give more of it"
        )
        raise FindingError(f"log_ids: {shown[:60]!r} {why}; cite ids that a tool printed")
    return cited_row(store.around(found[0], 0, 0)[0])


def cited_row(line: Line) -> CitedRow:
    """Return a line as it is kept."""
    at = datetime.fromtimestamp(line.at_us / 1_000_000, UTC).isoformat(timespec="milliseconds")
    return CitedRow(
        log_id=line.id,
        time=at,
        level=_LEVELS[line.level],
        service=line.service,
        text=redact(line.text)[:_TEXT],
    )


def fingerprint(store: LogStore, texts: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the shapes of a run's error lines and of the rows given."""
    kinds = store.kinds(LogQuery(min_level=Level.ERROR), 0, _KINDS)
    shapes = [masked(redact(kind.first.text)[:_TEXT]) for kind in kinds]
    return tuple(dict.fromkeys([*(masked(text) for text in texts), *shapes]))


def check(finding: Finding, store: LogStore | None) -> Checked:
    """Say whether the rows a finding cites are still there and still say the same."""
    if store is None or not finding.evidence:
        return "not checked"
    for row in finding.evidence:
        found = store.around(row.log_id, 0, 0)
        if not found:
            return "rows are gone"
        if cited_row(found[0]).text != row.text:
            return "rows differ"
    return "holds"


def _similar(finding: Finding, text: str, prints: Sequence[str]) -> Similar:
    """Compare by shared shapes of lines and by shared words; the reason names what is shared."""
    shared = [shape for shape in finding.fingerprint if shape in set(prints)]
    of_shapes = len(shared) / max(1, min(len(prints), len(finding.fingerprint)))
    about = " ".join([finding.cause, finding.fault_type, *(row.text for row in finding.evidence)])
    asked = _words(text)
    common = sorted(asked & _words(about))
    of_words = len(common) / max(1, len(asked))
    score = round(0.6 * of_shapes + 0.4 * of_words, 4) if prints else round(of_words, 4)
    reasons = []
    if shared:
        reasons.append(
            f"{len(shared)} of {len(finding.fingerprint)} kinds of error lines are the same, e.g. {shared[0][:100]!r}"
        )
    if common:
        reasons.append(f"the words {', '.join(common[:6])}")
    return Similar(finding, score, "; ".join(reasons))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower())) - _COMMON

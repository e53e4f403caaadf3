"""What the investigator of test runs keeps in its cache folder, for pages: findings, and
what assistants did over MCP.

A session is an episode like any other, but of a run that no scenario file describes. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.episode_store.episodes import read, read_numbered
from core.episode_store.run_folder import EPISODES
from core.log_stores.contract import LogStore
from project_types import Episode, Frozen
from testrun_investigator.history import Checked, Finding, History, Similar, check
from testrun_investigator.sessions import SESSIONS
from testrun_investigator.settings import Settings
from testrun_investigator.victoria_logs import LogsError, VictoriaLogsHandler

MOST_SESSIONS = 2000
"""The newest are shown."""
MOST_SIMILAR = 5


class Session(Frozen):
    """What an assistant did about one run, without its transcript."""

    number: int
    """Line of its file, from 1."""
    run_id: str
    at: str
    policy: str
    ending: str
    calls: int
    refused: int
    """Calls that a tool refused."""
    seconds: float
    blamed: str
    answer: str
    cited: int


@dataclass(frozen=True)
class TestRuns:
    """A cache folder of testrun_investigator."""

    __test__ = False  # no class of tests
    settings: Settings

    def findings(self, run_id: str | None = None, text: str = "") -> list[Finding]:
        """Return the findings of a run, or all, that hold a text; the newest first."""
        history = History(self.settings.findings)
        found = history.of_run(run_id) if run_id else history.all()
        return [one for one in found if _holds(one, text.casefold())]

    def finding(self, id: str) -> Finding | None:
        """Return one finding."""
        return History(self.settings.findings).get(id)

    def checked(self, finding: Finding) -> Checked:
        """Say whether the rows it cites are still there and still say the same."""
        return check(finding, self._store(finding.run_id))

    def similar(self, finding: Finding) -> list[Similar]:
        """Return findings of other runs that are like it, and why."""
        history = History(self.settings.findings)
        return history.similar(finding.cause, finding.fingerprint, finding.run_id, MOST_SIMILAR)

    def sessions(self, run_id: str | None = None) -> list[Session]:
        """Return the sessions about a run, or all; the newest first."""
        found = [one for one in self._sessions() if run_id in (None, one.run_id)]
        return found[-MOST_SESSIONS:][::-1]

    def session(self, number: int) -> Episode:
        """Return one session. Raises EpisodesError when the file has no such line."""
        return read_numbered(self._file, number)

    @property
    def _file(self) -> Path:
        return self.settings.cache / SESSIONS / EPISODES

    def _sessions(self) -> Iterator[Session]:
        if not self._file.is_file():
            return
        for number, found in enumerate(read(self._file), 1):
            if isinstance(found, Episode):
                yield _session(number, found)

    def _store(self, run_id: str) -> LogStore | None:
        try:
            return VictoriaLogsHandler(self.settings).store(run_id)
        except LogsError:
            return None


def _session(number: int, episode: Episode) -> Session:
    report, outcome = episode.report, episode.outcome
    return Session(
        number=number,
        run_id=episode.scenario_id,
        at=str(episode.metadata.get("at", "")),
        policy=episode.policy,
        ending=str(outcome.ending),
        calls=outcome.turns,
        refused=outcome.malformed_calls,
        seconds=outcome.seconds,
        blamed=report.suspected_service if report else "",
        answer=report.root_cause if report else "",
        cited=outcome.cited,
    )


def _holds(finding: Finding, text: str) -> bool:
    said = (finding.run_id, finding.cause, finding.service, finding.fault_type, finding.author)
    rows = (row.text for row in finding.evidence)
    return not text or any(text in one.casefold() for one in (*said, *rows))

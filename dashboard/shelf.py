"""What the dashboard reads: the store, the runs beside it, and the scenario an episode was about.

The scenario file is looked for where its run says it read it. Without the file an episode is still shown, but
nothing in it can be marked as gold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from core.episode_store.run_folder import RunFolder
from core.episode_store.runs import Runs, shown_name
from dashboard.asked import Filters
from dashboard.testruns import TestRuns
from failure_analysis import transcript_search
from failure_analysis.notes import Notes
from failure_analysis.records import Experiment, ExperimentType, StoreError
from failure_analysis.store import FailureStore, Wanted
from failure_analysis.watching import Watcher
from project_types import Episode, Scenario
from testrun_investigator.settings import read_settings

LARGEST_EPISODE = 16 << 20


@dataclass(frozen=True)
class Shelf:
    """The folder of runs and the store that captures them."""

    folder: Path
    store: FailureStore
    watcher: Watcher | None = None
    """Who captures what is new, if anybody does."""
    testruns: TestRuns = field(default_factory=lambda: TestRuns(read_settings()))
    """Findings about test runs, and sessions of assistants."""

    @property
    def trouble(self) -> str:
        """What keeps new failures from being captured, for a person; empty when nothing does."""
        return self.watcher.trouble() if self.watcher else ""

    def lines_read(self, run: str) -> int | None:
        """How much of a run has been read while it is being captured; None when it is not."""
        reading = self.watcher.reading if self.watcher else None
        return reading[1] if reading and shown_name(reading[0]) == run else None

    @property
    def notes(self) -> Notes:
        """What people said about groups of failures."""
        return Notes(self.store.folder)

    @property
    def runs(self) -> Runs:
        """The runs as folders."""
        return Runs(self.folder, self.store.folder)

    def sought(self, asked: Filters, types: tuple[ExperimentType, ...] = ()) -> tuple[Wanted, bool]:
        """What a request asks for, a text looked for in transcripts as well; and
        whether all were searched.
        """
        wanted = asked.wanted(types)
        if not wanted.text:
            return wanted, True
        found = transcript_search.find(self.store, wanted.text, wanted)
        return wanted.model_copy(update={"also": found.ids}), found.whole

    def wanted(self, asked: Filters, types: tuple[ExperimentType, ...] = ()) -> Wanted:
        """The same for who needs no more than that."""
        return self.sought(asked, types)[0]

    def transcript(self, experiment: Experiment) -> Episode:
        """The stored episode. Raises StoreError when it is not there any more, or larger than anybody can
        read.
        """
        facts = experiment.episode
        if facts is not None and facts.length > LARGEST_EPISODE:
            raise StoreError(
                f"{experiment.source}: this episode takes {facts.length >> 20} MiB; open the file itself"
            )
        return self.store.transcript(experiment)

    def scenario(self, experiment: Experiment) -> Scenario | None:
        """The scenario an episode investigated, or None when its file cannot be found or read."""
        run = RunFolder(self.store.folder / experiment.run)
        return run.scenario(experiment.scenario_id, experiment.split)

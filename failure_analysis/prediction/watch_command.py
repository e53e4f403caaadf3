"""The command behind `python -m failure_analysis watch`: warns while a run goes on.

Looks at the run again and again until it ends. Each sign is told once, and each
test. It stops nothing: what to do about a warning is for a person to say.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from core.command_line import printable
from core.episode_store.run_folder import RunFolder, State
from core.episode_store.runs import find_run
from failure_analysis.prediction.readings import Space, Warned, free_disk, free_memory, of_rows, of_tests
from failure_analysis.receivers import (
    MAIL_TO,
    SMTP,
    WEBHOOK,
    Message,
    Receiver,
    Refused,
    TryAgain,
    receivers_from,
)
from failure_analysis.store import FailureStore
from project_types import ConfigurationError


def command(arguments: argparse.Namespace) -> int:
    """Watch until the run ends, or look once. Returns 1 when there was a warning."""
    receivers = receivers_from(os.environ) if arguments.alerts else []
    if arguments.alerts and not receivers:
        raise ConfigurationError(f"--alerts: set {WEBHOOK}, or {SMTP} and {MAIL_TO}")
    watching = Watching(arguments)
    while True:
        for warned in watching.look():
            print(printable(f"{datetime.now(UTC):%H:%M:%S} {warned.sign}: {warned.text}"), flush=True)
            _tell(receivers, watching.name, warned)
        if arguments.once or not watching.goes_on():
            return int(bool(watching.told))
        time.sleep(arguments.every_s)


class Watching:
    """One run that is watched, and what has been said of it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.path, _ = find_run(arguments.run, arguments.runs)
        self.name = self.path.name
        self.told: set[str] = set()
        self._tests: Path | None = arguments.tests
        self._store = FailureStore(arguments.failures)
        within_s = 60.0 * arguments.within_min
        self._disk = Space("disk", f"the disk of {self.path}", within_s)
        self._memory = Space("memory", "the memory of this machine", within_s)

    def look(self) -> list[Warned]:
        """What is new."""
        found = [*of_rows(RunFolder(self.path).rows), *self._disk.add(*free_disk(self.path))]
        if (memory := free_memory()) is not None:
            found += self._memory.add(*memory)
        if self._tests is not None:
            found += of_tests(self._tests, self._store)
        new = [warned for warned in found if self._of(warned) not in self.told]
        self.told |= {self._of(warned) for warned in new}
        return new

    @staticmethod
    def _of(warned: Warned) -> str:
        """What is told once: a sign, whose numbers change with every step, or one test."""
        return warned.text if warned.sign == "test" else warned.sign

    def goes_on(self) -> bool:
        """Whether somebody still writes the run."""
        return RunFolder(self.path).state is State.RUNNING


def _tell(receivers: list[Receiver], run: str, warned: Warned) -> None:
    message = Message(f"Warning: {run}: {warned.text}")
    for receiver in receivers:
        try:
            receiver.send(message)
        except (TryAgain, Refused) as trouble:
            print(
                f"{receiver.name} did not take the warning ({trouble}); check {receiver.variable}",
                file=sys.stderr,
            )

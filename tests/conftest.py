"""What holds for every test: how often a property is tried, and whom a test trusts.

Properties are tried rarely in the fast run and often in the slow one. Tests speak to this machine only, so
they trust one authority of their own. To load the real ones takes 25 ms for each client that a test opens.
"""

import gc
import os
import re
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

from tests.builders.examples import THOROUGH, register

ALL_SLOW = re.compile(rb"^pytestmark = .*pytest\.mark\.slow\b", re.MULTILINE)
register()
gc.disable()  # to import torch and litellm makes millions of objects, and none is garbage
gc.set_threshold(50_000, 20, 20)  # from the first test on
AUTHORITY = str(Path(__file__).with_name("authority.pem"))
os.environ.setdefault("SSL_CERT_FILE", AUTHORITY)
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # ART imports wandb, which would tell its makers
# a job in the background, and all that it starts, ignores Ctrl-C
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def runs_the_slow_ones(config: pytest.Config) -> bool:
    """Whether this run is `-m slow`."""
    return bool(config.option.markexpr.startswith("slow"))


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many examples are tried, and whom fast tests trust, before the tests are imported."""
    if runs_the_slow_ones(config) or os.environ.get("CI") == "slow":
        settings.load_profile(THOROUGH)
    else:  # whatever the shell names: a slow test may install a package, a fast one asks nobody
        os.environ["SSL_CERT_FILE"] = AUTHORITY


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass over files that hold slow tests only, in the fast run: to import them takes seconds."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return ALL_SLOW.search(collection_path.read_bytes()) is not None or None


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of garbage collection: to search it
    again and again takes long.
    """
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the slow run try every property too, before pytest chooses by mark."""
    for item in items if runs_the_slow_ones(config) else ():
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what a command said that should have ended well and did not."""
    report = yield
    failure = call.excinfo.value if call.excinfo else None
    if isinstance(failure, subprocess.CalledProcessError) and failure.stderr:
        said = failure.stderr if isinstance(failure.stderr, str) else failure.stderr.decode(errors="replace")
        report.sections.append(("stderr of the command", said))
    return report

"""One Chromium, and a dashboard over a captured run, for the tests in the browser.

Needs Debian's chromium. Without one these tests are skipped, unless CI or NEED_BROWSER is set: then they
fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from dashboard.browser import executable
from failure_analysis.records import ExperimentType, Severity
from failure_analysis.store import Wanted
from project_types import ConfigurationError
from tests.builders.runs import training_run
from tests.dashboard.browsing import tab
from tests.dashboard.served import captured, dashboard


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, started once."""
    try:
        path = executable()
    except ConfigurationError as trouble:
        if os.environ.get("CI") or os.environ.get("NEED_BROWSER"):
            pytest.fail(str(trouble))
        pytest.skip(str(trouble))
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captured run, with one failure of each severity."""
    runs = tmp_path_factory.mktemp("browser") / "runs"
    training_run(runs)
    store = captured(runs)
    failed = [
        row
        for row in store.experiments(Wanted(types=(ExperimentType.EPISODE,)), order="oldest").rows
        if row.failure
    ]
    with store.writing() as writer:
        for experiment, severity in zip(failed, Severity, strict=False):
            assert experiment.failure is not None
            analysis = experiment.failure.analysis.model_copy(update={"severity": severity})
            writer.put(
                experiment.model_copy(
                    update={"failure": experiment.failure.model_copy(update={"analysis": analysis})}
                )
            )
    return runs


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    """A dashboard over it."""
    with dashboard(root) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """One tab."""
    with tab(browser) as opened:
        yield opened

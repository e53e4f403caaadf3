"""Every page under the rules of axe-core, in light and dark, in a real Chromium: WCAG 2.2 A and AA,
and axe's best practices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from core.serving.guard import Door
from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.logs.ingest import ingest
from failure_analysis.notes import Notes
from failure_analysis.records import ExperimentType
from failure_analysis.store import DATABASE, FailureStore, Wanted
from graph_rca.findings import finding_path
from tests.builders.alignment import write_room
from tests.builders.rankings import finding as ranking
from tests.builders.runs import metrics_row, write_run
from tests.builders.testruns import RUN, save_finding, save_session
from tests.dashboard.browsing import tab
from tests.dashboard.served import dashboard, settings_beside

pytestmark = pytest.mark.slow
AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
AXE_RUN = "async () => (await axe.run(document, { resultTypes: ['violations'] })).violations"
THEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])


def findings(page: Page) -> list[str]:
    """What axe-core finds on the page: rule, target and reason of each node."""
    expect(page.locator("[data-charts][aria-busy=true]")).to_have_count(0)
    page.evaluate(AXE)
    violations: list[dict[str, Any]] = page.evaluate(AXE_RUN)
    return [
        f"{rule['id']}: {node['target']}: {node['failureSummary']}"
        for rule in violations
        for node in rule["nodes"]
    ]


def addresses(root: Path) -> list[str]:
    """Every page, full and empty; one group carries a comment and a mark."""
    store = FailureStore(root / DATABASE)
    failed = store.experiments(Wanted(correct=False)).rows[0]
    right = store.experiments(Wanted(correct=True)).rows[0]
    assert failed.failure is not None
    signature = failed.failure.signature
    Notes(root).add(signature, author="Ada", comment="seen before", mark="fixed", fixed_in="v2")
    lists = ["/", "/runs", "/run?name=seed1", "/curves", "/curves?name=seed1"]
    lists += ["/experiments", "/experiments?limit=2&page=2", "/experiments?q=nosuchthing"]
    lists += ["/episodes", "/episodes?limit=2", "/failures", "/failures?limit=1", f"/groups/{signature}"]
    build = store.experiments(Wanted(types=(ExperimentType.LOG,))).rows[0]
    single = [
        f"/episodes/{failed.id}",
        f"/episodes/{right.id}",
        f"/experiments/{build.id}",
        "/run?name=ended",
    ]
    settings = settings_beside(root)
    finding = save_finding(settings, RUN, "The volume of node 4 was full.")
    save_session(settings, RUN, "The volume of node 4 was full.", "1 line matches")
    single += ["/findings", "/findings?q=nosuchthing", f"/findings/{finding.id}", "/sessions", "/sessions/1"]
    (root / "graph_rca").mkdir(exist_ok=True)
    ranked = finding_path(root / "graph_rca", "incident-a")
    ranked.write_text(ranking("incident-a").model_dump_json(), encoding="utf-8")
    single += ["/rankings", "/rankings/incident-a"]
    pairs = ["/compare", "/compare?before=seed1&before_step=0&after_step=3", "/compare?before=nosuch"]
    pairs += ["/side-by-side?scenario_id=1a2b&before=seed1&before_step=0&after_step=3", "/nosuchpage"]
    aligned = ["/adapters", "/adapters/judged@v2", "/adapters/judge@v1", "/preferences"]
    aligned += ["/annotate", "/annotate?by=meg", "/annotate?by=somebody%20new"]
    return [*lists, *single, *pairs, *aligned]


@pytest.fixture(scope="module")
def root(root: Path) -> Path:
    """The captured run, beside a failed build with a long log, and a run that time ended."""
    log = root.parent / "build.log"
    steps = [f"step {number} done" for number in range(60)]
    log.write_text("\n".join([*steps, "FATAL: No space left on device", "exit code 1"]), encoding="utf-8")
    ingest([str(log)], FailureStore(root / DATABASE), LogAnalyzer(NO_MODEL))
    write_room(root / "alignment")
    rows = [metrics_row("train", step, 0.2) for step in range(1, 4)]
    write_run(root / "ended", {"steps": 45}, rows=rows, state={"ended_by": "time"})
    return root


@THEMES
def test_axe_finds_nothing_on_any_page(browser: Browser, url: str, root: Path, dark: bool) -> None:
    found = []
    with tab(browser, dark=dark) as page:
        for address in addresses(root):
            page.goto(url + address)
            found += [f"{address}: {finding}" for finding in findings(page)]
    assert found == [], "\n\n".join(found)


@THEMES
def test_axe_finds_nothing_in_an_open_analysis(browser: Browser, url: str, dark: bool) -> None:
    with tab(browser, dark=dark) as page:
        page.goto(f"{url}/experiments?status=failed")
        page.locator("a.badge").first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert findings(page) == []


@THEMES
def test_axe_finds_nothing_where_a_token_is_asked_for(browser: Browser, root: Path, dark: bool) -> None:
    with dashboard(root, Door(token="the right one")) as url, tab(browser, dark=dark) as page:
        page.goto(f"{url}/runs")
        assert findings(page) == []


def test_axe_finds_what_is_wrong(page: Page, url: str) -> None:
    page.goto(url)
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert [finding.split(":")[0] for finding in findings(page)] == ["button-name"]

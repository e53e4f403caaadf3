"""A ranking as a page: the drawing, the slider, the reasons; a file that is none
is said and hides no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from graph_rca.findings import finding_path, read_finding
from tests.builders.rankings import HOSTILE, finding
from tests.dashboard.browsing import tab
from tests.dashboard.served import dashboard, visitor


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    runs = tmp_path_factory.mktemp("rankings") / "runs"
    folder = runs / "graph_rca"
    folder.mkdir(parents=True)
    for one in (finding("incident-a"), finding("inc/../b", HOSTILE)):
        finding_path(folder, one.incident).write_text(one.model_dump_json(), encoding="utf-8")
    finding_path(folder, "broken").write_text('{"incident": "broken"}', encoding="utf-8")
    with dashboard(runs) as url:
        yield url


def test_rankings_are_listed_and_a_broken_file_is_said(address: str) -> None:
    page = visitor.get(f"{address}/rankings").text
    assert "incident-a" in page
    assert "broken.finding.json: is no finding" in page
    assert HOSTILE not in page
    assert len(visitor.get(f"{address}/api/rankings").json()) == 2


def test_a_ranking_shows_reasons_and_what_was_missing(address: str) -> None:
    page = visitor.get(f"{address}/rankings/incident-a").text
    assert "60 without metrics: cpu fell from 40 to 0" in page
    assert "metric db/cpu" in page
    assert "Missing: no logs" in page
    assert visitor.get(f"{address}/rankings/nothing").status_code == 404


def test_an_incident_whose_id_holds_slashes_has_a_page_and_its_file_stays_in_the_folder(
    address: str, tmp_path: Path
) -> None:
    assert visitor.get(f"{address}/rankings/{quote('inc/../b', safe='')}").status_code == 200
    assert finding_path(tmp_path, "inc/../../b").parent == tmp_path


def test_a_finding_read_back_is_the_same(tmp_path: Path) -> None:
    path = finding_path(tmp_path, "x")
    path.write_text(finding("x").model_dump_json(), encoding="utf-8")
    assert read_finding(path) == finding("x")


@pytest.mark.slow
def test_the_slider_marks_who_is_loud_at_a_moment(browser: Browser, address: str) -> None:
    with tab(browser) as page:
        page.goto(f"{address}/rankings/incident-a")
        slider = page.get_by_role("slider")
        loud = page.locator("rect.loud")
        expect(loud).to_have_count(0)
        slider.press("ArrowRight")
        expect(page.locator("#moment-text")).to_have_text("14:00:15")
        expect(loud).to_have_count(1)
        expect(loud).to_have_attribute("data-service", "db")
        slider.press("ArrowRight")
        expect(loud).to_have_count(2)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch_geometric") is None, reason="needs the extra graph")
def test_the_self_contained_page_opens_from_disk_and_its_slider_marks_who_is_loud(
    browser: Browser, tmp_path: Path
) -> None:
    from graph_rca.page import write_finding

    shown = write_finding(finding("incident-a"), tmp_path)
    with tab(browser) as page:
        requests: list[str] = []
        page.on("request", lambda asked: requests.append(asked.url))
        page.goto(shown.as_uri())
        expect(page.locator("h1")).to_have_text("Root causes of incident-a")
        expect(page.locator("line.path")).to_have_count(1)
        expect(page.locator("table")).to_contain_text("attention 0.25")
        loud = page.locator("rect.loud")
        expect(loud).to_have_count(0)
        slider = page.get_by_role("slider", name="Moment")
        slider.press("ArrowRight")
        expect(page.locator("#moment")).to_have_text("14:00:15")
        expect(loud).to_have_count(1)
        slider.press("ArrowRight")
        expect(loud).to_have_count(2)
    assert requests == [shown.as_uri()]

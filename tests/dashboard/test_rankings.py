"""A ranking as a page: the drawing, the slider, the reasons; a file that is none is said and hides no other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from graph_rca.findings import Arrow, Because, Drawing, Finding, Node, Suspect, finding_path, read_finding
from project_types import Evidence
from tests.dashboard.browsing import tab
from tests.dashboard.served import dashboard

HOSTILE = '<script>alert(1)</script>"'


def finding(incident: str, first: str = "db") -> Finding:
    """db stopped in the second of three moments; cart, which calls it, in the third."""
    nodes = (
        Node(service=first, x=230, y=40, probability=0.9, rank=1),
        Node(service="cart", x=20, y=40, probability=0.1, rank=2),
    )
    arrows = (Arrow(x1=170, y1=58, x2=230, y2=58, on_path=True),)
    times, scores = ("14:00:05", "14:00:15", "14:00:25"), ((0.0, 9.0, 9.0), (0.0, 0.5, 8.0))
    cited = (Evidence(kind="metric", id="db/cpu"),)
    why = Because(without="metrics", drop=0.6, text="cpu fell from 40 to 0", evidence=cited)
    return Finding(
        incident=incident, title=HOSTILE, at=datetime(2026, 3, 4, 14, 1, tzinfo=UTC), noticed="14:00:15", ranker="gat",
        milliseconds=31, missing=("no logs",), path=(first, "cart"),
        services=(Suspect(service=first, probability=0.9, reasons=(why,)), Suspect(service="cart", probability=0.1)),
        drawing=Drawing(width=420, height=120, nodes=nodes, arrows=arrows, times=times, scores=scores),
    )  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    runs = tmp_path_factory.mktemp("rankings") / "runs"
    folder = runs / "graph_rca"
    folder.mkdir(parents=True)
    for one in (finding("incident-a"), finding("inc/../b", HOSTILE)):
        name = one.incident.replace("/", "-")
        finding_path(folder, name).write_text(one.model_dump_json(), encoding="utf-8")
    finding_path(folder, "broken").write_text('{"incident": "broken"}', encoding="utf-8")
    with dashboard(runs) as url:
        yield url


def test_rankings_are_listed_and_a_broken_file_is_said(address: str) -> None:
    page = httpx.get(f"{address}/rankings").text
    assert "incident-a" in page
    assert "broken.finding.json: is no finding" in page
    assert HOSTILE not in page
    assert len(httpx.get(f"{address}/api/rankings").json()) == 2


def test_a_ranking_shows_reasons_and_what_was_missing(address: str) -> None:
    page = httpx.get(f"{address}/rankings/incident-a").text
    assert "60 without metrics: cpu fell from 40 to 0" in page
    assert "metric db/cpu" in page
    assert "Missing: no logs" in page
    assert httpx.get(f"{address}/rankings/nothing").status_code == 404


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

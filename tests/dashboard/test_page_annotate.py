"""The page on which people judge answers, over HTTP: blind, one pair at a time, undone,
and safe from hostile text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from alignment.answers import TAGS
from alignment.generator import generate
from alignment.pairs import from_cases
from alignment.preferences import read, write
from tests.dashboard.served import dashboard, visitor

PAIRS = [
    pair.model_copy(update={"answer_a": pair.answer_a + " <script>alert(1)</script>"})
    for pair in from_cases(generate("train", 6))
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotate") / "runs"
    write(folder / "alignment" / "pairs.jsonl", PAIRS)
    return folder


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[httpx.Client]:
    with dashboard(runs) as url, httpx.Client(base_url=url, timeout=60, follow_redirects=True) as http:
        yield http


def form(page: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))


def test_a_stranger_is_asked_for_a_name(client: httpx.Client) -> None:
    assert "Your name" in client.get("/annotate").text


def test_a_pair_is_shown_blind_and_its_text_is_no_markup(client: httpx.Client) -> None:
    page = client.get("/annotate", params={"by": "meg"}).text
    assert "Answer 1" in page
    assert "1 is better" in page
    assert "generator" not in page
    assert "<script>alert" not in page
    assert "<mark>" in page
    keys = re.findall(r'type="checkbox"[^>]*data-key="(\w)"', page)
    assert len(set(keys)) == len(TAGS), "each tag has a key of its own"


def test_a_verdict_is_kept_and_the_next_pair_comes(client: httpx.Client, runs: Path) -> None:
    first = client.get("/annotate", params={"by": "owen"}).text
    after = client.post("/annotate", data=form(first) | {"side": "left", "why": "generic"})
    assert "1 of 12 judged" in after.text
    assert form(after.text)["pair"] != form(first)["pair"]
    said = [one for one in read(runs / "alignment" / "judgements.jsonl") if one.by == "owen"]
    assert [one.why for one in said] == [("generic",)]
    undone = client.post("/annotate", data=form(after.text) | {"side": "undo"})
    assert form(undone.text)["pair"] == form(first)["pair"]


def test_a_verdict_that_makes_no_sense_is_refused(client: httpx.Client) -> None:
    refused = client.post("/annotate", data={"by": "meg", "pair": "x", "side": "left"})
    assert refused.status_code == 422
    assert "load the page again" in refused.text


def test_another_site_cannot_judge(client: httpx.Client) -> None:
    headers = {"Origin": "http://evil.example"}
    assert client.post("/annotate", data={"by": "meg", "side": "undo"}, headers=headers).status_code == 403


@pytest.mark.slow
def test_keys_judge_tag_and_undo(browser: Browser, runs: Path) -> None:
    with dashboard(runs) as url:
        page = browser.new_page()
        page.goto(f"{url}/annotate?by=keys")
        first = page.locator("input[name=pair]").first.input_value()
        page.keyboard.press("q")
        assert page.locator("input[value='wrong cause']").is_checked()
        with page.expect_navigation():
            page.keyboard.press("1")
        assert page.locator("#progress").inner_text().startswith("keys: 1 of 12 judged")
        with page.expect_navigation():
            page.keyboard.press("u")
        assert page.locator("input[name=pair]").first.input_value() == first
        page.close()


def test_without_pairs_the_page_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with dashboard(tmp_path / "runs") as url:
        assert "python -m alignment pairs" in visitor.get(f"{url}/annotate").text

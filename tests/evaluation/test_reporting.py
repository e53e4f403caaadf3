"""The report page loads nothing, runs nothing and escapes what models and logs wrote."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from core.episode_store.loading import load
from core.episode_store.run_folder import EPISODES
from core.intervals import Interval
from evaluation.pictures import intervals
from evaluation.reporting import page
from project_types import Ending, Episode, Verdict
from tests.builders.commands import evaluation as run
from tests.builders.episodes import episode, write_episodes
from tests.builders.pages import Page

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\"'"


def hostile_episodes() -> list[Episode]:
    message = (
        {
            "role": HOSTILE,
            "content": HOSTILE,
            "tool_calls": [{"function": {"name": HOSTILE, "arguments": HOSTILE}}],
        },
    )
    says = Verdict(correct=False, service_correct=False, cause_correct=False, reason=HOSTILE, judge=HOSTILE)
    slices = {"fault_type": HOSTILE, "family": HOSTILE, "topology": HOSTILE}
    wrong = episode(
        HOSTILE,
        messages=message,
        verdict=says,
        policy=HOSTILE,
        metadata=slices,
        reward_components={HOSTILE: 1.0},
    )
    return [wrong, episode("b", correct=True), episode("c", ending=Ending.OUT_OF_TURNS)]


def rendered(folder: Path, *episodes: Episode) -> str:
    write_episodes(folder / EPISODES, *episodes)
    return page(load(folder))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run whose every text is hostile."""
    return rendered(tmp_path_factory.mktemp("hostile"), *hostile_episodes())


def test_nothing_hostile_becomes_markup(hostile: str) -> None:
    found = Page(hostile)
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"script", "img", "iframe", "object", "link", "form"}
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert HOSTILE in found.text


def test_the_page_loads_nothing(hostile: str) -> None:
    for tag, attributes in Page(hostile).tags:
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert "@import" not in hostile
    assert "url(http" not in hostile


def test_every_picture_says_in_words_what_it_shows(hostile: str) -> None:
    pictures = [attributes for tag, attributes in Page(hostile).tags if tag == "svg"]
    assert len(pictures) == 6
    assert all(one["role"] == "img" and one["aria-label"] for one in pictures)


def test_ids_are_used_once(hostile: str) -> None:
    ids = [
        attributes["id"]
        for tag, attributes in Page(hostile).tags
        if attributes.get("id") and tag not in ("path", "rect", "clippath")
    ]
    assert len(ids) == len(set(ids))


def test_a_picture_is_well_formed_whatever_its_names() -> None:
    picture = intervals(
        HOSTILE, {HOSTILE: Interval(0.5, 0.25, 0.75, 8), "$math$ & <b>": Interval(0.0, 0.0, 0.4, 3)}
    )
    texts = [element.text for element in ET.fromstring(picture.svg).iter() if element.tag.endswith("text")]
    assert f"{HOSTILE} (8)" in texts
    assert "50.0 % [25.0, 75.0]" in picture.says


def test_the_command_writes_the_page_beside_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_episodes(tmp_path / EPISODES, episode("a"))
    assert run("report", tmp_path) == 0
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert "1 episodes" in capsys.readouterr().out


def test_damage_is_said_on_the_page(tmp_path: Path) -> None:
    write_episodes(tmp_path / EPISODES, episode("a"))
    with (tmp_path / EPISODES).open("ab") as file:
        file.write(b'{"half')
    assert "half-written and was left out" in Page(page(load(tmp_path))).text


def test_an_empty_run_has_a_page_too(tmp_path: Path) -> None:
    (tmp_path / EPISODES).touch()
    assert "There is no episode yet." in page(load(tmp_path))

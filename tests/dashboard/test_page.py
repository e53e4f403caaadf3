"""The pages as HTML: what they say when all is well, when there is nothing, and when everything in them is
hostile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from dashboard.rendering import ago, environment, href, visible
from failure_analysis.records import ExperimentType
from failure_analysis.store import DATABASE, Wanted
from tests.builders.episodes import episode, write_episodes
from tests.builders.runs import training_run
from tests.dashboard.served import captured, dashboard, visitor
from tests.failure_analysis.hostile import EVERYTHING, ID, RUN_NAME, hostile_run

PLAIN_TAGS = """html head meta title link script body a svg symbol path circle rect line use header nav span button main
dialog div p h1 h2 h3 section article aside details summary dl dt dd ul li table caption thead tbody tr th td
form label select option input code pre mark strong br time progress noscript"""
SCRIPTS = {"theme.js", "htmx.min.js", "uPlot.iife.min.js", "charts.js", "page.js"}


class Outline(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


Answers = dict[str, httpx.Response]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Every page of a dashboard over a hostile run, by its address; the last three are no pages."""
    root = tmp_path_factory.mktemp("hostile") / "runs"
    hostile_run(root)
    store = captured(root)
    rows = store.experiments(limit=100).rows
    episodes = [row.id for row in rows if row.episode]
    name = quote(RUN_NAME)
    pages = [
        "/",
        "/runs",
        f"/run?name={name}",
        f"/run/status?name={name}",
        "/experiments",
        "/episodes",
        "/failures?by=fault_type",
    ]
    pages += [f"/experiments/{row.id}" for row in rows] + [f"/experiments/{row.id}/analysis" for row in rows]
    pages += [f"/episodes/{id}" for id in episodes] + [f"/experiments?q={quote(EVERYTHING[:150])}&run={name}"]
    pages += [
        f"/compare?before={name}&before_step=0&after_step=3",
        f"/side-by-side?scenario_id={quote(ID)}&before={name}&before_step=0",
    ]
    pages += [
        f"/run?name={quote(EVERYTHING[:200])}",
        f"/experiments?{quote(EVERYTHING[:100])}=1",
        f"/{quote(EVERYTHING)}",
    ]
    with dashboard(root) as url, httpx.Client(base_url=url, timeout=60, follow_redirects=True) as client:
        return {page: client.get(page) for page in pages}


def test_no_page_holds_an_element_or_attribute_that_a_log_or_a_model_wrote(
    hostile: Answers,
) -> None:
    assert len(hostile) > 20
    for page, answer in hostile.items():
        assert answer.headers["content-type"] == "text/html; charset=utf-8", page
        outline = Outline(answer.text)
        assert outline.tags <= set(PLAIN_TAGS.split()), page
        for tag, name, value in outline.attributes:
            assert not name.startswith(("on", "hx-on", "style")), (page, tag, name)
            if name == "src":
                assert tag == "script", page
                assert value.rpartition("/")[2] in SCRIPTS, page
            if name in ("href", "action", "hx-get", "data-charts"):
                assert value.startswith(("/", "#")), (page, value)
                assert not value.startswith("//"), (page, value)


def test_hostile_text_is_shown_as_it_is_and_not_lost(hostile: Answers) -> None:
    shown = [Outline(one.text).text for page, one in hostile.items() if page.startswith("/episodes/")]
    whole = next(text for text in shown if "window.pwned=1" in text)
    assert "<script>window.pwned=1</script>" in whole
    assert "{{ 7*191 }}" in whole
    assert "1337" not in whole


def test_characters_that_deceive_the_eye_are_made_visible(hostile: Answers) -> None:
    for page, answer in hostile.items():
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x1b\x07]", answer.text), page


def test_every_page_of_a_hostile_run_is_shown(hostile: Answers) -> None:
    statuses = [answer.status_code for answer in hostile.values()]
    assert set(statuses[:-3]) == {200}
    assert statuses[-3:] == [404, 422, 404]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One captured training run."""
    runs = tmp_path_factory.mktemp("page") / "runs"
    training_run(runs)
    captured(runs)
    return runs


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[httpx.Client]:
    """A client of a dashboard over it."""
    with dashboard(root) as url, httpx.Client(base_url=url, timeout=60) as opened:
        yield opened


def test_the_experiments_table_has_a_badge_by_severity_with_an_icon_by_category(client: httpx.Client) -> None:
    outline = Outline(client.get("/experiments?status=failed").text)
    classes = [
        value
        for tag, name, value in outline.attributes
        if tag == "a" and name == "class" and "badge" in value
    ]
    icons = [
        value for tag, name, value in outline.attributes if tag == "use" and value.startswith("#icon-logic")
    ]
    assert classes
    assert all(value.split()[1].startswith("sev-") for value in classes)
    assert len(icons) >= len(classes)


def test_the_analysis_says_id_category_severity_cause_and_fix(client: httpx.Client, root: Path) -> None:
    one = next(row for row in captured(root).experiments().rows if row.failure)
    assert one.failure is not None
    text = Outline(client.get(f"/experiments/{one.id}/analysis").text).text
    why = one.failure.analysis
    for said in (one.id, "logic error", why.severity, why.root_cause, why.fix_suggestion):
        assert said in text


def test_the_viewer_marks_cited_evidence_against_gold(client: httpx.Client, root: Path) -> None:
    rows = captured(root).experiments(Wanted(types=(ExperimentType.EPISODE,), step=0)).rows
    right, wrong = (
        next(row.id for row in rows if row.episode and row.episode.correct is side) for side in (True, False)
    )
    marked = [
        value
        for tag, name, value in Outline(client.get(f"/episodes/{right}").text).attributes
        if tag == "mark" and name == "class"
    ]
    assert marked.count("both") == 3  # the line, and the trace in two lines
    page = Outline(client.get(f"/episodes/{wrong}").text)
    marks = {value for tag, name, value in page.attributes if tag == "mark" and name == "class"}
    assert marks == {"gold", "cited", "both"}
    assert "Verdict of offline" in page.text
    assert "The ledger's volume is full" in page.text
    assert "evidence opened" in page.text


def test_without_the_scenario_file_an_episode_is_shown_and_says_what_is_missing(tmp_path: Path) -> None:
    training_run(tmp_path / "runs")
    store = captured(tmp_path / "runs")
    for path in (tmp_path / "scenarios" / "test").iterdir():
        path.unlink()
    id = next(row.id for row in store.experiments().rows if row.episode)
    with dashboard(tmp_path / "runs") as url:
        answer = visitor.get(f"{url}/episodes/{id}")
    assert answer.status_code == 200
    assert "gold evidence is not marked" in answer.text


def test_two_checkpoints_stand_side_by_side_on_one_scenario(client: httpx.Client) -> None:
    page = Outline(
        client.get("/side-by-side?scenario_id=1a2b&before=seed1&before_step=0&after=seed1&after_step=3").text
    )
    ids = [value for tag, name, value in page.attributes if tag == "article" and name == "id"]
    assert ids == ["left-turn-1", "left-turn-2", "right-turn-1", "right-turn-2"]
    assert "step 0" in page.text
    assert "step 3" in page.text


def test_a_side_without_an_episode_says_so(client: httpx.Client) -> None:
    page = client.get("/side-by-side?scenario_id=1a2b&before=seed1&before_step=0&after=seed1&after_step=2")
    assert page.status_code == 200
    assert "no stored episode" in page.text


def test_an_empty_folder_is_met_with_what_to_do_next(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with dashboard(tmp_path / "runs") as url:
        overview, runs, experiments = (visitor.get(url + path) for path in ("/", "/runs", "/experiments"))
    assert overview.status_code == 200
    assert "train_serverless.py" in overview.text
    assert "no run yet" in runs.text
    assert experiments.status_code == 503
    assert "failure_analysis capture" in experiments.text


def test_filters_that_match_nothing_say_so(client: httpx.Client) -> None:
    for path in ("/experiments", "/episodes", "/failures"):
        page = client.get(f"{path}?q=nothing-is-called-this")
        assert page.status_code == 200
        assert "matches." in page.text


def test_a_damaged_store_leaves_the_runs_readable(tmp_path: Path) -> None:
    training_run(tmp_path / "runs")
    (tmp_path / "runs" / DATABASE).write_bytes(b"\0" * 5000)
    with dashboard(tmp_path / "runs") as url:
        overview, run, list_ = (visitor.get(url + path) for path in ("/", "/run?name=seed1", "/experiments"))
    assert overview.status_code == run.status_code == 200
    assert "failure_analysis repair" in overview.text
    assert 'data-charts="/api/run/curves?name=seed1"' in run.text
    assert list_.status_code == 503


def test_the_pages_name_what_they_hold_for_those_who_do_not_see_them(
    client: httpx.Client, root: Path
) -> None:
    episode = next(row.id for row in captured(root).experiments().rows if row.episode)
    for path in ("/", "/runs", "/run?name=seed1", "/experiments", "/failures", f"/episodes/{episode}"):
        page = client.get(path).text
        outline = Outline(page)
        assert page.count("<h1") == 1, path
        assert ("html", "lang", "en") in outline.attributes
        for tag in re.findall(r"<(?:button|select|input)\b[^>]*>", page):
            labelled = "aria-label" in tag or "hidden" in tag or "<select" in tag or 'type="search"' in tag
            assert labelled or re.search(re.escape(tag) + r"(?:<svg.*?</svg>)?[^<\s]", page), tag
        assert page.count("<th ") == page.count('<th scope="')


def test_two_checkpoints_that_tried_nothing_in_common_are_not_said_to_be_without_failures(
    tmp_path: Path,
) -> None:
    run = training_run(tmp_path / "runs")
    write_episodes(
        run / "episodes" / "train-0001-t1.jsonl",
        episode("9f9f", split="train", policy="seed1@1"),
    )
    captured(tmp_path / "runs")
    with dashboard(tmp_path / "runs") as url:
        page = visitor.get(f"{url}/compare?before=seed1&before_step=0&after_step=1").text
    assert "tried no scenario in common" in page
    assert "No scenario fails" not in page


def test_a_filter_with_a_wrong_value_is_refused_by_the_name_the_user_typed(client: httpx.Client) -> None:
    refused = Outline(client.get("/experiments?severity=awful").text).text
    assert "severity: Input should be" in refused


def test_an_empty_list_shows_no_page_numbers(client: httpx.Client) -> None:
    assert "of 0" not in client.get("/experiments?q=zzzzzz").text


def test_pages_lead_to_the_next_and_the_previous_one_with_the_filters_kept(client: httpx.Client) -> None:
    first = client.get("/episodes?limit=3&split=test").text
    assert (
        'href="/episodes?split=test&amp;limit=3&amp;offset=3"' in first
        or 'href="/episodes?limit=3&amp;split=test&amp;offset=3"' in first
    )
    middle = Outline(client.get("/episodes?limit=3&split=test&offset=3").text)
    rels = [value for tag, name, value in middle.attributes if tag == "a" and name == "rel"]
    assert rels == ["prev", "next"]
    assert "4–6 of 8" in middle.text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("a\u202eb", "a\ufffdb"),
        ("\ud800", "\ufffd"),
        ("tab\tline\n", "tab\tline\n"),
        (7, 7),
        ("\x00\x1b", "\ufffd\ufffd"),
    ],
)
def test_visible_keeps_text_and_replaces_what_hides(given: object, shown: object) -> None:
    assert visible(given) == shown


def test_addresses_are_quoted_and_empty_parameters_left_out() -> None:
    assert (
        href("/run", name="a&b=c/<x>", step=0, empty="", none=None) == "/run?name=a%26b%3Dc%2F%3Cx%3E&step=0"
    )
    assert href("/run", {"a": 1, "b": 2}, b=3) == "/run?a=1&b=3"


def test_templates_escape_by_default() -> None:
    template = environment().from_string("<p title='{{ value }}'>{{ value }}</p>")
    assert template.render(value="<'\">") == "<p title='&lt;&#39;&#34;&gt;'>&lt;&#39;&#34;&gt;</p>"


def test_no_template_and_no_script_opts_out_of_escaping() -> None:
    folder = Path("dashboard")
    templates = "".join(path.read_text() for path in (folder / "templates").iterdir())
    scripts = "".join(path.read_text() for path in (folder / "static").glob("*.js"))
    for forbidden in ("|safe", "| safe", "autoescape", "Markup", "javascript:", " style=", " onclick"):
        assert forbidden not in templates
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
    ):
        assert forbidden not in scripts


def test_time_is_said_in_one_unit() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    said = [ago(now - timedelta(seconds=seconds), now) for seconds in (0, 59, 60, 3599, 7200, 90000)]
    assert said == ["0 s ago", "59 s ago", "1 min ago", "59 min ago", "2 h ago", "1 d ago"]


def test_vendored_files_are_the_versions_their_table_names_with_their_licences() -> None:
    vendor = Path("dashboard/static/vendor")
    table = (vendor / "README.md").read_text()
    versions = dict(re.findall(r"\| `(\w+)/` \| `[\w.]+` \| ([\d.]+) \|", table))
    assert f'version:"{versions["htmx"]}"' in (vendor / "htmx" / "htmx.min.js").read_text()
    assert f"v{versions['uplot']}" in (vendor / "uplot" / "uPlot.iife.min.js").read_text()[:300]
    assert "Permission to use" in (vendor / "htmx" / "LICENSE").read_text()
    assert "MIT License" in (vendor / "uplot" / "LICENSE").read_text()

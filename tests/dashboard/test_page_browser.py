"""The page in a real Chromium: badges, dialog, filters, live curves, keyboard, phone, dark, errors, and
enemies' scripts.
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from core.episode_store.run_folder import TRAINING_LOCK
from core.files import held
from core.serving.guard import Door
from failure_analysis.records import Severity
from failure_analysis.store import FailureStore, Wanted
from tests.builders.episodes import episode, write_episodes
from tests.builders.runs import SCENARIOS, metrics_row, training_run
from tests.dashboard.browsing import tab
from tests.dashboard.served import captured, dashboard
from tests.failure_analysis.hostile import ID, RUN_NAME, hostile_run

pytestmark = pytest.mark.slow
expect.set_options(timeout=60_000)


def colour(page: Page, selector: str, name: str = "color") -> str:
    """A computed colour."""
    return str(page.locator(selector).first.evaluate("(node, name) => getComputedStyle(node)[name]", name))


def test_badges_are_coloured_by_severity_and_carry_the_icon_of_their_category(page: Page, url: str) -> None:
    page.goto(f"{url}/experiments?status=failed")
    red, orange, yellow, grey = (
        [int(part) for part in colour(page, f"a.badge.sev-{severity}", "backgroundColor")[4:-1].split(",")]
        for severity in Severity
    )
    assert red[0] > red[1] + 20
    assert red[0] > red[2] + 20
    assert orange[0] > orange[1] > orange[2]
    assert yellow[0] - yellow[1] < 20 < yellow[1] - yellow[2]
    assert max(grey) - min(grey) < 10
    for badge in page.locator("a.badge").all():
        assert badge.locator("use").get_attribute("href") == "#icon-logic_error"
        box = badge.locator("svg").bounding_box()
        assert box is not None
        assert box["width"] > 8


def test_a_click_opens_the_analysis_and_escape_closes_it_where_it_was(
    page: Page, url: str, root: Path
) -> None:
    page.goto(f"{url}/experiments?status=failed&severity=critical")
    one = FailureStore(root / "failures.db").experiments(Wanted(severities=(Severity.CRITICAL,))).rows[0]
    assert one.failure is not None
    badge = page.locator("a.badge")
    badge.click()
    dialog = page.get_by_role("dialog", name=one.name)
    expect(dialog).to_be_visible()
    for said in (
        one.id,
        "logic error",
        "critical",
        one.failure.analysis.root_cause,
        one.failure.analysis.fix_suggestion,
    ):
        expect(dialog).to_contain_text(said)
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).not_to_be_visible()
    expect(badge).to_be_focused()


def test_the_dialog_is_opened_walked_and_closed_with_the_keyboard_alone(page: Page, url: str) -> None:
    page.goto(f"{url}/experiments?status=failed")
    page.locator("a.badge").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog [data-close]")).to_be_focused()
    for keys in (["Tab"] * 4, ["Shift+Tab"] * 5):
        for key in keys:
            page.keyboard.press(key)
            assert page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    page.locator("dialog [data-close]").focus()
    page.keyboard.press("Space")
    expect(page.locator("dialog")).not_to_be_visible()


def test_a_click_beside_the_dialog_closes_it_and_one_inside_does_not(page: Page, url: str) -> None:
    page.goto(f"{url}/experiments?status=failed")
    page.locator("a.badge").first.click()
    expect(page.locator("dialog")).to_be_visible()
    page.locator("dialog h2").click()
    expect(page.locator("dialog")).to_be_visible()
    page.mouse.click(5, 450)
    expect(page.locator("dialog")).not_to_be_visible()


def test_filters_change_the_table_and_the_address_without_a_reload(page: Page, url: str) -> None:
    page.goto(f"{url}/experiments")
    page.evaluate("window.sameDocument = true")
    page.get_by_label("Severity").select_option("high")
    expect(page.locator("#results .pager")).to_contain_text("of 1")
    expect(page.locator("#results a.badge.sev-high")).to_have_count(1)
    assert "severity=high" in page.url
    page.get_by_label("Severity").select_option("")
    page.get_by_role("searchbox").press_sequentially("3e5f", delay=20)
    expect(page.locator("#results .pager")).to_contain_text("of 2")
    expect(page.locator("#said")).to_contain_text("of 2 results")
    page.get_by_role("searchbox").fill("no such thing")
    expect(page.locator("#results")).to_contain_text("Nothing matches.")
    assert page.evaluate("window.sameDocument") is True


def test_going_back_after_filtering_shows_the_earlier_table_and_its_badges_still_open(
    page: Page, url: str
) -> None:
    page.goto(f"{url}/experiments?status=failed")
    whole = page.locator("#results .pager span").inner_text()
    page.get_by_label("Severity").select_option("high")
    expect(page.locator("#results .pager")).to_contain_text("of 1")
    page.go_back()
    expect(page.locator("#results .pager span")).to_have_text(whole)
    page.locator("a.badge").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_filters_work_without_any_script(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(f"{url}/episodes")
    plain.get_by_label("Verdict").select_option("false")
    plain.get_by_role("button", name="Filter").click()
    expect(plain.locator("#results .pager")).to_contain_text("of 4")
    plain.locator("#results a.what").first.click()
    expect(plain.locator("article")).to_have_count(2)
    context.close()


def test_curves_grow_while_a_run_trains_and_stop_asking_when_it_ends(page: Page, tmp_path: Path) -> None:
    run = training_run(tmp_path / "runs", finished=True, steps=5)
    metrics = run / "metrics.jsonl"
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows if row["step"] <= 1))
    captured(tmp_path / "runs")
    with dashboard(tmp_path / "runs") as url:
        with (run / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            page.goto(f"{url}/run?name=seed1")
            charts = page.locator("[data-charts]").first
            expect(charts).to_have_attribute("data-live", "true")
            expect(page.locator(".run-status")).to_contain_text("step 1 of 5")
            table = page.locator("figure", has_text="Root cause right").locator("tbody tr")
            expect(table).to_have_count(2)
            canvas = page.locator("figure canvas").first
            before = canvas.evaluate("node => node.toDataURL()")
            with metrics.open("a") as file:
                file.write(json.dumps(metrics_row("train", 2, 0.9)) + "\n")
            expect(table).to_have_count(3)
            expect(page.locator(".run-status")).to_contain_text("step 2 of 5")
            assert canvas.evaluate("node => node.toDataURL()") != before
        expect(page.locator(".run-status")).to_contain_text("finished")
        expect(charts).to_have_attribute("data-live", "false")
        assert page.locator(".run-status").get_attribute("hx-get") is None


def test_episodes_appear_on_the_open_page_of_a_run_as_they_are_written(page: Page, tmp_path: Path) -> None:
    run = training_run(tmp_path / "runs")
    with (run / ".lock").open("w") as lock, dashboard(tmp_path / "runs", watching=True) as url:
        fcntl.flock(lock, fcntl.LOCK_EX)
        page.goto(f"{url}/run?name=seed1")
        expect(page.locator("#run-results")).to_contain_text("All 8 episodes")
        played = [episode(id, correct=True, split="val") for id in SCENARIOS]
        write_episodes(run / "episodes" / "val-0003-t0.jsonl", *played)
        expect(page.locator("#run-results")).to_contain_text("All 12 episodes")
        expect(page.locator("#run-results")).to_contain_text("val, temperature 0")


def test_a_server_that_goes_away_is_said_and_what_was_shown_stays(browser: Browser, root: Path) -> None:
    with tab(browser) as page:
        with dashboard(root) as url:
            page.goto(f"{url}/experiments?status=failed")
            expect(page.locator("a.badge").first).to_be_visible()
        page.locator("a.badge").first.click()
        expect(page.get_by_role("alert")).to_contain_text("does not answer")
        page.keyboard.press("Escape")
        page.get_by_label("Severity").select_option("low")
        expect(page.locator("#results .trouble")).to_contain_text("does not answer")
        expect(page.locator("#results tbody tr").first).to_be_visible()


def test_an_analysis_that_is_gone_opens_a_dialog_that_says_so(page: Page, url: str) -> None:
    page.goto(f"{url}/experiments?status=failed")
    page.route("**/analysis", lambda route: route.fulfill(status=404, body="<b>gone</b>"))
    page.locator("a.badge").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("404")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("dialog")).not_to_be_visible()


def test_an_empty_folder_and_a_damaged_store_are_met_with_words(page: Page, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with dashboard(tmp_path / "empty") as url:
        page.goto(url)
        expect(page.locator("main")).to_contain_text("Nothing has been captured yet.")
    training_run(tmp_path / "runs")
    (tmp_path / "runs" / "failures.db").write_bytes(b"\0" * 9999)
    with dashboard(tmp_path / "runs") as url:
        page.goto(f"{url}/run?name=seed1")
        expect(page.get_by_role("alert").first).to_contain_text("failure_analysis repair")
        expect(page.locator("figure canvas").first).to_be_visible()
        page.goto(f"{url}/failures")
        expect(page.get_by_role("alert")).to_contain_text("The store cannot be read")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read_in_light_and_dark(browser: Browser, url: str, root: Path, dark: bool) -> None:
    failed = next(
        row.id for row in FailureStore(root / "failures.db").experiments(Wanted(correct=False)).rows
    )
    with tab(browser, dark=dark) as page:
        for path, selectors in (
            (
                "/experiments?status=failed",
                [
                    *(f".sev-{severity}" for severity in Severity),
                    ".state",
                    "td",
                    "th",
                    ".what",
                    "nav a",
                    ".small",
                ],
            ),
            (
                f"/episodes/{failed}",
                [
                    "mark.gold",
                    "mark.cited",
                    "mark.both",
                    ".level-ERROR",
                    ".level-WARN",
                    ".wrong",
                    ".kind",
                    ".quiet",
                ],
            ),
            ("/run?name=seed1", [".chart-title", ".legend li", ".chips dt", "a"]),
        ):
            page.goto(url + path)
            expect(page.locator("[data-charts][aria-busy=true]")).to_have_count(0)
            for selector in selectors:
                assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, (path, selector, dark)


CONTRAST = """node => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  let ground = [255, 255, 255];
  for (let one = node; one; one = one.parentElement) {
    const found = parse(getComputedStyle(one).backgroundColor);
    if (found.length === 3 || found[3] === 1) { ground = found; break; }
  }
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


def test_the_word_gold_stands_on_the_line_it_marks_at_any_width(page: Page, url: str, root: Path) -> None:
    tried = FailureStore(root / "failures.db").experiments(Wanted(split="test", correct=True)).rows[0]
    low = "const low = node => node.getBoundingClientRect().bottom;"
    below = f"tags => {{ {low} return tags.filter(tag => low(tag) > low(tag.parentElement)).length }}"
    page.goto(f"{url}/episodes/{tried.id}")
    tags = page.locator(".result .row .tag")
    expect(tags.first).to_be_visible()
    for width in range(320, 980, 12):
        page.set_viewport_size({"width": width, "height": 900})
        assert tags.evaluate_all(below) == 0, width


def test_the_theme_switch_changes_the_page_and_is_remembered(page: Page, url: str) -> None:
    page.goto(f"{url}/run?name=seed1")
    light = colour(page, "body", "backgroundColor")
    page.get_by_role("button", name="Switch between light and dark").click()
    assert colour(page, "body", "backgroundColor") != light
    page.reload()
    assert colour(page, "body", "backgroundColor") != light


def test_on_a_phone_no_page_scrolls_sideways(browser: Browser, url: str, root: Path) -> None:
    failed = next(
        row.id for row in FailureStore(root / "failures.db").experiments(Wanted(correct=False)).rows
    )
    pages = ["/", "/runs", "/run?name=seed1", "/experiments", "/episodes", "/failures", f"/episodes/{failed}"]
    pages += [
        "/compare?before=seed1&before_step=0&after_step=3",
        "/side-by-side?scenario_id=1a2b&before=seed1&before_step=0&after_step=3",
    ]
    with tab(browser, 360, 740) as page:
        for path in pages:
            page.goto(url + path)
            expect(page.locator("[data-charts][aria-busy=true]")).to_have_count(0)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
            assert (
                page.evaluate(
                    "(nav => nav.scrollWidth - nav.clientWidth)(document.querySelector('.top nav'))"
                )
                <= 0
            ), path
            page.get_by_role("navigation", name="Main").get_by_role("link", name="Episodes").click()
            expect(page).to_have_url(f"{url}/episodes")


def drag(page: Page, figure: Locator) -> None:
    """Drag over a part of a chart, once it has stopped moving: charts above it may still be drawn."""
    over = figure.locator(".u-over")
    over.hover(trial=True)  # waits until it stands still
    box = over.bounding_box()
    assert box is not None
    over.hover(position={"x": 0.3 * box["width"], "y": box["height"] / 2})
    page.mouse.down()
    over.hover(position={"x": 0.6 * box["width"], "y": box["height"] / 2})
    page.mouse.up()


def test_a_drag_zooms_into_a_chart_and_show_all_brings_everything_back(page: Page, url: str) -> None:
    page.goto(f"{url}/run?name=seed1")
    figure = page.locator("figure.chart").first
    drawn = "canvas => canvas.toDataURL()"
    canvas, whole = figure.locator("canvas"), figure.get_by_role("button", name="Show all")
    expect(canvas).to_be_visible()
    expect(whole).not_to_be_visible()
    before = canvas.evaluate(drawn)
    drag(page, figure)
    expect(whole).to_be_visible()
    assert canvas.evaluate(drawn) != before
    whole.click()
    expect(whole).not_to_be_visible()
    assert canvas.evaluate(drawn) == before


def test_a_zoom_stays_while_a_run_brings_new_numbers(page: Page, tmp_path: Path) -> None:
    run = training_run(tmp_path)
    with held(run / TRAINING_LOCK), dashboard(tmp_path) as url:
        page.goto(f"{url}/run?name=seed1")
        figure = page.locator("figure.chart").first
        whole = figure.get_by_role("button", name="Show all")
        drag(page, figure)
        expect(whole).to_be_visible()
        rows = figure.locator("tbody tr")
        before = rows.count()
        with (run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(metrics_row("train", 9, 0.7)) + "\n")
        expect(rows).to_have_count(before + 1, timeout=60_000)
        expect(whole).to_be_visible()
        whole.click()
        expect(whole).not_to_be_visible()


def test_the_first_key_offers_to_skip_to_the_content(page: Page, url: str) -> None:
    page.goto(f"{url}/experiments")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_every_control_has_a_name_for_a_screen_reader(page: Page, url: str, root: Path) -> None:
    failed = next(
        row.id for row in FailureStore(root / "failures.db").experiments(Wanted(correct=False)).rows
    )
    for path in (
        "/",
        "/runs",
        "/run?name=seed1",
        "/experiments",
        "/episodes",
        "/failures",
        "/compare",
        f"/episodes/{failed}",
    ):
        page.goto(url + path)
        expect(page.locator("[data-charts][aria-busy=true]")).to_have_count(0)
        for role in ("button", "link", "combobox", "searchbox", "img", "progressbar"):
            for control in page.get_by_role(role).all():
                assert control.evaluate(NAMED), (
                    path,
                    role,
                    control.evaluate("node => node.outerHTML.slice(0, 200)"),
                )
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
        assert len(ids) == len(set(ids)), path


NAMED = """node => Boolean((node.getAttribute("aria-label") || node.textContent || node.labels?.[0]?.textContent || "").trim())"""


def test_a_browser_logs_in_with_the_token(page: Page, root: Path) -> None:
    with dashboard(root, Door(token="the right one")) as url:
        page.goto(f"{url}/runs")
        page.get_by_label("Token").fill("a wrong one")
        page.get_by_role("button", name="Open the dashboard").click()
        expect(page.get_by_role("alert")).to_contain_text("not the token")
        page.get_by_label("Token").fill("the right one")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{url}/runs")
        page.get_by_role("link", name="seed1").click()
        expect(page.locator("figure canvas").first).to_be_visible()


def test_no_script_that_a_log_a_model_an_id_or_a_file_name_holds_ever_runs(
    browser: Browser, tmp_path: Path
) -> None:
    hostile_run(tmp_path / "runs")
    store = captured(tmp_path / "runs")
    rows = store.experiments(limit=50).rows
    name = quote(RUN_NAME)
    pages = [
        "/",
        "/runs",
        f"/run?name={name}",
        "/experiments",
        "/episodes",
        "/failures?by=fault_type&bucket=step",
    ]
    pages += [f"/{'episodes' if row.episode else 'experiments'}/{row.id}" for row in rows]
    pages += [
        f"/side-by-side?scenario_id={quote(ID)}&before={name}&before_step=0&after_step=3",
        f"/compare?before={name}&before_step=0",
    ]
    with dashboard(tmp_path / "runs") as url, tab(browser) as page:
        for path in pages:
            page.goto(url + path)
            expect(page.locator("[data-charts][aria-busy=true]")).to_have_count(0)
            for summary in page.locator("summary").all():
                summary.click()
            assert page.evaluate(
                "[window.pwned ?? 0, document.querySelectorAll('img, [onerror], [onload]').length]"
            ) == [0, 0], path
            assert page.evaluate("window.violations") == [], path
        page.goto(f"{url}/experiments?status=failed")
        for badge in page.locator("a.badge").all():
            badge.click()
            expect(page.get_by_role("dialog")).to_be_visible()
            page.keyboard.press("Escape")
            expect(page.locator("dialog")).not_to_be_visible()
        assert page.evaluate("window.pwned ?? 0") == 0

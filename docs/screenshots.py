"""Takes the docs' pictures of the dashboard: `python docs/screenshots.py --out docs/images`.

Serves the runs on a free loopback port without capturing anything twice, opens each page in Chromium and
writes one PNG each. Nothing is posed: what a picture shows is what the folder of runs holds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from core.serving.listening import in_background
from dashboard.browser import executable
from dashboard.overviews import Checkpoint, checkpoints
from failure_analysis.capture import capture
from failure_analysis.comparing import Side, compare
from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.records import ExperimentType, Status, StoreError
from failure_analysis.store import DATABASE, LARGEST_PAGE, FailureStore, Wanted
from project_types import ConfigurationError, InvestigatorError

WIDE, PHONE = (1280, 900), (390, 844)
FEW_TURNS = 4


class Shot(NamedTuple):
    """One picture."""

    name: str
    address: str
    size: tuple[int, int] = WIDE
    dark: bool = False
    dialog: bool = False
    """Open the first analysis."""
    whole: bool = False
    """The whole page instead of what fits on the screen."""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(prog="python docs/screenshots.py", description=__doc__)
    flags.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the PNG files")
    flags.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of runs (default %(default)s)"
    )
    flags.add_argument("--run", metavar="NAME", help="the run to show (default: the latest training run)")
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Take the pictures. Return 2 for what cannot be done, else 0."""
    try:
        return take(parser().parse_args(argv))
    except InvestigatorError as trouble:
        print(f"screenshots: {trouble}", file=sys.stderr)
        return 2


def take(arguments: argparse.Namespace) -> int:
    """Take every picture that the runs have something for. Returns 0."""
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError as missing:
        raise ConfigurationError(
            "screenshots need playwright; run: pip install -e '.[dashboard,dev]'"
        ) from missing
    chromium = executable()
    store = FailureStore(arguments.runs / DATABASE)
    capture(arguments.runs, store, LogAnalyzer(NO_MODEL))
    arguments.out.mkdir(parents=True, exist_ok=True)
    from core.serving.guard import Door
    from dashboard.app import build_app
    from dashboard.shelf import Shelf

    with (
        in_background(build_app(Shelf(arguments.runs, store), Door())) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--force-color-profile=srgb"]
        )
        for shot in shots(store, arguments.run):
            width, height = shot.size
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if shot.dark else "light",
                device_scale_factor=1,
            )
            page.goto(url + shot.address)
            expect(page.locator("[data-charts][aria-busy=true]")).to_have_count(0, timeout=20_000)
            if shot.dialog:
                page.locator("a.badge").first.click()
                page.locator("dialog[open]").wait_for()
            path = arguments.out / f"{shot.name}.png"
            page.screenshot(path=str(path), full_page=shot.whole, animations="disabled")
            page.close()
            print(path, flush=True)
        browser.close()
    return 0


def shots(store: FailureStore, run: str | None = None) -> list[Shot]:
    """What there is to show of a run (the latest training run unless named)."""
    if run is None:
        run = next((one.run for one in store.runs() if one.type is ExperimentType.TRAINING_RUN), None)
    if run is None:
        raise StoreError(
            f"{store.folder}: no training run to show; make one: python train_serverless.py --backend embedded"
        )
    from dashboard.rendering import href

    found = [
        Shot("dashboard-overview", "/"),
        Shot("dashboard-run", href("/run", name=run)),
        Shot("dashboard-run-dark", href("/run", name=run), dark=True),
        Shot("dashboard-failures", "/failures"),
        Shot("dashboard-experiments", "/experiments?status=failed"),
        Shot("dashboard-analysis", "/experiments?status=failed", dialog=True),
        Shot("dashboard-phone", href("/run", name=run), PHONE),
    ]
    points = [
        point
        for point in checkpoints(store, Wanted(run=run))
        if point.split == "test" and point.sampling == "t0"
    ]
    if episode := _telling_episode(store, run, points):
        found += [
            Shot("dashboard-episode", f"/episodes/{episode}", whole=True),
            Shot("dashboard-episode-phone", f"/episodes/{episode}", PHONE),
        ]
    if len(points) > 1:
        before, after = (
            Side(run=run, step=point.step, split="test", sampling="t0") for point in (points[0], points[-1])
        )
        asked = {
            "before": run,
            "before_step": before.step,
            "after": run,
            "after_step": after.step,
            "split": "test",
            "sampling": "t0",
        }
        found.append(Shot("dashboard-compare", href("/compare", asked)))
        if fixed := compare(store, before, after).fixed:
            found.append(
                Shot(
                    "dashboard-side-by-side",
                    href("/side-by-side", asked, scenario_id=fixed[0].scenario_id),
                    (1280, 1300),
                )
            )
    return found


def _telling_episode(store: FailureStore, run: str, points: list[Checkpoint]) -> str | None:
    """A right answer of the last checkpoint if there is one, else a wrong one: both show marked evidence.

    Of many the best rewarded that took a few turns: one that found its way without asking twice.
    """
    for status in (Status.OK, Status.FAILED):
        step = points[-1].step if points else None
        wanted = Wanted(
            types=(ExperimentType.EPISODE,), run=run, step=step, statuses=(status,), ending="answered"
        )
        longest = store.experiments(wanted, order="turns", limit=LARGEST_PAGE).rows
        found = [(row.episode, row.id) for row in longest if row.episode]
        if found:
            return max(found, key=lambda one: (one[0].turns >= FEW_TURNS, one[0].reward or 0.0, one[1]))[1]
    return None


if __name__ == "__main__":
    sys.exit(main())

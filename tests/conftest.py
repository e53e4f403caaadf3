"""What holds for every test: properties are tried rarely in the fast run and often in the slow one."""

import os

import pytest
from hypothesis import is_hypothesis_test, settings

from tests.builders.examples import THOROUGH, register

register()


def runs_the_slow_ones(config: pytest.Config) -> bool:
    """Whether this run is `-m slow`."""
    return bool(config.option.markexpr.startswith("slow"))


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many examples are tried, before the tests are imported."""
    if runs_the_slow_ones(config) or os.environ.get("CI") == "slow":
        settings.load_profile(THOROUGH)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the slow run try every property too, before pytest chooses by mark."""
    for item in items if runs_the_slow_ones(config) else ():
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("slow")

"""What holds for every test: Hypothesis sets no time limit on one example, because a busy machine is no bug.

A property is tried on 25 examples, so that the fast tests stay fast, and on 100 under `-m slow` and with CI=slow. A
test that says a number of its own keeps it.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile("quick")


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many examples are tried, before the tests are imported."""
    slow_ones = config.option.markexpr.startswith("slow")
    if slow_ones or os.environ.get("CI") == "slow":
        settings.load_profile("thorough")

"""How often a property is tried: now and then in the fast run, often in the slow one.

The fast run looks for what is plainly broken, in little time. Under `-m slow`, or with CI=slow, the same
tests run again with all their examples.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

QUICK, THOROUGH = "quick", "thorough"
FEWEST = 5


def register() -> None:
    """Make both profiles. Neither limits the time of one example, because a busy machine is no bug."""
    settings.register_profile(QUICK, deadline=None, max_examples=FEWEST)
    settings.register_profile(THOROUGH, deadline=None, max_examples=60)
    settings.load_profile(QUICK)


def examples(most: int, **more: Any) -> settings:
    """Try a property `most` times in the slow run, and a tenth as often, or FEWEST times, in the fast one."""
    slow = settings.get_current_profile_name() == THOROUGH
    return settings(max_examples=most if slow else min(most, max(FEWEST, most // 10)), deadline=None, **more)


def one_in(every: int, cases: Iterable[Any]) -> list[Any]:
    """Return the cases of a parametrised test, of which one in `every` is fast and the others are slow."""
    return [
        case if number % every == 0 else pytest.param(case, marks=pytest.mark.slow)
        for number, case in enumerate(cases)
    ]

"""Where Chromium is: CHROMIUM names it, else it is looked for on the path. Nothing is downloaded."""

from __future__ import annotations

import os
import shutil

from project_types import ConfigurationError

VARIABLE = "CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str:
    """The browser to start. Raises ConfigurationError when there is none."""
    found = os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        raise ConfigurationError(
            f"no Chromium found; run: apt-get install chromium, or name one in {VARIABLE}"
        )
    return found

"""Whether another process runs."""

from __future__ import annotations

import os


def runs(pid: int) -> bool:
    """Return whether a process of this number runs, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True

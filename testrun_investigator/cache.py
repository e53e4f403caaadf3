"""`cache`: what is kept on disk, how large it is, and how to be rid of it.

Findings and sessions are no copies of anything, so they stay unless `--all` is given. What
VictoriaLogs holds is its own.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from core.command_line import printable
from project_types import ConfigurationError
from testrun_investigator.argus import run_id_of
from testrun_investigator.sessions import SESSIONS
from testrun_investigator.settings import Settings, read_settings


def command(arguments: argparse.Namespace) -> int:
    """Show or clear the cache."""
    settings = read_settings()
    if arguments.what == "show":
        parts = sizes(settings)
        for name, size in [*parts, (f"in {settings.cache}", sum(size for _, size in parts))]:
            print(printable(f"{size / 1e6:>10.1f} MB  {name}"))
        return 0
    removed = clear(settings, arguments.run, everything=arguments.all)
    for path in removed:
        print(printable(f"removed {path}"))
    if not removed:
        print(printable(f"{settings.cache}: holds nothing to remove"))
    if settings.victoria_logs:
        print("Rows in VictoriaLogs stay until its retention ends.")
    return 0


def sizes(settings: Settings) -> list[tuple[str, int]]:
    """Return what is kept and how many bytes it takes, the largest first."""
    parts = {path.name: _size(path) for path in settings.cache.glob("*") if path.name != "runs"}
    parts |= {f"runs/{path.name}": _size(path) for path in (settings.cache / "runs").glob("*")}
    return sorted(parts.items(), key=lambda part: -part[1])


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(one.stat().st_size for one in files if one.is_file())


def clear(settings: Settings, run_id: str | None = None, *, everything: bool = False) -> list[Path]:
    """Delete one run, or all runs and the index; findings and sessions only when `everything` is to go.

    Raises:
        ConfigurationError: the folder is not a cache of ours.
    """
    cache = settings.cache
    if run_id:
        run_id = run_id_of(run_id)
        gone = [settings.run_folder(run_id), *cache.glob(f"tasks/{run_id[:8]}-*")]
    else:
        gone = [cache / "runs", cache / "tasks", cache / "knowledge"]
        gone += [*cache.glob("findings.db*"), cache / SESSIONS] if everything else []
    if cache.resolve() in (Path.home(), Path("/"), Path.cwd().resolve()):
        raise ConfigurationError(f"{cache}: is no folder of its own; set TESTRUN_CACHE_DIR to one")
    removed = [path for path in gone if path.exists()]
    for path in removed:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return removed

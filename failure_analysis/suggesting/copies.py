"""A copy of a repository in which a command fails or passes; the repository itself is never written to.

A copy holds what git tracks and what it does not ignore, as it lies in the working tree. Links are left out.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from failure_analysis.records import StoreError

MOST_BYTES = 512 << 20
MOST_OUTPUT = 400_000
"""Characters of a command's output that are kept: its end."""


class Ran(NamedTuple):
    """What became of a command."""

    code: int
    output: str


class Copy:
    """A copy of a repository, for as long as `copied` lasts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, texts: Mapping[str, str]) -> None:
        """Replace files of the copy."""
        for name, text in texts.items():
            (self.folder / name).write_text(text, encoding="utf-8")

    def run(self, command: str, timeout_s: float) -> Ran:
        """Run a shell command in the copy, whose code is found before that of the repository."""
        places = [str(self.folder), str(self.folder / "src"), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, places)),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with subprocess.Popen(
            command,
            shell=True,  # the user's own command line
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                output += f"\nTimeoutError: the command took longer than {timeout_s:g} s\n".encode()
        return Ran(process.returncode, output.decode("utf-8", "replace")[-MOST_OUTPUT:])


@contextmanager
def copied(repo: Path) -> Iterator[Copy]:
    """A copy of a repository, removed at the end. Raises StoreError when it is none, or too large."""
    with tempfile.TemporaryDirectory(prefix="suggest-") as folder:
        total = 0
        for name in files_of(repo):
            source, target = repo / name, Path(folder) / name
            if source.is_symlink() or not source.is_file():
                continue
            total += source.stat().st_size
            if total > MOST_BYTES:
                raise StoreError(f"{repo}: more than {MOST_BYTES >> 20} MiB; name the part that fails")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        yield Copy(Path(folder))


def files_of(repo: Path) -> list[str]:
    """The files that git tracks or does not ignore, relative to the repository. Raises StoreError."""
    asked = ["git", "-C", str(repo), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(asked, capture_output=True, check=True)
    except FileNotFoundError as missing:
        raise StoreError("suggest needs git; install it") from missing
    except subprocess.CalledProcessError as trouble:
        said = trouble.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise StoreError(
            f"{repo}: {''.join(said) or 'no git repository'}; name a git repository"
        ) from trouble
    return [name for name in done.stdout.decode("utf-8", "surrogateescape").split("\0") if name]

"""Files that others read while we write them: replaced whole, held by one process at a time, and their hash.

Not here: files that grow line by line (`core.episode_store.lines`).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DISK = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO)
)
"""What the system says when a disk is full, or may not be written."""


def disk_trouble(trouble: OSError) -> str:
    """Return in words what the disk refuses and what helps; empty for any other trouble."""
    if trouble.errno not in _DISK:
        return ""
    name = f"{trouble.filename}: " if trouble.filename else ""
    return f"{name}{trouble.strerror}; make room on the disk, or make the folder writable"


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it. Raises OSError."""
    half = path.with_name(f"{path.name}.{os.getpid()}.half")
    try:
        half.write_bytes(content)
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold a lock file while the block lasts. Raises BlockingIOError when another process holds it, OSError.

    The system frees the lock when the process ends, however it ends.
    """
    with lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def is_held(lock: Path) -> bool:
    """Return whether a live process holds this lock file."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False

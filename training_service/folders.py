"""Where weights live on disk: one folder per checkpoint, made aside, synced, renamed into place, removed when
unused.

    DATA/lock                       held by the one service that runs on this folder
    DATA/service.db                 see store.py
    DATA/models/<id>/step-000003/   a checkpoint, whatever the engine wrote
    DATA/base/<n>/                  step 0 of each base model, rewritten at each start
    DATA/tmp/                       unfinished or condemned; emptied at each start

This module does not know what is in a checkpoint, nor which checkpoints should exist: the store does.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from project_types import ConfigurationError
from training_service.engine import OPTIMIZER_PREFIX, RequestError


class Folders:
    """The folders of one data folder, locked against a second service. Methods may
    be called from any thread.
    """

    def __init__(self, data: Path, min_free_bytes: int = 0) -> None:
        self.data = data
        self.min_free_bytes = min_free_bytes
        self._models, self._tmp, self._base = data / "models", data / "tmp", data / "base"
        self._pins: Counter[Path] = Counter()
        self._condemned: set[Path] = set()
        self._guard = threading.Lock()
        try:
            data.mkdir(parents=True, exist_ok=True)
            self._lock_file = _lock(data)
            for folder in (self._models, self._tmp, self._base):
                folder.mkdir(exist_ok=True)
        except OSError as trouble:
            raise ConfigurationError(
                f"--data {data}: {trouble.strerror}; choose a folder this user may write to"
            ) from trouble

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock_file)

    @property
    def database(self) -> Path:
        return self.data / "service.db"

    def checkpoint(self, model_id: str, step: int) -> Path:
        return self._models / model_id / f"step-{step:06d}"

    def base(self, number: int) -> Path:
        return self._base / str(number)

    def fresh(self) -> Path:
        """A new, empty folder on the same file system as the checkpoints."""
        folder = self._tmp / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def publish(self, temporary: Path, final: Path) -> None:
        """Make `temporary` appear at `final`, whole or not at all, and durable once this returns."""
        for path in [*temporary.rglob("*"), temporary]:
            _sync(path)
        final.parent.mkdir(exist_ok=True)
        if final.exists():  # left by a job whose row was never written: nobody can have used it
            self._discard(final)
        os.rename(temporary, final)
        _sync(final.parent)
        _sync(final.parent.parent)

    @contextmanager
    def pinned(self, folder: Path) -> Iterator[Path]:
        """Keep a checkpoint alive while it is used. Raises RequestError 404 when it is already gone."""
        with self._guard:
            if folder in self._condemned or not folder.is_dir():
                message = f"the files of {folder.parent.name}/{folder.name} are gone; ask for another step"
                raise RequestError(404, message, "step_not_found")
            self._pins[folder] += 1
        try:
            yield folder
        finally:
            with self._guard:
                self._pins[folder] -= 1
                unused = self._pins[folder] == 0
                if unused:
                    del self._pins[folder]
                doomed = unused and folder in self._condemned
                self._condemned -= {folder} if doomed else set()
            if doomed:
                self._discard(folder)

    def condemn(self, folder: Path) -> None:
        """Remove a checkpoint now, or as soon as its last user is done."""
        with self._guard:
            if self._pins[folder]:
                self._condemned.add(folder)
                return
        self._discard(folder)

    def drop_optimizer(self, folder: Path) -> None:
        """Remove what only training needs from a checkpoint that will not be trained from again."""
        for path in folder.glob(f"{OPTIMIZER_PREFIX}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def sweep(self, wanted: set[Path]) -> list[Path]:
        """At start: remove what no row of the store accounts for. Returns what was removed."""
        for folder in self._tmp.iterdir():
            shutil.rmtree(folder, ignore_errors=True)
        orphans = [folder for folder in sorted(self._models.glob("*/*")) if folder not in wanted]
        for folder in orphans:
            self._discard(folder)
        for model in self._models.iterdir():
            if not any(model.iterdir()):
                model.rmdir()
        return orphans

    def require_space(self, job_bytes: int) -> None:
        """Raises RequestError 507 when a job that writes `job_bytes` would leave less than the floor."""
        needed = job_bytes + self.min_free_bytes
        free = shutil.disk_usage(self.data).free
        if free < needed:
            raise RequestError(
                507,
                f"{self.data} has {free >> 20} MiB free and a training step may need {needed >> 20} MiB; "
                "delete old checkpoints (model.delete_checkpoints()) or free some space, then submit again",
                "disk_full",
            )

    def _discard(self, folder: Path) -> None:
        """Rename first, so that a half-removed folder is never seen under its own name."""
        grave = self._tmp / uuid.uuid4().hex
        try:
            os.rename(folder, grave)
        except FileNotFoundError:
            return
        shutil.rmtree(grave, ignore_errors=True)
        if folder.parent.parent == self._models:
            with suppress(OSError):  # the model has other checkpoints
                folder.parent.rmdir()


def carry_over(source: Path, target: Path) -> None:
    """Fill `target` with hard links to the files of `source` (copies where links are not possible)."""
    shutil.rmtree(target, ignore_errors=True)
    try:
        shutil.copytree(source, target, symlinks=True, copy_function=os.link)
    except (OSError, shutil.Error):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, symlinks=True)


def _sync(path: Path) -> None:
    if path.is_symlink():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(data: Path) -> int:
    handle = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as trouble:
        owner = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise ConfigurationError(
            f"--data {data}: another training service (process {owner}) uses this folder; stop it or choose another --data"
        ) from trouble
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle

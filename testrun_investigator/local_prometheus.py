"""Serve the metrics snapshot of a run with a Prometheus that is installed here.

SCT's monitor archive holds `prometheus_data_*.tar.zst`, an archive inside an archive. It is unpacked into a
folder and served on loopback for as long as somebody asks. Nothing is scraped and nothing is written to it.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from core.archives import BLOCK_BYTES, DEFAULT_LIMITS, ArchiveError, Limits, Readable, members, safe_name
from testrun_investigator.prometheus import PrometheusError

SNAPSHOT = "prometheus_data"
_READY_S, _STOP_S = 30.0, 10.0


def unpack_snapshot(archive: Readable, name: str, folder: Path, limits: Limits = DEFAULT_LIMITS) -> Path:
    """Unpack the metrics of a monitor archive below `folder` and return the folder that Prometheus can serve.

    Raises:
        PrometheusError: the archive holds no metrics.
        ArchiveError: it is damaged or breaks a limit.
    """
    for member in members(archive, name, limits):
        if SNAPSHOT in member.name:
            target = folder / safe_name(member.name.rpartition("!")[2])
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                while block := member.content.read(BLOCK_BYTES):
                    file.write(block)
    blocks = sorted(path.parent for path in folder.rglob("meta.json") if (path.parent / "chunks").is_dir())
    if not blocks:
        raise PrometheusError(f"{name}: holds no metrics of Prometheus ({SNAPSHOT}*.tar.zst)")
    return blocks[0].parent


def is_snapshot(name: str) -> bool:
    """Say whether an archive's name is that of a run's monitor, which holds the metrics."""
    base = PurePosixPath(name).name
    return base.startswith("monitor-set") or SNAPSHOT in base


@contextmanager
def served(data: Path) -> Iterator[str]:
    """Serve a folder of blocks for the time of the block. Gives the address.

    Raises:
        PrometheusError: no Prometheus is installed, or it does not start.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise PrometheusError(
            "no Prometheus is installed; run: apt-get install prometheus, or set PROMETHEUS_URL"
        )
    settings = data / "empty.yml"
    settings.write_text("scrape_configs: []\n", encoding="utf-8")
    port = _free_port()
    command = [program, f"--config.file={settings}", f"--storage.tsdb.path={data}", "--log.level=error",
               f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _wait_until_ready(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    ends = time.monotonic() + _READY_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < ends:
        if process.poll() is not None:
            said = process.stderr.read().decode("utf-8", "replace")[-500:] if process.stderr else ""
            raise PrometheusError(f"prometheus ended with status {process.returncode}: {said}")
        try:
            with opener.open(f"http://127.0.0.1:{port}/-/ready", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise PrometheusError(f"prometheus was not ready within {_READY_S:.0f} s")


__all__ = ["ArchiveError", "is_snapshot", "served", "unpack_snapshot"]

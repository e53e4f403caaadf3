"""An archive of a Scylla Cluster Tests run is an incident; configuration stays
out and clocks are repaired.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import zstandard

from tests.importers.imported import imported

ACTION = {
    "datetime": "2026-05-17T04:44:00.123456+00:00Z",
    "status": "info",
    "source": "nemesis",
    "action": "start",
}
FILES = {
    "run/actions.log": json.dumps(ACTION),
    "run/db-node-1/system.log": "2026-05-17T04:45:00.000+00:00 db-node-1 !ERR | scylla: disk full\n    at shard 0\n",
    "run/scylla.yaml": "password: hunter2\n",
}


def test_rows_of_a_run_are_read_from_its_archive(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
    path = tmp_path / "sct-runner-events-1.tar.zst"
    path.write_bytes(zstandard.compress(buffer.getvalue()))
    found = imported("sct", path, tmp_path / "out")
    action, node = found.incident.logs
    assert (action.service, action.message) == ("actions", "nemesis: start")
    assert (node.service, node.level) == ("db-node-1", "ERROR")
    assert found.counts.repaired == {"clock with two zones": 1}
    assert found.counts.dropped == {"file: configuration or credentials": 1}
    assert "hunter2" not in found.paths[0].read_text(encoding="utf-8")

"""`configure`: write the files with which editors and assistants start the server.

`.vscode/mcp.json` is for VS Code (`"type": "stdio"` is required there), `.mcp.json` for Claude, Cursor and
others. Neither holds a secret: tokens come from the environment or from `.env`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from project_types import ConfigurationError

SERVER = "testrun-investigator"
FILES = (".vscode/mcp.json", ".mcp.json")
_SCRIPT = "testrun_investigator/server.py"


def contents(python: str | None = None) -> dict[str, dict[str, Any]]:
    """Return each file's content by its path."""
    command, arguments = ("uv", ["run", "python"]) if python is None else (python, [])
    inside = {
        "type": "stdio",
        "command": command,
        "args": [*arguments, f"${{workspaceFolder}}/{_SCRIPT}"],
        "cwd": "${workspaceFolder}",  # the server reads .env there; an editor would stop where there is none
    }
    outside = {"type": "stdio", "command": command, "args": [*arguments, _SCRIPT]}
    return {FILES[0]: {"servers": {SERVER: inside}}, FILES[1]: {"mcpServers": {SERVER: outside}}}


def write(folder: Path, python: str | None = None) -> list[Path]:
    """Write the files and return their paths. Other servers in a file stay.

    Raises:
        ConfigurationError: a file is there and is no JSON, or cannot be written.
    """
    written = []
    for name, content in contents(python).items():
        path = folder / name
        try:
            known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            for key, servers in content.items():
                known[key] = {**known.get(key, {}), **servers}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        except (OSError, ValueError, AttributeError, TypeError) as trouble:
            raise ConfigurationError(f"{path}: cannot be written ({trouble}); mend or remove it") from trouble
        written.append(path)
    return written


def command(arguments: argparse.Namespace) -> int:
    """Write the files and say what comes next."""
    for path in write(arguments.folder, arguments.python):
        print(f"wrote {path}")
    print("Tokens are read from .env: put ARGUS_URL=... and ARGUS_TOKEN=... there; it must not be committed.")
    return 0

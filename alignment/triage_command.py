"""`python -m alignment triage --adapter production < app.log`."""

from __future__ import annotations

import argparse
import asyncio
import atexit
import gc
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from alignment.adapters import Registry
from alignment.stored_answers import BASE
from alignment.triage import Explained, explain, printed, tail
from core.command_line import loading, printable
from project_types import ConfigurationError

MOST_TOKENS = 160


def command(arguments: argparse.Namespace) -> int:
    """Explain one log and print the explanation, or JSON."""
    lines = _lines(arguments.file)
    found = asyncio.run(_explained(arguments, lines))
    print(found.model_dump_json(indent=1) if arguments.json else printable("\n".join(printed(found))))
    return 0


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return tail(sys.stdin)
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return tail(stream)
    except OSError as trouble:
        raise ConfigurationError(f"{file}: {trouble.strerror}; give a log, or pipe one in") from trouble


async def _explained(arguments: argparse.Namespace, lines: Sequence[str]) -> Explained:
    """Load the model, and what loads models, only when the log is not green."""
    registry = Registry(arguments.adapters)
    row = BASE if arguments.adapter == BASE else registry.card(arguments.adapter).full_name
    with ExitStack() as opened_models:

        async def ask(messages: Sequence[Mapping[str, Any]]) -> str:
            # or the end looks through a whole model for garbage, which takes 1.5 s
            atexit.register(gc.freeze)
            with loading():
                from alignment.answering import Answerer
                from alignment.learning import opened

                base = opened(arguments.base_model)
                folder = {} if row == BASE else {row: registry.checked(row, base.sha256)}
                answerer = Answerer(base, folder)
                opened_models.callback(answerer.close)
                text, _ = await answerer.answer(row, messages, MOST_TOKENS)  # which loads the adapter
            return text

        return await explain(lines, ask, row)

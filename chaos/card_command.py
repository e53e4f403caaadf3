"""The command behind `python -m chaos card`: print what splits hold, and put it into the data card."""

from __future__ import annotations

import argparse

from chaos.card import read_split, to_markdown
from chaos.shipped import split_folder
from core.marked_text import write_between

NAME = "card"


def command(arguments: argparse.Namespace) -> int:
    """Print the table, and write it down if asked. Returns 0."""
    folders = [split_folder(name) for name in arguments.folders]
    table = to_markdown({folder.name: read_split(folder) for folder in folders})
    print(table)
    if arguments.write_docs:
        write_between(arguments.write_docs, NAME, table)
    return 0

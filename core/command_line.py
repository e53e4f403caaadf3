"""One command line for every room: `python -m ROOM COMMAND`.

A room lists its commands. Arguments are parsed first, and a command's module is imported once they are known
to be good, so that a mistake is told at once. A flag that several rooms have is made here, so that it means
the same everywhere. Errors have one form: `PROGRAM: error: WHAT HAPPENED; WHAT TO TYPE`. The exit code is 2
for bad use, 1 when a bar is missed or something failed, 130 after Ctrl-C, and 141 when whoever reads the
output has seen enough.

Not here: which rooms there are (`core.rooms`), what a policy is called (`core.policies.registry`).
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from core.files import disk_trouble
from project_types import ConfigurationError, InvestigatorError

MOST_CHARACTERS = 4000
DATABASE = Path("logs.db")
FAILURES = Path("runs/failures.db")
RUNS = Path("runs")
RUN = "RUN[@STEP]"
"""How a run is named: its folder or its name below runs/, and a checkpoint of it."""

AddFlags = Callable[[argparse.ArgumentParser], None]


class Command(NamedTuple):
    """One command of a room."""

    name: str
    about: str
    """What it does, verb first, in one line."""
    module: str
    """Its `command(arguments) -> int` is what runs."""
    add_flags: AddFlags
    epilog: str = ""
    """Examples, and what a flag's line has no room for."""


class Room(NamedTuple):
    """A room's command line."""

    name: str
    about: str
    commands: tuple[Command, ...]
    epilog: str = ""
    extra: str = ""
    """What `pip install -e '.[EXTRA]'` brings and every install has not; a
    missing package is told with it.
    """

    def parser(self, only: str | None = None) -> argparse.ArgumentParser:
        """Make the parser of every command and flag; or of every command, and the flags of `only`."""
        more = f"Run `python -m {self.name} COMMAND --help` for the flags of one command."
        parser = _Parser(
            prog=f"python -m {self.name}", description=self.about, epilog=f"{self.epilog}\n\n{more}".lstrip()
        )
        commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
        for command in self.commands:
            about = command.about
            flags = commands.add_parser(
                command.name,
                help=about.replace("%", "%%"),  # argparse reads a single % of a help as a placeholder
                description=about[0].upper() + about[1:] + ".",
                epilog=command.epilog,
            )
            if only in (None, command.name):
                command.add_flags(flags)
            flags.set_defaults(command=command.name, module=command.module, prog=flags.prog)
        return parser

    def main(self, argv: Sequence[str] | None = None, **extra: Any) -> int:
        """Run one command and return its exit code; `extra` reaches it beside its arguments."""

        given = list(sys.argv[1:] if argv is None else argv)
        typed = next((word for word in given if not word.startswith("-")), "")

        def parse_and_run() -> int:
            arguments, unknown = self.parser(typed).parse_known_args(given, argparse.Namespace(**extra))
            if unknown:  # argparse would name the room only, and its flags are not the command's
                refuse(arguments.prog, f"unrecognized arguments: {' '.join(unknown)}")
            return run(arguments.prog, lambda: self._do(arguments))

        return run(f"python -m {self.name}", parse_and_run)

    def _do(self, arguments: argparse.Namespace) -> int:
        try:
            with loading():
                command = import_module(arguments.module).command
            return int(command(arguments))
        except ModuleNotFoundError as missing:
            package = (missing.name or "core").partition(".")[0]
            if not self.extra or find_spec(package):  # a part of what is installed: that fault is ours
                raise
            raise ConfigurationError(
                f"this needs the package {package}; run: pip install -e '.[{self.extra}]'"
            ) from missing


@contextmanager
def loading() -> Iterator[None]:
    """Load modules or a model without looking for garbage: there is none, and that takes a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def run(program: str, work: Callable[[], int]) -> int:
    """Do what a command does; tell an error in the one form. Returns the exit code."""
    try:
        try:
            return work()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except InvestigatorError as trouble:
        tell_error(program, str(trouble))
        return 2
    except OSError as trouble:
        if not (said := disk_trouble(trouble)):
            raise
        tell_error(program, f"{said}, then type the same command again")
        return 2


def tell_error(program: str, trouble: str) -> None:
    """Print an error to stderr in the one form."""
    print(printable(f"{program}: error: {trouble}"), file=sys.stderr)


def refuse(program: str, why: str) -> NoReturn:
    """Say why arguments cannot be used and where they are explained. Raises SystemExit."""
    tell_error(program, f"{why}; see {program} --help")
    raise SystemExit(2)


def parser(program: str, about: str, epilog: str = "", **options: Any) -> argparse.ArgumentParser:
    """Make the parser of a door, which has flags and no commands."""
    return _Parser(prog=program, description=about, epilog=epilog, **options)


class _Parser(argparse.ArgumentParser):
    """argparse with the one form of errors, whole flags only, and texts that keep their line breaks."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)  # argparse would hide that nobody reads it

    def error(self, message: str) -> NoReturn:
        refuse(self.prog, message)


# ------------------------------------------------------------------------ flags that several rooms have


def run_flag(parser: argparse.ArgumentParser, about: str = "only this run, or this checkpoint of it") -> None:
    """Add `--run NAME[@STEP]`."""
    parser.add_argument("--run", metavar="NAME[@STEP]", help=about)


def runs_flag(parser: argparse._ActionsContainer) -> None:
    """Add `--runs`, the folder of runs."""
    parser.add_argument(
        "--runs", type=Path, default=RUNS, metavar="DIR", help=f"folder of runs (default {RUNS})"
    )


def failures_flag(
    parser: argparse.ArgumentParser, default: Path | None = FAILURES, otherwise: str = ""
) -> None:
    """Add `--failures`, the file of captured failures; `otherwise` says what no default means."""
    about = f"captured failures, a failures.db (default {otherwise or default})"
    parser.add_argument("--failures", type=Path, default=default, metavar="FILE", help=about)


def database_flag(parser: argparse.ArgumentParser, about: str, default: Path | None = None) -> None:
    """Add `--database`, the searchable logs."""
    parser.add_argument(
        "--database", type=Path, default=default, metavar="FILE", help=f"searchable logs, a logs.db: {about}"
    )


def limit_flag(parser: argparse.ArgumentParser, what: str, default: int | None = None) -> None:
    """Add `--limit N`."""
    about = f"{what}, N at most (default {default or 'all'})"
    parser.add_argument("--limit", type=positive, default=default, metavar="N", help=about)


def hints_flag(parser: argparse._ActionsContainer) -> None:
    """Add `--hints FILE`, a text for the policy's prompt; the argument becomes the text."""
    about = "text for the end of the system prompt, such as: python -m failure_analysis feedback > FILE"
    parser.add_argument("--hints", type=_text_of, metavar="FILE", help=about)


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as trouble:
        raise argparse.ArgumentTypeError(f"{path}: cannot be read ({trouble})") from trouble


def json_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def positive(text: str) -> int:
    """Read a whole number from 1 on."""
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def natural(text: str) -> int:
    """Read a whole number from 0 on."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def folder(text: str) -> Path:
    """Read the path of a folder, which need not be there yet."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a file; name a folder")
    return path


def seconds(text: str) -> float:
    """Read a time in seconds, above 0 and at most a day."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds, above 0 and at most 86400")
    return found


# ------------------------------------------------------------------------------------- text for a terminal


def printable(text: str) -> str:
    """Return the text with control and bidirectional characters shown as escapes, and cut when it is very
    long; newlines and tabs stay.

    Text from logs, models and file names goes through here before it reaches a terminal.
    """
    if len(text) > MOST_CHARACTERS:
        text = text[:MOST_CHARACTERS] + f" [+{len(text) - MOST_CHARACTERS} characters]"
    return "".join(char if char.isprintable() or char in "\n\t" else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()

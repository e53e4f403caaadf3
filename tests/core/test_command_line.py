"""Every room has one kind of command line: help that teaches, one form of errors, quiet on a closed pipe."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from core.command_line import MOST_CHARACTERS, Command, Room, printable, run
from core.rooms import DOORS, ROOMS, main, rooms
from tests.builders.episodes import episode, write_episodes
from tests.builders.examples import one_in

ROOT = Path(__file__).parents[2]
COMMANDS = [(room, command.name) for room, found in rooms().items() for command in found.commands]
HEAVY = {
    "numpy",
    "torch",
    "transformers",
    "litellm",
    "openai",
    "art",
    "wandb",
    "weave",
    "matplotlib",
    "pyarrow",
    "uvicorn",
}


@cache
def parser(room: str) -> argparse.ArgumentParser:
    """The parser of a room, made once."""
    return rooms()[room].parser()


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What --help prints; it must succeed."""
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


# ----------------------------------------------------------------------------------------------------- help


def test_every_room_with_a_command_line_is_listed() -> None:
    there = {path.parent.name for path in ROOT.glob("*/__main__.py")} - {"benchmarks"}
    assert there == set(rooms()) <= set(ROOMS)


@pytest.mark.parametrize("room", rooms())
def test_help_of_a_room_names_every_command(room: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = help_of(capsys, room)
    for command in rooms()[room].commands:
        assert re.search(rf"^ +{command.name}\b", said, re.MULTILINE), command.name


@pytest.mark.parametrize(("room", "command"), COMMANDS)
def test_help_of_a_command_teaches_by_examples_that_can_be_typed(
    room: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = re.sub(r"\\\n\s*", " ", help_of(capsys, room, command))
    examples = re.findall(rf"^ *(?:[A-Z_]+=\S+ )?python -m {room} {command}\b(.*)$", said, re.MULTILINE)
    assert examples
    for example in examples:
        arguments = shlex.split(re.split(r"\s{3,}", example)[0])  # what follows a gap explains it
        assert parser(room).parse_args([command, *arguments]).command == command


@pytest.mark.parametrize("door", DOORS)
def test_a_door_teaches_by_examples_that_can_be_typed(door: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = help_of(capsys, door)
    assert said.startswith(f"usage: python {door}.py ")
    assert re.search(rf"^ +python {door}\.py\b", said, re.MULTILINE)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from core.rooms import rooms; [room.parser() for room in rooms().values()];"
        f"print(*{HEAVY!r} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_without_a_room_the_rooms_and_doors_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    for name in (*rooms(), *DOORS):
        assert re.search(rf"^  {name} ", said, re.MULTILINE)


def test_an_unknown_room_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluations"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("log-investigator: error: no room is called 'evaluations'; known: ")


# ----------------------------------------------------------------------------------- flags mean one thing

SHARED = {
    "--limit": "N",
    "--failures": "FILE",
    "--database": "FILE",
    "--run": "NAME[@STEP]",
    "--runs": "DIR",
    "--policy": "POLICY",
}


def flags(room: str, command: str) -> dict[str, argparse.Action]:
    """The flags of a command by name."""
    (choices,) = (
        action.choices for action in parser(room)._actions if isinstance(action, argparse._SubParsersAction)
    )
    shown = [action for action in choices[command]._actions if action.help != argparse.SUPPRESS]
    return {name: action for action in shown for name in action.option_strings}


@pytest.mark.parametrize(("room", "command"), COMMANDS)
def test_a_flag_that_rooms_share_takes_the_same_everywhere(room: str, command: str) -> None:
    found = flags(room, command)
    for name in SHARED.keys() & found.keys():
        assert found[name].metavar == SHARED[name], name
    if "--database" in found:
        assert "logs.db" in (found["--database"].help or "")
    if "--failures" in found:
        assert "failures.db" in (found["--failures"].help or "")


# --------------------------------------------------------------------------------------- errors and endings


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["evaluation", "run"], "required: --policy, --out; see python -m evaluation run --help"),
        (["evaluation", "run", "--polic", "x"], "--policy"),
        (["evaluation", "nonsense"], "invalid choice: 'nonsense'"),
        (
            ["failure_analysis", "groups", "--database", "x"],
            "unrecognized arguments: --database x; see python -m failure_analysis groups --help",
        ),
        (
            ["chaos", "generate", "--split", "train", "--count", "0", "--out", "x"],
            "'0' is not a whole number from 1 on",
        ),
        (["dashboard", "serve", "--port", "many"], "invalid int value: 'many'"),
        (["build_logs", "--databas", "x"], "unrecognized arguments: --databas"),
        (["make_judge_model"], "name the judge with --model"),
        (["train_serverless", "--step", "3"], "unrecognized arguments: --step"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_use_has_one_form_of_error(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"python {arguments[0]}.py" if arguments[0] in DOORS else f"python -m {arguments[0]}"
    )
    assert ": error: " in error
    assert says in error
    assert error.count("\n") == 1


def test_a_full_disk_is_an_error_that_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    def write() -> int:
        with open("/dev/full", "w") as file:
            file.write("x")
        return 0

    assert run("python -m room", write) == 2
    said = capsys.readouterr().err
    assert "No space left on device; make room on the disk" in said
    assert "type the same command again" in said


def test_another_trouble_of_the_system_is_a_bug_that_surfaces() -> None:
    def connect() -> int:
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(ConnectionRefusedError):
        run("python -m room", connect)


def test_an_error_of_a_command_has_the_same_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluation", "show", str(tmp_path / "nothing"), "a"]) == 2
    assert capsys.readouterr().err.startswith("python -m evaluation show: error: ")


def test_a_package_of_an_extra_that_is_missing_is_told_with_what_to_type() -> None:
    hidden = "import sys; sys.modules['torch'] = None; from graph_rca.__main__ import main; sys.exit(main(['rank', 'x']))"
    done = subprocess.run(
        [sys.executable, "-c", hidden], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        "python -m graph_rca rank: error: this needs the package torch; run: pip install -e '.[graph]'\n"
    )


def test_text_from_elsewhere_cannot_move_the_cursor() -> None:
    assert printable("\x1b[2J\u202eevil\nline\ttab") == "\\x1b[2J\\u202eevil\nline\ttab"
    assert printable("x" * (MOST_CHARACTERS + 5)).endswith("x [+5 characters]")


def test_a_percent_sign_in_what_a_command_does_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    room = Room("r", "a 100 % room", (Command("c", "make 95 % of it", "none", lambda parser: None, "50 %"),))
    for arguments, says in ((["--help"], "make 95 % of it"), (["c", "--help"], "50 %")):
        with pytest.raises(SystemExit):
            room.main(arguments)
        assert says in capsys.readouterr().out


# --------------------------------------------------------------------------------------------- closed pipes


def ended_with(command: list[str], *, lines_read: int) -> tuple[int, str]:
    """The exit code and stderr of a command whose output nobody reads after so many lines.

    The pipe holds one page, so that a command with more to say has to wait for its reader: when the reader
    leaves, it is in the middle of it, whatever the machine.
    """
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    output = os.fdopen(reading, "rb", buffering=0)
    if not lines_read:  # a short text would fit into the pipe of a reader that leaves late
        output.close()
    process = subprocess.Popen(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    for _ in range(lines_read):
        while output.read(1) not in (b"\n", b""):
            pass
    output.close()
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def test_a_reader_that_has_seen_enough_ends_the_command_quietly_and_not_as_a_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_episodes(tmp_path / "a.jsonl", *(episode(f"abc{number}") for number in range(300)))
    assert main(["evaluation", "show", str(path), "abc"]) == 0
    assert len(capsys.readouterr().out) > 4 * 4096  # more than the pipe and any buffer of a line hold
    command = [sys.executable, "-m", "evaluation", "show", str(path), "abc"]
    assert ended_with(command, lines_read=1) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize(
    "arguments",
    one_in(3, [["evaluation", "--help"], [], *([door, "--help"] for door in DOORS)]),
    ids=lambda arguments: " ".join(arguments) or "the list",
)
def test_output_that_nobody_reads_is_no_success(arguments: list[str]) -> None:
    assert ended_with([sys.executable, "-m", "core.rooms", *arguments], lines_read=0) == (
        128 + signal.SIGPIPE,
        "",
    )

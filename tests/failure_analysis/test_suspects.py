"""The cause is the line that says why: in real logs of real tools, in what wraps
them, and in short messages.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failure_analysis.logs.lines import Level, unwrapped
from failure_analysis.logs.rules import error_line, find_failure
from failure_analysis.logs.suspects import excerpt, suspect
from failure_analysis.records import FailureCategory

HERE = Path(__file__).parent / "ci_logs"
COMMANDS = [json.loads(line) for line in (HERE / "commands.jsonl").read_text("utf-8").splitlines()]
BUILDS = json.loads((HERE / "labels.json").read_text("utf-8"))
BAR = 0.95


def github(row: dict[str, Any]) -> str:
    """As a step of GitHub Actions, between others."""
    failed = [f"##[error]Process completed with exit code {row['exit_code']}."] if row["exit_code"] else []
    lines = [
        "##[group]Run actions/checkout@v4",
        "##[endgroup]",
        f"##[group]Run {row['command']}",
        "##[endgroup]",
        *row["log"].rstrip().split("\n"),
        *failed,
        "Post job cleanup.",
        "[command]/usr/bin/git config --local --unset-all x",
        "fatal: No such section!",
        "Cleaning up orphan processes",
    ]
    return "\n".join(f"2026-03-04T14:00:{at % 60:02}.1234567Z {line}" for at, line in enumerate(lines))


def jenkins(row: dict[str, Any]) -> str:
    """As a shell step of Jenkins."""
    failed = [
        "Build step 'Execute shell' marked build as failure",
        "ERROR: Step ‘Publish JUnit test result report’ failed: No test report files were found.",
        "Finished: FAILURE",
    ]
    lines = ["Started by timer", "[x] $ /bin/sh -xe /tmp/hudson1.sh", f"+ {row['command']}"]
    lines += row["log"].rstrip().split("\n")
    return "\n".join([*lines, *(failed if row["exit_code"] else ["Finished: SUCCESS"])])


def gitlab(row: dict[str, Any]) -> str:
    """As a job of GitLab, with its colours and its sections."""
    end = f"\x1b[31;1mERROR: Job failed: exit code {row['exit_code']}\x1b[0;m"
    lines = [
        "\x1b[0KRunning with gitlab-runner 16.1.0\x1b[0;m",
        'section_start:1700000000:step_script\r\x1b[0K\x1b[36;1mExecuting "step_script" stage\x1b[0;m',
        f"\x1b[32;1m$ {row['command']}\x1b[0;m",
        *row["log"].rstrip().split("\n"),
        "section_end:1700000009:step_script\r\x1b[0K",
        "Cleaning up project directory and file based variables",
        end if row["exit_code"] else "\x1b[32;1mJob succeeded\x1b[0;m",
    ]
    return "\n".join(lines)


def plainly(row: dict[str, Any]) -> str:
    """As the command printed it."""
    return str(row["log"])


def holds_one(cause: str, words: list[str]) -> bool:
    """Whether a cause holds one of these, in any case."""
    return any(one.lower() in cause.lower() for one in words)


@pytest.mark.parametrize("wrapped", [plainly, github, jenkins, gitlab])
def test_the_reason_of_what_real_tools_print_is_named_whatever_runs_them(wrapped: Any) -> None:
    failing = [row for row in COMMANDS if row["exit_code"]]
    found = [find_failure("ci_build", "", wrapped(row)) for row in failing]
    named = [
        one is not None and holds_one(one.root_cause, row["cause"])
        for one, row in zip(found, failing, strict=True)
    ]
    right = [
        one is not None and one.failure_category in row["categories"]
        for one, row in zip(found, failing, strict=True)
    ]
    assert sum(named) >= BAR * len(failing)
    assert sum(right) >= BAR * len(failing)


@pytest.mark.parametrize("wrapped", [plainly, github, jenkins, gitlab])
def test_a_command_that_went_well_is_no_failure(wrapped: Any) -> None:
    good = [row for row in COMMANDS if not row["exit_code"]]
    assert len(good) == 9
    assert {row["id"]: error_line(wrapped(row)) for row in good if error_line(wrapped(row))} == {}


@pytest.mark.parametrize("label", BUILDS, ids=lambda label: label["id"])
def test_the_line_that_people_marked_is_named(label: dict[str, Any]) -> None:
    log = (HERE / label["id"] / "fail.log").read_text("utf-8")
    marked = [line for first, last in label["marked_lines"] for line in log.split("\n")[first - 1 : last]]
    found = find_failure("ci_build", "", log)
    assert found is not None
    assert any(found.root_cause in re.sub(r"\s+", " ", line) for line in marked)


def test_a_real_build_that_went_well_is_no_failure() -> None:
    assert error_line((HERE / "cidiff_11" / "pass.log").read_text("utf-8")) == ""


T = "2026-03-04T14:00:0"


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (f"{T}1Z ##[group]Run pytest\n{T}2Z E   ModuleNotFoundError: No module named 'foo'\n"
         f"{T}3Z ##[error]Process completed with exit code 1.\n",
         "ModuleNotFoundError: No module named 'foo'"),
        (f"{T}2Z ERROR java.io.IOException: No space left on device\n{T}3Z INFO shutting down after failure\n",
         "ERROR java.io.IOException: No space left on device"),
        ('{"level":"error","msg":"connect: connection refused"}\n{"level":"info","msg":"scrape ok, 0 errors"}\n',
         "connect: connection refused"),
        ('{"log":"MemoryError: cannot allocate 4 GiB\\n","stream":"stderr"}\n{"log":"retrying without error\\n"}\n',
         "MemoryError: cannot allocate 4 GiB"),
        ('level=error msg="dial tcp: i/o timeout"\nlevel=info msg="no errors since"\n', "dial tcp: i/o timeout"),
        ("ERROR db: deadlock detected\nall 35 checks passed, 0 failed\n", "ERROR db: deadlock detected"),
        ("E       ValueError: boom\nFAILED a.py::t - ValueError: boom\n==== 1 failed in 0.1s ====\n", "ValueError: boom"),
        ("E0325 20:57:27.123 2606 api.py:869] failed (exitcode: -9) local_rank: 5\n",
         "failed (exitcode: -9) local_rank: 5"),
        ("Exception in thread \"main\" java.lang.RuntimeException: cannot load\n\tat A.main(A.java:1)\n"
         "Caused by: java.io.FileNotFoundException: /nosuch (No such file or directory)\n\t... 1 more\n",
         "Caused by: java.io.FileNotFoundException: /nosuch (No such file or directory)"),
        ("ValueError: first\n\nDuring handling of the above exception, another exception occurred:\n\n"
         "Traceback (most recent call last):\n  File \"a.py\", line 1\nRuntimeError: second\n",
         "RuntimeError: second"),
        ("KeyError: 1\n\nThe above exception was the direct cause of the following exception:\n\n"
         "Traceback (most recent call last):\nRuntimeError: second\n", "KeyError: 1"),
        ("CMake Error at CMakeLists.txt:3 (find_package):\n  Could not find ZLIB\n", "Could not find ZLIB"),
        ("* What went wrong:\nExecution failed for task ':a'.\n> error: cannot find symbol\n", "> error: cannot find symbol"),
        ("error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\nRPM build errors:\n",
         "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)"),
        ("a.c:1:10: fatal error: x.h: No such file or directory\nmake: *** [a.o] Error 1\nRPM build errors:\n"
         "    Bad exit status from /var/tmp/rpm-tmp.x (%build)\nFinish: build phase for a\n"
         "ERROR: Exception(a.src.rpm) Config(child) 1 minutes 12 seconds\n",
         "a.c:1:10: fatal error: x.h: No such file or directory"),
        ("WARN low on disk\nall went on\nINFO failed logins are counted\n", ""),
        ("Tests run: 8, Failures: 0, Errors: 0, Skipped: 0\nBUILD SUCCESS\n", ""),
        ("0 errors, 0 warnings\ndone\n", ""),
    ],
)  # fmt: skip
def test_the_cause_is_the_line_that_says_why(log: str, cause: str) -> None:
    assert error_line(log) == cause


FATAL = """\
src/auth.py:118: TypeError
x.py:1: TypeError: bad operand
lib/a.rb:3:in `foo': undefined method `x' for nil:NilClass (NoMethodError)
net/http: TLS handshake timeout
Job was cancelled because it exceeded the time limit
no required module provides package github.com/x/y
Speicherplatz erschöpft
CUDA out of memory
No space left on device
Killed
Segmentation fault (core dumped)
Bus error
java.lang.OutOfMemoryError: Java heap space
std::bad_alloc
connect ECONNREFUSED 127.0.0.1:5432
Connection reset by peer
Read-only file system
Permission denied (publickey).
Host key verification failed.
Too many open files
Address already in use
Disk quota exceeded
/bin/sh: 1: cmake: not found
panic: runtime error: index out of range [3] with length 3
fatal: not a git repository (or any of the parent directories): .git
Input/output error
Device or resource busy
No route to host
Temporary failure in name resolution
Terminated
Broken pipe
x509: certificate signed by unknown authority
context deadline exceeded
i/o timeout
Lock wait timeout exceeded; try restarting transaction
database disk image is malformed
401 Unauthorized
502 Bad Gateway
Rate limit exceeded
CrashLoopBackOff
OOMKilled
Kernel panic - not syncing: VFS: Unable to mount root fs
double free or corruption (out)
undefined reference to `main'
loss is NaN
CUDA error: device-side assert triggered
Timeout
no such table: orders
Assertion failed: (x > 0), function f, file a.c, line 3.
No rule to make target 'all'.  Stop.
E: Unable to locate package foo
"""


@pytest.mark.parametrize("said", FATAL.splitlines())
def test_a_fatal_line_of_its_own_is_a_failure(said: str) -> None:
    assert error_line(said) == said


HARMLESS = """\
all is well
listening on port 8080
no errors found
retrying is enabled, timeout=30
error handling initialised
INFO failed logins are counted
starting error-reporter
DEBUG connection refused, will retry
checking for errors
max_retries: 3, fail_fast: false
+ grep -c failed run.sh
"""


@pytest.mark.parametrize("said", HARMLESS.splitlines())
def test_a_harmless_line_of_its_own_is_none(said: str) -> None:
    assert error_line(said) == ""


DISK, MEMORY, NETWORK = (
    FailureCategory.RESOURCE_ERROR,
    FailureCategory.RESOURCE_ERROR,
    FailureCategory.RUNTIME_ERROR,
)
FILE, RIGHTS = FailureCategory.RUNTIME_ERROR, FailureCategory.RUNTIME_ERROR


@pytest.mark.parametrize(
    ("category", "said"),
    [
        (DISK, "No queda espacio en el dispositivo|Kein Speicherplatz mehr auf dem Gerät verfügbar"
         "|Aucun espace disponible sur le périphérique|デバイスに空き領域がありません|设备上没有空间"),
        (MEMORY, "Memoria insuficiente|Nicht genügend Hauptspeicher verfügbar|Mémoire insuffisante"
         "|メモリが不足しています|内存不足"),
        (NETWORK, "Conexión rechazada|Verbindungsaufbau abgelehnt|Connexion refusée|接続を拒否されました|拒绝连接"),
        (RIGHTS, "Permiso denegado|Keine Berechtigung|Permission non accordée|許可がありません|权限不够"),
        (FILE, "No existe el archivo o el directorio|Datei oder Verzeichnis nicht gefunden"
         "|Aucun fichier ou dossier de ce type|そのようなファイルやディレクトリはありません|没有那个文件或目录"),
        (FailureCategory.TIMEOUT, "Tiempo de espera agotado|Zeitüberschreitung|Délai d'attente dépassé"
         "|タイムアウトしました|操作超时"),
        (FailureCategory.IMPORT_ERROR, "Falta el módulo 'requests'|Modul 'requests' nicht gefunden"
         "|Module « requests » introuvable|モジュール 'requests' が見つかりません|找不到模块 'requests'"),
        (FailureCategory.SYNTAX_ERROR, "Error de sintaxis|Syntaxfehler|Erreur de syntaxe|構文エラー|语法错误"),
    ],
)  # fmt: skip
def test_common_messages_are_understood_in_five_other_languages(category: FailureCategory, said: str) -> None:
    for message in said.split("|"):
        found = find_failure("log", "", message)
        assert found is not None, message
        assert found.failure_category is category, message


@pytest.mark.parametrize(
    ("category", "said"),
    [
        ("resource_error", "IOError: [Errno 28] No space left on device: '/data/x'"),
        ("resource_error", "System.IO.IOException: There is not enough space on the disk."),
        ("resource_error", "ERROR: could not extend file \"base/16384/2619\": No space left on device"),
        ("resource_error", "java.io.IOException: Unable to create file for report (No space left on device)"),
        ("import_error", "a.go:20:8: missing go.sum entry for module providing package golang.org/x/sys/cpu"),
        ("import_error", "main.go:4:2: package foo/bar is not in GOROOT (/usr/local/go/src/foo/bar)"),
        ("import_error", "main.go:4:2: no required module provides package github.com/a/b; to add it:"),
        ("import_error", "error[E0432]: unresolved import `serde`"),
        ("import_error", "error[E0463]: can't find crate for `tokio`"),
        ("import_error", "error: no matching package named `nosuchcrate` found"),
        ("import_error", "A.java:1: error: package org.nosuch does not exist"),
        ("import_error", "java.lang.ClassNotFoundException: org.acme.Main"),
        ("import_error", "class file has wrong version 55.0, should be 52.0"),
        ("import_error", "b.c:1:10: fatal error: missing_thing.h: No such file or directory"),
        ("import_error", "/usr/bin/ld: cannot find -lfoo: No such file or directory"),
        ("import_error", "Error: Cannot find module 'left-pad'"),
        ("import_error", "npm ERR! 404 Not Found - GET https://registry.npmjs.org/nosuch - Not found"),
        ("import_error", "Module not found: Error: Can't resolve './App' in '/src'"),
        ("import_error", "No matching package to install: 'foo-devel'"),
        ("import_error", "error: Failed build dependencies:"),
        ("runtime_error", "RuntimeError: expected scalar type Half but found Float"),
        ("runtime_error", "RuntimeError: mat1 and mat2 must have the same dtype, but got Half and Float"),
        ("runtime_error", "RuntimeError: Input type (torch.cuda.HalfTensor) and weight type (torch.cuda.FloatTensor) should be "
         "the same"),
        ("runtime_error", "\"addmm_impl_cpu_\" not implemented for 'Half'"),
        ("runtime_error", "E0325 20:57:27.123456 2606 server.cc:88] worker crashed"),
    ],
)  # fmt: skip
def test_what_a_message_of_a_known_kind_is_called(category: str, said: str) -> None:
    found = find_failure("ci_build", said, "")
    assert found is not None
    assert found.failure_category == category


def test_a_full_disk_is_the_reason_wherever_it_is_said() -> None:
    log = "ERROR Failed to execute goal x:report on project y: Compilation failure\nWARN cannot write: No space left on device\n"
    found = find_failure("ci_build", "", log)
    assert found is not None
    assert found.failure_category is FailureCategory.RESOURCE_ERROR


@pytest.mark.parametrize(
    ("line", "text", "level"),
    [
        ("2026-03-04T14:00:01.1234567Z ##[error]boom", "boom", Level.ERROR),
        ("build\ttest\t2026-03-04T14:00:01.1234567Z boom", "boom", None),
        ("[2026-03-04T14:00:01.123Z] boom", "boom", None),
        ("14:00:01,123 [ERROR] boom", "boom", Level.ERROR),
        ("Mar  4 14:00:01 host sshd[12]: boom", "boom", None),
        ("17/11/25 18:23:24 ERROR Yarn: boom", "ERROR Yarn: boom", Level.ERROR),
        ("2018-11-06 11:18:18.851 UTC [69] ERROR:  boom", "[69] ERROR:  boom", Level.ERROR),
        ("[[1;31mERROR[m] boom".replace("[1", "\x1b[1").replace("[m", "\x1b[m"), "boom", Level.ERROR),
        ("E0325 20:57:27.123 2606 a/b.cc:88] boom", "boom", Level.ERROR),
        ("web-1  | boom", "boom", None),
        ("[rank0]: boom", "boom", None),
        ('{"log":"boom\\n","stream":"stderr","time":"2026-03-04T14:00:01Z"}', "boom", None),
        ('{"level":50,"msg":"boom"}', "boom", Level.ERROR),
        ('{"severity":"WARNING","message":"boom"}', "boom", Level.WARN),
        ("::error file=a.py,line=1::boom", "boom", Level.ERROR),
        ("root - INFO - boom", "root - INFO - boom", Level.INFO),
    ],
)  # fmt: skip
def test_a_line_is_freed_of_what_wraps_it(line: str, text: str, level: Level | None) -> None:
    found = unwrapped(line.replace("\x1b[1;31m", "").replace("\x1b[m", ""))
    assert (found.text, found.level) == (text, level)


def test_a_long_log_is_cut_around_the_line_that_says_why() -> None:
    log = "x\n" * 5000 + "ValueError: the reason\n" + "y\n" * 5000 + "Finished: FAILURE\n"
    shown = excerpt(log, 3000)
    assert "ValueError: the reason" in shown
    assert 2000 <= len(shown) <= 3000
    assert excerpt("short", 3000) == "short"
    assert excerpt("z\n" * 5000, 10) == ("z\n" * 5000)[-10:]


@given(
    st.text(alphabet=st.sampled_from('aE \n:[]{}"\\#0()-=+>*.\x1b\r\t✕エ'), max_size=400), st.integers(1, 100)
)
def test_any_text_has_a_suspect_that_is_a_line_of_it_or_none(text: str, characters: int) -> None:
    found = suspect(text)
    assert found is None or found.line
    assert len(excerpt(text, characters)) <= characters

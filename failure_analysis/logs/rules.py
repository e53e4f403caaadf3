"""Pattern rules: category, cause and fix of a failure from its error message and its log, without a model.

A rule is a pattern over text, the category it means, and what to do. Rules are tried in order, the telling
before the general: first on the error message, then on the line of the log that says why (`suspects`) and on
what stands around it, then on the other suspicious lines. How urgent it is decides `severity`. How right all
of this is, is measured: `python -m failure_analysis score` and benchmarks/ci_logs.py (docs/failures.md).
"""

from __future__ import annotations

import re

from failure_analysis.logs.lines import unwrapped
from failure_analysis.logs.rule_table import DISK_FULL, RULES, RUNTIME, Rule
from failure_analysis.logs.severity import NOT_LOADED, severity
from failure_analysis.logs.suspects import Suspect, Weight, suspect, weight_of
from failure_analysis.records import FailureAnalysis, FailureCategory, Severity

READ_CHARACTERS = 60_000
"""The end of a log that rules read; it never leaves the machine."""
SHOWN_CHARACTERS = 3000
"""What of it is kept, and what a model is sent."""
CAUSE_CHARACTERS = 400
SHORT_LOG = 3000
"""Characters of a log that is read as a whole, besides its suspicious lines."""
UNKNOWN_FIX = "Read the log before the last line; run it again with more logging."

_PLACES = (
    re.compile(r'File "(?P<file>[^"\n]{1,300})", line (?P<line>\d+)'),
    re.compile(r"-->\s*(?P<file>[^\s:]{1,300}):(?P<line>\d+)"),
    re.compile(r"\((?P<file>[\w$-]{1,100}\.(?:java|kt|scala)):(?P<line>\d+)\)"),
    re.compile(r"(?P<file>[\w./\\@-]{1,300}\.(?:py|c|cc|cpp|h|rs|go|ts|tsx|js|jsx|java|cs|rb|sh|ya?ml|toml|json|sql|tf|conf))[:(\[](?P<line>\d+)"),
)  # fmt: skip
_LIBRARY = re.compile(
    r"site-packages|node_modules|/usr/lib|/usr/local/(lib|go)|dist-packages|<frozen|internal/modules"
)


def find_failure(
    experiment_type: str, error_message: str, logs: str, why: str = ""
) -> FailureAnalysis | None:
    """Whether anything failed, and why. Without an error message the log must say so; None when it does not.

    `why` is the reason that rules and no model were asked.
    """
    logs = logs[-READ_CHARACTERS:]
    found = suspect(logs)
    if found is None and not error_message.strip():
        return None
    texts = _texts(error_message, found, logs)
    category, fix = _explained(*texts)
    told = _told(error_message, found, logs)
    place = where(found.frames if found else logs[-SHORT_LOG:]) or where(error_message)
    return FailureAnalysis(
        failure_category=category,
        root_cause=cause(error_message, found),
        fix_suggestion=f"{fix} (at {place})" if place else fix,
        severity=severity(category, experiment_type, error_message, told),
        method="rules",
        why_method=why,
    )


def analyze(experiment_type: str, error_message: str, logs: str, why: str) -> FailureAnalysis:
    """Why something failed that is known to have failed. What nothing is known of is a runtime error."""
    return find_failure(experiment_type, error_message, logs, why) or FailureAnalysis(
        failure_category=RUNTIME,
        root_cause="no failure found: nothing in the log says that anything went wrong",
        fix_suggestion=UNKNOWN_FIX,
        severity=Severity.LOW,
        method="rules",
        why_method=why,
        failure_found=False,
    )


def _texts(error_message: str, found: Suspect | None, logs: str) -> tuple[list[str], str]:
    """Where a telling rule is looked for, in this order; and where a general one is, when none was found."""
    own = [found.line, *found.around] if found else []
    suspicious = found.others if found else ()
    whole = found.whole if found else logs
    if found and found.weight >= Weight.STRONG:
        whole = ""  # where an error is known that no rule knows, words elsewhere in the log are no better
    texts = [error_message, *own, *suspicious, *([whole] if len(whole) <= SHORT_LOG else [])]
    return [text for text in texts if text.strip()], "\n".join([error_message, *own[:1]])


def _explained(texts: list[str], general: str) -> tuple[FailureCategory, str]:
    telling, last = RULES[:-1], RULES[-1]
    if any(DISK_FULL.pattern.search(text) for text in texts):  # whatever else went wrong, this is why
        return DISK_FULL.category, DISK_FULL.fix
    for text in texts:
        for rule in telling:
            if match := rule.pattern.search(text):
                return _unless_not_loaded(rule, texts), _fix(rule, match)
    match = last.pattern.search(general)
    return (last.category, _fix(last, match)) if match else (RUNTIME, UNKNOWN_FIX)


def _unless_not_loaded(rule: Rule, texts: list[str]) -> FailureCategory:
    """The category of a rule. Where tests could not even be loaded, none of them has found a wrong result."""
    unloaded = rule.category is FailureCategory.LOGIC_ERROR and any(map(NOT_LOADED.search, texts))
    return FailureCategory.IMPORT_ERROR if unloaded else rule.category


def _fix(rule: Rule, found: re.Match[str]) -> str:
    name = found.groupdict().get("name") or ""
    return rule.fix.replace("{name}", name or "the missing name")


def _told(error_message: str, found: Suspect | None, logs: str) -> str:
    """What severity is read from: a short log as a whole, of a long one what belongs to the failure."""
    if len(logs) <= SHORT_LOG or found is None:
        return logs[-SHORT_LOG:]
    return "\n".join([*found.around, *found.others])[-SHORT_LOG:]


def cause(error_message: str, found: Suspect | None) -> str:
    """The line that says most: of the error message, unless that only says that something failed."""
    lines = [line.strip() for line in error_message.splitlines() if line.strip()]
    if not lines:
        return (found.line if found else "no error message was given")[:CAUSE_CHARACTERS].strip()
    said = lines[0] if not lines[0].startswith("Traceback") else lines[-1]
    if found and found.weight >= Weight.PHRASE and weight_of(unwrapped(said)) <= Weight.VERDICT:
        return found.line[:CAUSE_CHARACTERS].strip()
    return said[:CAUSE_CHARACTERS].strip()


def error_line(log: str) -> str:
    """The line of a log that says what went wrong; empty when nothing did."""
    found = suspect(log[-READ_CHARACTERS:])
    return found.line if found else ""


def where(text: str) -> str:
    """`file:line` of the last place named that is not in a library; empty when none is."""
    for pattern in _PLACES:
        places = [found for found in pattern.finditer(text) if not _LIBRARY.search(found["file"])]
        if places:
            return f"{places[-1]['file']}:{places[-1]['line']}"
    return ""

"""Pattern rules: category, cause and fix of a failure from its error message and its log, without a model.

A rule is a pattern over text, the category it means, and what to do. Rules are tried in order, the telling
before the general: first on the error message, then on the lines of the log that look like errors, from the
last one back, then on the whole log. How urgent it is decides `severity`. How right both are is measured:
`python -m failure_analysis score` (docs/failures.md).
"""

from __future__ import annotations

import re

from failure_analysis.logs.rule_table import RULES, RUNTIME, Rule
from failure_analysis.logs.severity import severity
from failure_analysis.records import FailureAnalysis

LOG_CHARACTERS = 3000
"""The end of a log that is looked at, by rules and models alike."""
CAUSE_CHARACTERS = 400

_LOOKS_LIKE_ERROR = re.compile(
    r"error|exception|fatal|panic|fail|traceback|critical|\bE  |killed|abort|cannot|denied|refused|timed? ?out|invalid"
    r"|unexpected",
    re.IGNORECASE,
)
_RAISED = re.compile(
    r"(E\s{1,8})?([a-z_]\w{0,60}\.){0,8}[A-Z]\w{0,80}(Error|Exception|Timeout|Exit|Interrupt|Panic|Failure|Violation)(: |$)"
)
_PLACES = (
    re.compile(r'File "(?P<file>[^"\n]{1,300})", line (?P<line>\d+)'),
    re.compile(r"-->\s*(?P<file>[^\s:]{1,300}):(?P<line>\d+)"),
    re.compile(r"\((?P<file>[\w$-]{1,100}\.(?:java|kt|scala)):(?P<line>\d+)\)"),
    re.compile(r"(?P<file>[\w./\\@-]{1,300}\.(?:py|c|cc|cpp|h|rs|go|ts|tsx|js|jsx|java|cs|rb|sh|ya?ml|toml|json|sql|tf|conf))[:(\[](?P<line>\d+)"),
)  # fmt: skip
_LIBRARY = re.compile(
    r"site-packages|node_modules|/usr/lib|/usr/local/(lib|go)|dist-packages|<frozen|internal/modules"
)


def analyze(experiment_type: str, error_message: str, logs: str, why: str) -> FailureAnalysis:
    """What the rules say; `why` is the reason that they and no model were asked. Never fails: unknown is a
    runtime error.
    """
    logs = logs[-LOG_CHARACTERS:]
    rule, found = _first(error_message, logs)
    category, fix = (
        (rule.category, _fix(rule, found))
        if rule
        else (RUNTIME, "Read the log before the last line; run it again with more logging.")
    )
    return FailureAnalysis(
        failure_category=category,
        root_cause=cause(error_message, logs),
        fix_suggestion=fix,
        severity=severity(category, experiment_type, error_message, logs),
        method="rules",
        why_method=why,
    )


def _first(error_message: str, logs: str) -> tuple[Rule | None, re.Match[str] | None]:
    """The rule that speaks first, where it should be heard first."""
    suspicious = [line for line in logs.splitlines() if _LOOKS_LIKE_ERROR.search(line)]
    telling, last = RULES[:-1], RULES[-1:]
    texts = (
        (error_message, telling),
        *((line, telling) for line in reversed(suspicious)),
        (logs, telling),
        (error_message, last),
    )
    for text, rules in texts:
        for rule in rules:
            if found := rule.pattern.search(text):
                return rule, found
    return None, None


def _fix(rule: Rule, found: re.Match[str] | None) -> str:
    name = (found.groupdict().get("name") or "") if found else ""
    return rule.fix.replace("{name}", name or "the missing name")


def cause(error_message: str, logs: str) -> str:
    """The sentence that says most: the error's last telling line, and where in our own code it happened."""
    lines = [line.strip() for line in error_message.splitlines() if line.strip()]
    if not lines:
        lines = [line.strip() for line in logs.splitlines() if _LOOKS_LIKE_ERROR.search(line)][-1:] or [
            "no error message was given"
        ]
    said = lines[0] if not lines[0].startswith("Traceback") else lines[-1]
    place = where(logs) or where(error_message)
    return (said[:CAUSE_CHARACTERS] + (f" (at {place})" if place and place not in said else "")).strip()


def error_line(log: str) -> str:
    """The line of a log that says what went wrong: what a traceback ends with, else the last that looks like
    an error.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    raised = [line for line in lines if _RAISED.match(line)]
    suspicious = [line for line in lines if _LOOKS_LIKE_ERROR.search(line)]
    return (raised or suspicious or [""])[-1]


def where(text: str) -> str:
    """`file:line` of the last place named that is not in a library; empty when none is."""
    for pattern in _PLACES:
        places = [found for found in pattern.finditer(text) if not _LIBRARY.search(found["file"])]
        if places:
            return f"{places[-1]['file']}:{places[-1]['line']}"
    return ""

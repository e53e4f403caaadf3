"""How urgent a failure is, from its category, what failed, and signs in the text. The scale is in
docs/failures.md.

Signs are asked in order: did it pass when tried again, is data or the whole run lost, is it one case among
many that go on.
"""

from __future__ import annotations

import re

from failure_analysis.records import FailureCategory, Severity

_RECOVERED = re.compile(
    r"\bflaky\b|\brerun\b[^\n]*\n[^\n]*passed|job succeeded|\bis deprecated\b|deprecationwarning"
    r"|(retry|attempt|retries)[^\n]*\n(?:[^\n]*\n)?[^\n]*(\bok\b|\bdone\b|passed|succeeded|answered|received|\b20[0-4]\b)"
    r"|attempt #?[2-9][^\n]*(\bok\b|succeeded|\b20[0-4]\b)"
    r"|(ok|submitted|received|done|succeeded|passed)[^\n]{0,20} attempt #?[2-9]",
    re.IGNORECASE,
)
_GAVE_UP = re.compile(
    r"giving up|\bfailed, \d|rollout (failed|dropped)|out of retries|exit (code|status) [1-9]", re.IGNORECASE
)
_DATA_LOST = re.compile(
    r"corrupt(?!ed/incomplete)|checksum|data (may be|is|was) lost|lost async page|data loss|page verification|headertoolarge"
    r"|failed reading zip archive|read-only file ?system|remounting filesystem|store is read-only",
    re.IGNORECASE,
)
_LOST_RUN = re.compile(
    r"memory|\bkilled\b|no space left|enospc|quota exceeded|disk (is )?full|\bnan\b|\binf(inity)?\b|diverged|explod|loss scale"
    r"|nccl|collective|distributed|watchdog|i/o error|hardware|ecc error",
    re.IGNORECASE,
)
_SERVICE_DOWN = re.compile(
    r"heap|lang\.outofmemoryerror|no space left|i/o error|service [\w-]* ?(is )?(down|stopped)|restart limit"
    r"|database system is shut down",
    re.IGNORECASE,
)
NOT_LOADED = re.compile(
    r"error collecting|error while importing|errors? during collection|test suite failed to run"
    r"|cannot import|interrupted: \d+ error",
    re.IGNORECASE,
)
_STOPS = re.compile(
    r"exit(ed|ing)?[^\n]{0,20}(code|status)|\bexited\b|failed with result|aborted|core dumped|panic:"
    r"|panicked|unhandled exception|\bfatal\b"
    r"|imagepull|failed to pull|crashloop|back-?off"
    r"|\bemerg\b|startup failed|run failed|rolled back|rolling back|restarting failed|upgrade failed|test failed|is invalid:"
    r"|\b(job|report|export|deploy|backup|import|audit|reconciliation)\b[^\n]{0,40}failed|not published|withheld|usage:",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"\b(get|post|put|patch|delete)\b[^\n]{0,80}\b[2-5]\d\d\b|\banswered\b|skipped"
    r"|rejected|held back|manual review|dead.?letter|\bdlq\b"
    r"|other [^\n]{0,40}(read|sent)|\bwarn(ing)?\b",
    re.IGNORECASE,
)
_ONE_OF_MANY = re.compile(
    r"\b1 of \d{2,}|sample failed|episode ended|other episodes|left out|episode \d+ of", re.IGNORECASE
)
_ONE_REQUEST = re.compile(r"too large|exceeds the|rate.?limit|too many requests|\b429\b", re.IGNORECASE)
_NO_QUOTA = re.compile(r"insufficient_quota|current quota|billing", re.IGNORECASE)

_NOT_BETTER = re.compile(
    r"\bnot better than\b|\bno improvement over\b|\bdid not (improve|beat)\b", re.IGNORECASE
)
_KNOWN = {
    "training_run", "training_job", "training", "rollout", "episode", "ci_test", "ci_build", "evaluation",
    "log",
}  # fmt: skip
"""Every other type is one experiment of a search, such as llm_generated_code: others go on when it fails."""
_RUNS = {"training_run", "training_job", "training"}
_SINGLE = {"rollout", "episode"}


def severity(category: FailureCategory, experiment_type: str, error_message: str, logs: str) -> Severity:
    """One of four; the words that decide are looked for in both texts."""
    text = f"{error_message}\n{logs}"
    if _RECOVERED.search(text) and not _GAVE_UP.search(text):
        return Severity.LOW
    if category is FailureCategory.LOGIC_ERROR and _NOT_BETTER.search(error_message or logs):
        return Severity.LOW
    if _lost(category, experiment_type, text):
        return Severity.CRITICAL
    if experiment_type not in _KNOWN:
        return Severity.MEDIUM if category is FailureCategory.TIMEOUT else Severity.HIGH
    if experiment_type in _SINGLE:
        return Severity.HIGH if _NO_QUOTA.search(text) else Severity.MEDIUM
    if experiment_type == "ci_test":
        return Severity.HIGH if NOT_LOADED.search(text) or _never_ran(category, text) else Severity.MEDIUM
    if experiment_type == "evaluation":
        return Severity.MEDIUM if _ONE_OF_MANY.search(text) else Severity.HIGH
    if experiment_type == "log" and _GOES_ON.search(text) and not _STOPS.search(text):
        shared = category is FailureCategory.RESOURCE_ERROR and not _ONE_REQUEST.search(text)
        return Severity.HIGH if shared else Severity.MEDIUM
    return Severity.HIGH


def _lost(category: FailureCategory, experiment_type: str, text: str) -> bool:
    """Whether data or a whole run or service is gone."""
    if experiment_type in _RUNS:
        grave = {FailureCategory.RESOURCE_ERROR, FailureCategory.LOGIC_ERROR, FailureCategory.TIMEOUT}
        return bool(_DATA_LOST.search(text)) or (category in grave and bool(_LOST_RUN.search(text)))
    if experiment_type == "log":
        down = category is FailureCategory.RESOURCE_ERROR and _SERVICE_DOWN.search(text)
        return bool(_DATA_LOST.search(text) or down)
    return False


def _never_ran(category: FailureCategory, text: str) -> bool:
    return category is FailureCategory.IMPORT_ERROR or (
        category is FailureCategory.SYNTAX_ERROR and " passed in " not in text
    )

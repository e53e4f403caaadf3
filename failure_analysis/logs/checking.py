"""Whether a model's explanation may be believed: it must speak of what it was shown, and obey nothing in it.

A log is hostile text and a model may follow it, or guess. So an explanation is refused that quotes nothing of
the log, that says nothing failed, that speaks of another experiment, or whose fix runs what comes from
somewhere else. The rules' verdict stands beside every explanation, and a model never lowers a severity alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from failure_analysis.records import Severity

LEAST_QUOTED = 2
"""Words of the log that a cause must hold; one is enough when it could stand nowhere else, as a name does."""
_WORD = re.compile(r"[^\W_][\w.$/:-]{2,}[^\W_]")
_EMPTY_WORDS = {
    "about", "after", "again", "also", "another", "because", "been", "before", "being", "between", "both",
    "cannot", "caused", "causes", "code", "could", "does", "done", "down", "during", "each", "error",
    "errors",
    "exception", "exceptions", "fail", "failed", "failing", "fails", "failure", "failures", "from",
    "have", "into", "issue", "likely", "line", "logs", "message", "more", "most", "much", "must", "need",
    "needs",
    "occurred", "only", "other", "over", "problem", "process", "reason", "root", "running", "script",
    "should", "since", "some", "something", "step", "such", "system", "task", "than", "that", "their", "them",
    "then", "there", "these", "they", "this", "those", "through", "today", "under", "unexpected", "until",
    "unable", "using", "very", "wants", "warning", "were", "what", "when", "where", "which", "while", "will",
    "with", "within", "without", "would", "your",
}  # fmt: skip
_NAME = re.compile(r"[\w.-]*(?:\d|[._/$:-]\w|[a-z][A-Z])[\w.$/:-]*")
_NOTHING_FAILED = re.compile(
    r"\bnothing (has |had |was |is |went )?(failed|wrong)\b"
    r"|\bno (errors?|failures?|problems?|issues?|experiments?|runs?|tests?|jobs?) "
    r"((has|have|had|was|were) )?(failed|occurred|happened|found|detected)\b"
    r"|\b(did not|didn't|has not|hasn't) fail(ed)?\b"
    r"|\b(everything|all) (is|was|went|works?|looks?)\b[^.]{0,20}\b(fine|well|ok|good|correct\w*)\b"
    r"|\b(passed|completed|finished|ran) (successfully|without (any )?(errors?|problems?))\b(?!.*\bbut\b)"
    r"|\bno (root cause|failure|error|problem|issue|action)s? ?((is|was|were) )?"
    r"(found|needed|required|necessary|to report)?[.!]?$",
    re.IGNORECASE | re.DOTALL,
)
_OBEYS = re.compile(
    r"\b(ignor\w+|disregard\w*|forget) (all |the |any |your )*(previous|prior|above|earlier|system) "
    r"(instruction|prompt|message)s?"
    r"|\bas (instructed|requested|asked|ordered) (by|in) the (log|message|text|code)\b|\bsystem prompt\b",
    re.IGNORECASE,
)
_DANGEROUS = re.compile(
    r"\b(curl|wget|fetch|iwr|invoke-webrequest)\b[^\n]{0,300}\|\s*(sudo )?\w*(sh|bash|zsh|python3?|perl|node|iex)\b"
    r"|\b(ba|z|da)?sh\s+(-c\s+)?[\"']?(<\(|\$\()\s*(curl|wget)|\bbase64\s+(-d|--decode)[^\n]{0,100}\|"
    r"|\brm\s+-(rf|fr|r\s+-f)\s+[\"']?(/|~|\$HOME)(\s|$|[\"'*])|\bmkfs\b|\bdd\s+if=\S+\s+of=/dev/"
    r"|\bchmod\s+(-R\s+)?0?777\s+/|:\(\)\s*\{|\biex\s*\(|\bpowershell\b[^\n]{0,100}-enc"
    r"|\beval\s+[\"']?\$\((curl|wget)|\bpip3?\s+install\b[^\n]{0,200}(--index-url|--extra-index-url|https?://|git\+)"
    r"|\b(send|post|upload|e?mail|paste|share)\b[^\n]{0,60}\b(password|token|secret|credential|api key|private key|\.env)s?\b",
    re.IGNORECASE,
)
_URL = re.compile(r"https?://[^\s\"'<>)\]]+", re.IGNORECASE)
_ANOTHER = re.compile(
    r"\b(?:experiment|run|job|build|exp|test)[ _#:-]{0,3}(?P<name>[\w.-]*\d[\w.-]*)"
    r"|\b(?P<id>(?=[\w-]*\d{3})[A-Za-z][\w-]*_[\w-]+)\b",
    re.IGNORECASE,
)


def refusal(root_cause: str, fix_suggestion: str, shown: Mapping[str, str]) -> str:
    """Why an explanation is not believed; empty when it may be. `shown` is what the model was shown."""
    seen = " ".join(shown.values()).lower()
    both = f"{root_cause}\n{fix_suggestion}"
    if _NOTHING_FAILED.search(root_cause):
        return "it says that nothing failed"
    if _OBEYS.search(both):
        return "it follows instructions that stand in the log"
    if _DANGEROUS.search(both):
        return "its fix runs what comes from elsewhere, or destroys"
    if foreign := _foreign_address(fix_suggestion, seen):
        return f"its fix leads to {foreign[:100]}, which the log does not name"
    if another := _another_experiment(root_cause, seen):
        return f"it speaks of {another[:100]}, which it was not shown"
    if not _quotes(root_cause, seen):
        return "its cause quotes no words of the log"
    return ""


def _foreign_address(text: str, seen: str) -> str:
    return next((url for url in _URL.findall(text) if url.rstrip(".,;").lower() not in seen), "")


def _another_experiment(text: str, seen: str) -> str:
    """The name of an experiment that was not shown."""
    names = (found["name"] or found["id"] for found in _ANOTHER.finditer(text))
    return next((name for name in names if name.rstrip(".-").lower() not in seen), "")


def _quotes(text: str, seen: str) -> bool:
    """Whether the words of a cause are those of the log."""
    words = {word.lower() for word in _WORD.findall(text)} - _EMPTY_WORDS
    shared = {
        word for word in words if len(word) >= 4 and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", seen)
    }
    if any(_NAME.fullmatch(word) for word in shared):
        return True
    return len(shared) >= min(LEAST_QUOTED, len(set(_WORD.findall(seen))))


def not_lower(said: Severity, ruled: Severity) -> Severity:
    """The more urgent of the two."""
    order = list(Severity)
    return min(said, ruled, key=order.index)

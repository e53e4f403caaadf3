"""What each kind of failed investigation means: its category, how urgent it is, and what to do about it.
Data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from failure_analysis.records import FailureCategory, InvestigationKind, Severity

Kind = InvestigationKind
_RUNTIME, _LOGIC, _INPUT = (
    FailureCategory.RUNTIME_ERROR,
    FailureCategory.LOGIC_ERROR,
    FailureCategory.VALIDATION_ERROR,
)
_RESOURCE = FailureCategory.RESOURCE_ERROR
_HIGH, _MEDIUM, _LOW = Severity.HIGH, Severity.MEDIUM, Severity.LOW


class Meaning(NamedTuple):
    """Category, severity and fix of a kind."""

    category: FailureCategory
    severity: Severity
    fix: str


MEANING: Mapping[InvestigationKind, Meaning] = {
    Kind.PROVIDER_TROUBLE: Meaning(_RUNTIME, _MEDIUM, "Look at the provider's error; run the sample again."),
    Kind.JUDGE_TROUBLE: Meaning(
        _RUNTIME,
        _MEDIUM,
        "Read report and verdict side by side; calibrate the judge again (make_judge_model.py) and rescore.",
    ),
    Kind.REFUSED: Meaning(_RUNTIME, _MEDIUM, "Read the last reply; change the wording that is refused."),
    Kind.MALFORMED_CALL: Meaning(
        _INPUT,
        _MEDIUM,
        "More supervised warm-up on the call format, or one more repair; check that replies are not cut.",
    ),
    Kind.WRONG_TOOL_USE: Meaning(
        _INPUT, _MEDIUM, "Make the tool's docstring say which arguments it takes; more warm-up on them."
    ),
    Kind.INVALID_REPORT: Meaning(
        _INPUT, _MEDIUM, "More warm-up on the report's schema; check which field is missing."
    ),
    Kind.OUT_OF_CONTEXT: Meaning(
        _RESOURCE,
        _MEDIUM,
        "Lower tool_budget_tokens or max_turns, or raise max_completion_tokens if the reply was cut.",
    ),
    Kind.FABRICATED_EVIDENCE: Meaning(
        _LOGIC, _HIGH, "Raise the cost of invented ids in the reward; check that printed ids are unique."
    ),
    Kind.INVENTED_SERVICE: Meaning(
        _LOGIC,
        _HIGH,
        "Check that the policy is told which services there are; raise the cost of a service that is none.",
    ),
    Kind.SEARCHED_NOTHING: Meaning(
        _LOGIC,
        _MEDIUM,
        "Check that an empty result says what to try next; train on widening a search that finds nothing.",
    ),
    Kind.ANSWERED_BLIND: Meaning(
        _LOGIC, _MEDIUM, "Check that unsupported answers pay less than grounded ones; train on more turns."
    ),
    Kind.SAW_AND_IGNORED: Meaning(
        _LOGIC,
        _MEDIUM,
        "Train on this fault with red herrings, so that the decisive line is told from the loud ones.",
    ),
    Kind.WRONG_TIME_WINDOW: Meaning(
        _LOGIC, _MEDIUM, "Train on scenarios whose cause lies before the reported time; search wider first."
    ),
    Kind.EVIDENCE_CUT_OFF: Meaning(
        _LOGIC,
        _MEDIUM,
        "Narrow the search or follow the cursor; raise tool_budget_tokens if it often happens.",
    ),
    Kind.STOPPED_AT_SYMPTOM: Meaning(
        _LOGIC, _MEDIUM, "Train on deeper chains: follow failing calls from caller to callee to the end."
    ),
    Kind.FOLLOWED_WRONG_BRANCH: Meaning(
        _LOGIC,
        _MEDIUM,
        "Train on scenarios with unrelated errors near the fault; read a failing trace first.",
    ),
    Kind.RIGHT_SERVICE_WRONG_CAUSE: Meaning(
        _LOGIC, _MEDIUM, "Train on this fault type: its decisive line is not the loudest of the service."
    ),
    Kind.REPEATED_ITSELF: Meaning(
        _LOGIC, _MEDIUM, "Raise the cost of repeated calls; check that a result says what to try next."
    ),
    Kind.GAVE_UP: Meaning(
        _LOGIC, _LOW, "Check that a grounded answer pays more than 'unknown'; train on this fault type."
    ),
    Kind.OUT_OF_TURNS: Meaning(
        _LOGIC,
        _LOW,
        "Check that it answers when evidence is clear; raise max_turns only if it uses them well.",
    ),
    Kind.NEVER_REACHED_EVIDENCE: Meaning(
        _LOGIC, _MEDIUM, "Train on this fault type; check that the tools can reach its decisive line at all."
    ),
    Kind.UNSUPPORTED_GUESS: Meaning(
        _LOGIC, _LOW, "Check that a grounded answer pays more than a guess; train on citing what was shown."
    ),
}

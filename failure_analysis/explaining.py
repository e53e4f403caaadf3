"""From what failed to what is stored: an episode with its claims, or an error with its log, as a `Failure`.

Both get category, root cause, fix and severity, and a signature. Texts are redacted here, before anything is stored or sent.
"""

from __future__ import annotations

from failure_analysis.analyzer import LogAnalyzer
from failure_analysis.investigations import claims
from failure_analysis.kinds import MEANING
from failure_analysis.records import Failure, FailureAnalysis, InvestigationKind, signature_of
from failure_analysis.redaction import redacted_end
from failure_analysis.rules import LOG_CHARACTERS
from failure_analysis.signatures import template
from project_types import Episode, Scenario

Kind = InvestigationKind
ERROR_CHARACTERS = 2000


def explain_episode(episode: Episode, scenario: Scenario | None, trouble: str = "", message: str = "") -> Failure:
    """The failure of an episode that came to its end, or that `trouble` (class of an exception, with its message) broke off."""
    made = claims(episode, scenario, trouble)
    kind = made[0].kind
    category, severity, fix = MEANING[kind]
    if trouble:
        said = LogAnalyzer.by_rules("rollout", f"{trouble}: {message}", "", "a failed rollout is explained by rules")
        category, severity = said.failure_category, said.severity
        if kind is Kind.PROVIDER_TROUBLE:
            fix = said.fix_suggestion
    others = [claim.text for claim in made[1:3]]
    analysis = FailureAnalysis(
        failure_category=category,
        root_cause="; ".join([_cited(made[0].text, made[0].turns), *others]) + (f" ({message[:300]})" if message else ""),
        fix_suggestion=fix,
        severity=severity,
        why_method="investigations are explained by rules from the stored episode"
        + ("" if scenario else "; the scenario file was not found, so only the episode itself was used"),
    )
    fault = str(episode.metadata.get("fault_type", "")) or "unknown fault"
    shape = f"{kind.replace('_', ' ')}: {fault}" + (f": {template(message)}" if message else "")
    return _redacted(Failure(
        signature=signature_of("investigation", kind, fault, template(message)), template=shape, analysis=analysis,
        kind=kind, claims=made, error_message=f"{trouble}: {message}" if trouble else "",
    ))  # fmt: skip


def explain_error(
    analyzer: LogAnalyzer, experiment_id: str, experiment_type: str, message: str, logs: str, times: int = 1
) -> Failure:
    """The failure behind an error message and a log; both are redacted before anybody sees them."""
    analysis = analyzer.analyze_failure(experiment_id, experiment_type, message, logs)
    shape = template(message or analysis.root_cause)
    return _redacted(Failure(
        signature=signature_of(experiment_type, analysis.failure_category, shape), template=shape, analysis=analysis,
        error_message=message, excerpt=logs, times=times,
    ))  # fmt: skip


def _redacted(failure: Failure) -> Failure:
    """The failure without secrets and of bounded length."""
    analysis = failure.analysis
    clean = analysis.model_copy(
        update={
            "root_cause": redacted_end(analysis.root_cause, ERROR_CHARACTERS),
            "fix_suggestion": redacted_end(analysis.fix_suggestion, ERROR_CHARACTERS),
        }
    )
    return failure.model_copy(
        update={
            "analysis": clean,
            "template": redacted_end(failure.template, ERROR_CHARACTERS),
            "error_message": redacted_end(failure.error_message, ERROR_CHARACTERS),
            "excerpt": redacted_end(failure.excerpt, LOG_CHARACTERS),
            "claims": tuple(claim.model_copy(update={"text": redacted_end(claim.text, 1000)}) for claim in failure.claims),
        }
    )


def _cited(text: str, turns: tuple[int, ...]) -> str:
    if not turns:
        return text
    return f"{text} (turn{'s' if len(turns) > 1 else ''} {', '.join(map(str, turns[:6]))})"

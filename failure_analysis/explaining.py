"""From what failed to what is stored: an episode with its claims, or an error with its log, as a `Failure`.

Both get category, root cause, fix and severity, and a signature. Texts are redacted here, before anything is
stored or sent.
"""

from __future__ import annotations

from typing import NamedTuple

from core.redaction import redacted_end, redacted_message
from failure_analysis.episodes.investigations import claims
from failure_analysis.episodes.kinds import MEANING
from failure_analysis.episodes.second_opinion import second_opinion
from failure_analysis.feedback import of_similar
from failure_analysis.history import before
from failure_analysis.logs.analyzer import MODEL_VARIABLE, NO_MODEL, LogAnalyzer
from failure_analysis.logs.rules import READ_CHARACTERS, SHOWN_CHARACTERS
from failure_analysis.logs.suspects import excerpt
from failure_analysis.records import Failure, FailureAnalysis, InvestigationKind, signature_of
from failure_analysis.sharing import specific
from failure_analysis.signatures import template
from failure_analysis.store import FailureStore, Wanted
from project_types import Episode, Scenario

Kind = InvestigationKind
ERROR_CHARACTERS = 2000
SHOWN_OF_GROUP = 50
MOST_UNANSWERED = 3
"""Each of them may take the whole time of an answer."""


def explain_episode(
    episode: Episode, scenario: Scenario | None, trouble: str = "", message: str = ""
) -> Failure:
    """The failure of an episode that came to its end, or that `trouble` (class of an exception, with its
    message) broke off.
    """
    made = claims(episode, scenario, trouble)
    kind = made[0].kind
    category, severity, fix = MEANING[kind]
    if trouble:
        said = LogAnalyzer.by_rules(
            "rollout", f"{trouble}: {message}", "", "a failed rollout is explained by rules"
        )
        category, severity = said.failure_category, said.severity
        if kind is Kind.PROVIDER_TROUBLE:
            fix = said.fix_suggestion
    others = [claim.text for claim in made[1:3]]
    analysis = FailureAnalysis(
        failure_category=category,
        root_cause="; ".join([_cited(made[0].text, made[0].turns), *others])
        + (f" ({message[:300]})" if message else ""),
        fix_suggestion=fix,
        severity=severity,
        why_method="investigations are explained by rules from the stored episode"
        + ("" if scenario else "; the scenario file was not found, so only the episode itself was used"),
    )
    fault = str(episode.metadata.get("fault_type", "")) or "unknown fault"
    shape = f"{kind.replace('_', ' ')}: {fault}" + (f": {template(message)}" if message else "")
    return _redacted(Failure(
        signature=signature_of("investigation", kind, fault, template(message)), template=shape,
        analysis=analysis,
        kind=kind, claims=made, error_message=f"{trouble}: {message}" if trouble else "",
    ))  # fmt: skip


class Explainer:
    """Explains errors and episodes. A model is asked once for what is the very same failure (`sharing`)."""

    def __init__(self, analyzer: LogAnalyzer, store: FailureStore) -> None:
        self.analyzer, self._store = analyzer, store
        self._unanswered = 0
        """Questions in a row that the model did not answer."""
        self._told: dict[str, list[_Told]] = {}
        """Failures of a group that a model has been asked about, by signature."""

    def error(self, id: str, experiment_type: str, message: str, logs: str) -> Failure:
        """The failure behind an error message and a log; both are redacted before anybody sees them."""
        no_model = f"no model is configured; set {MODEL_VARIABLE} to use one"
        ruled = LogAnalyzer.by_rules(experiment_type, message, logs, no_model)
        shape = template(message or ruled.root_cause)
        signature = signature_of(experiment_type, ruled.failure_category, shape)
        failure = _redacted(
            Failure(signature=signature, template=shape, analysis=ruled, error_message=message, excerpt=logs)
        )
        if self.analyzer.model == NO_MODEL:
            return failure
        return failure.model_copy(
            update={"analysis": self._by_model(id, experiment_type, message, logs, failure)}
        )

    def _by_model(
        self, id: str, experiment_type: str, message: str, logs: str, failure: Failure
    ) -> FailureAnalysis:
        """What a model says of this failure, or said of the very same one before."""
        wanted = specific(failure.error_message, failure.excerpt)
        told = self._told_of(failure.signature)
        for one in told:
            if one.specific == wanted:
                return _told_again(one)
        if self._unanswered >= MOST_UNANSWERED:
            why = f"{self.analyzer.model} left {self._unanswered} questions in a row unanswered; it is not asked any more"
            return failure.analysis.model_copy(update={"why_method": why})
        alike = of_similar(before(self._store, failure.error_message)) if failure.error_message else []
        asked = self.analyzer.analyze_failure(id, experiment_type, message, logs, known_failures=alike)
        self._unanswered = 0 if asked.model else self._unanswered + 1
        analysis = _redacted(failure.model_copy(update={"analysis": asked})).analysis
        told.append(_Told(id, failure.model_copy(update={"analysis": analysis}), wanted))
        return analysis

    def episode(
        self, episode: Episode, scenario: Scenario | None, trouble: str = "", message: str = ""
    ) -> Failure:
        """The failure of an episode: claims by rules, and a model's claims once per group."""
        failure = explain_episode(episode, scenario, trouble, message)
        if self.analyzer.model == NO_MODEL or self._told_of(failure.signature):
            return failure
        opinion = second_opinion(self.analyzer, episode, scenario)
        why = failure.analysis.model_copy(
            update={"why_method": f"{failure.analysis.why_method}; {opinion.why}"}
        )
        failure = _redacted(
            failure.model_copy(update={"analysis": why, "claims": (*failure.claims, *opinion.claims)})
        )
        self._told[failure.signature].append(_Told("", failure, ()))
        return failure

    def _told_of(self, signature: str) -> list[_Told]:
        """Failures of this group that a model has been asked about, here or in an earlier capture."""
        if signature not in self._told:
            wanted = Wanted(signature=signature)
            stored = (
                self._store.experiments(wanted, limit=SHOWN_OF_GROUP).rows
                if self._store.path.exists()
                else ()
            )
            self._told[signature] = [
                _Told(row.id, row.failure, specific(row.failure.error_message, row.failure.excerpt))
                for row in stored
                if row.failure and _by_a_model(row.failure)
            ]
        return self._told[signature]


class _Told(NamedTuple):
    """A failure that a model has been asked about."""

    id: str
    failure: Failure
    specific: tuple[str, ...]


def _told_again(one: _Told) -> FailureAnalysis:
    """The answer about another failure, which is the very same one, and says so."""
    analysis = one.failure.analysis
    if analysis.method == "rules":
        return analysis
    why = f"{analysis.model} answered it for {one.id}, the very same failure"
    return analysis.model_copy(update={"why_method": why, "cost_usd": 0.0})


def _by_a_model(failure: Failure) -> bool:
    return failure.analysis.method == "llm" or any(claim.method == "llm" for claim in failure.claims)


def _redacted(failure: Failure) -> Failure:
    """The failure without secrets and of bounded length."""
    why = failure.analysis
    texts = {
        name: redacted_message(getattr(why, name), ERROR_CHARACTERS)
        for name in ("root_cause", "fix_suggestion")
    }
    return failure.model_copy(
        update={
            "analysis": why.model_copy(update=texts),
            "template": redacted_message(failure.template, ERROR_CHARACTERS),
            "error_message": redacted_message(failure.error_message, ERROR_CHARACTERS),
            "excerpt": excerpt(redacted_end(failure.excerpt, READ_CHARACTERS), SHOWN_CHARACTERS),
            "claims": tuple(
                claim.model_copy(update={"text": redacted_message(claim.text, 1000)})
                for claim in failure.claims
            ),
        }
    )


def _cited(text: str, turns: tuple[int, ...]) -> str:
    if not turns:
        return text
    return f"{text} (turn{'s' if len(turns) > 1 else ''} {', '.join(map(str, turns[:6]))})"

"""From what failed to what is stored: an episode with its claims, or an error with its log, as a `Failure`.

Both get category, root cause, fix and severity, and a signature. Texts are redacted here, before anything is
stored or sent.
"""

from __future__ import annotations

from core.redaction import redacted_end, redacted_message
from failure_analysis.episodes.investigations import claims
from failure_analysis.episodes.kinds import MEANING
from failure_analysis.episodes.second_opinion import second_opinion
from failure_analysis.logs.analyzer import MODEL_VARIABLE, NO_MODEL, LogAnalyzer
from failure_analysis.logs.rules import READ_CHARACTERS, SHOWN_CHARACTERS
from failure_analysis.logs.suspects import excerpt
from failure_analysis.records import Failure, FailureAnalysis, InvestigationKind, signature_of
from failure_analysis.signatures import template
from failure_analysis.store import FailureStore, Wanted
from project_types import Episode, Scenario

Kind = InvestigationKind
ERROR_CHARACTERS = 2000
SHOWN_OF_GROUP = 50


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
        signature=signature_of("investigation", kind, fault, template(message)), template=shape, analysis=analysis,
        kind=kind, claims=made, error_message=f"{trouble}: {message}" if trouble else "",
    ))  # fmt: skip


class Explainer:
    """Explains errors and episodes; where a model is configured, it is asked once per group of alike
    failures.
    """

    def __init__(self, analyzer: LogAnalyzer, store: FailureStore) -> None:
        self.analyzer, self._store = analyzer, store
        self._asked: dict[str, Failure | None] = {}

    def error(self, id: str, experiment_type: str, message: str, logs: str) -> Failure:
        """The failure behind an error message and a log; both are redacted before anybody sees them."""
        no_model = f"no model is configured; set {MODEL_VARIABLE} to use one"
        ruled = LogAnalyzer.by_rules(experiment_type, message, logs, no_model)
        shape = template(message or ruled.root_cause)
        signature = signature_of(experiment_type, ruled.failure_category, shape)
        analysis = ruled
        if self.analyzer.model != NO_MODEL:
            known = self._known(signature)
            analysis = (
                known.analysis if known else self.analyzer.analyze_failure(id, experiment_type, message, logs)
            )
        failure = _redacted(
            Failure(
                signature=signature, template=shape, analysis=analysis, error_message=message, excerpt=logs
            )
        )
        self._asked[signature] = failure
        return failure

    def episode(
        self, episode: Episode, scenario: Scenario | None, trouble: str = "", message: str = ""
    ) -> Failure:
        """The failure of an episode: claims by rules, and a model's claims once per group."""
        failure = explain_episode(episode, scenario, trouble, message)
        if self.analyzer.model == NO_MODEL or self._known(failure.signature):
            return failure
        opinion = second_opinion(self.analyzer, episode, scenario)
        why = failure.analysis.model_copy(
            update={"why_method": f"{failure.analysis.why_method}; {opinion.why}"}
        )
        failure = _redacted(
            failure.model_copy(update={"analysis": why, "claims": (*failure.claims, *opinion.claims)})
        )
        self._asked[failure.signature] = failure
        return failure

    def _known(self, signature: str) -> Failure | None:
        """A failure of this group that a model has been asked about, here or in an earlier capture."""
        if signature not in self._asked:
            page = (
                self._store.experiments(Wanted(signature=signature), limit=SHOWN_OF_GROUP)
                if self._store.path.exists()
                else None
            )
            stored = [row.failure for row in page.rows if row.failure] if page else []
            told = (
                one
                for one in stored
                if one.analysis.method == "llm" or any(c.method == "llm" for c in one.claims)
            )
            self._asked[signature] = next(told, None)
        return self._asked[signature]


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

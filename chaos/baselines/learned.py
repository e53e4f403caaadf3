"""Classifiers of rows, trained on the rows of a split: is this one decisive? The likeliest row is the answer.

`fit` makes one rule of each kind. Word and character n-grams are read by logistic regressions; novelty is
the rarest wording against the training rows; gradient boosting has everything at once. Needs
scikit-learn, the extra `chaos`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chaos.baselines.features import Floats, Rows, rows_of
from chaos.baselines.trivial import Rule, quote
from project_types import ConfigurationError, Level, Report, Scenario

SEED = 0
_HALVES = 2


class Learned(NamedTuple):
    """Rules by name: what words alone give, and what words and complaints give."""

    words: Mapping[str, Rule]
    complaints: Mapping[str, Rule]


class Scores(NamedTuple):
    """How the text classifiers and the counts of one scenario's rows stand."""

    word: Floats
    char: Floats
    novelty: Floats


Score = Callable[[Rows, Scores], Floats]
"""A number for each row; the highest one is the answer."""
BY_WORDS: Mapping[str, Score] = {
    "word n-grams": lambda rows, found: found.word,
    "character n-grams": lambda rows, found: found.char,
    "novelty (rarest wording against train)": lambda rows, found: found.novelty - 0.1 * rows.shown[:, 1],
    "novelty of warnings": lambda rows, found: found.novelty + 99 * (rows.shown[:, 0] >= Level.WARN),
}
BY_COMPLAINTS: Mapping[str, Score] = {
    "complaint counts": lambda rows, found: rows.told[:, 0] + 0.01 * rows.shown[:, 0],
    "complained of and complains least": lambda rows, found: rows.told[:, 4] + 0.01 * rows.shown[:, 0],
    "word n-grams + complaints": lambda rows, found: found.word + 0.3 * rows.told[:, 0],
    "character n-grams + balance of complaints": lambda rows, found: found.char + 0.3 * rows.told[:, 4],
}


class TextModel:
    """Logistic regression over n-grams of the distinct texts, weighted by how often each occurs."""

    def __init__(self, texts: Sequence[str], decisive: Sequence[bool], **ngrams: Any) -> None:
        sklearn = _sklearn()
        counts = Counter(zip(texts, decisive, strict=True))
        kinds = sorted(counts)
        self.vectorizer = sklearn.TfidfVectorizer(sublinear_tf=True, **ngrams)
        matrix = self.vectorizer.fit_transform([text for text, _ in kinds])
        labels = [label for _, label in kinds]
        weights = np.log1p([counts[kind] for kind in kinds])
        self.model = sklearn.LogisticRegression(
            C=10.0, class_weight="balanced", max_iter=200, solver="liblinear"
        )
        self.model.fit(matrix, labels, sample_weight=weights)

    def score(self, texts: Sequence[str]) -> Floats:
        """Higher is likelier."""
        found: Floats = self.model.decision_function(self.vectorizer.transform(list(texts)))
        return found


WORDS: Mapping[str, Any] = {"token_pattern": r"[^\s#]+", "ngram_range": (1, 2)}
CHARACTERS: Mapping[str, Any] = {"analyzer": "char_wb", "ngram_range": (2, 4), "max_features": 60_000}


class Reader:
    """What was learnt from the texts of some scenarios."""

    def __init__(self, known: Sequence[Rows]) -> None:
        texts = [text for rows in known for text in rows.texts]
        decisive = [bool(label) for rows in known for label in rows.decisive]
        self.seen = Counter(texts)
        self.word = TextModel(texts, decisive, **WORDS)
        self.char = TextModel(texts, decisive, **CHARACTERS)
        self._last: tuple[Scenario, Rows, Scores] | None = None

    def scene(self, scenario: Scenario) -> tuple[Rows, Scores]:
        """A scenario's rows and their scores; the last one is remembered, since every rule asks for it."""
        if self._last is None or self._last[0] is not scenario:
            rows = rows_of(scenario)
            self._last = scenario, rows, self.read(rows)
        return self._last[1:]

    def read(self, rows: Rows) -> Scores:
        """Score the rows of a scenario."""
        novelty = np.array([-np.log1p(self.seen[text]) for text in rows.texts])
        return Scores(self.word.score(rows.texts), self.char.score(rows.texts), novelty)


def fit(scenarios: Iterable[Scenario]) -> Learned:
    """Train every kind on the scenarios of a train split.

    Raises:
        ConfigurationError: scikit-learn is missing, or there are too few scenarios to learn from.
    """
    known = [rows_of(scenario) for scenario in scenarios]
    if sum(int(rows.decisive.sum()) for rows in known) < _HALVES * 2:
        raise ConfigurationError(
            "too few decisive rows to learn from; give a train split with --train, or run: python -m chaos ship"
        )
    reader = Reader(known)
    boosted_words, boosted = _boosted(known)

    def rules(kinds: Mapping[str, Score]) -> dict[str, Rule]:
        return {name: _rule(reader, score) for name, score in kinds.items()}

    def by_words(rows: Rows, found: Scores) -> Floats:
        return boosted_words(_table(rows, found, complaints=False))

    def by_all(rows: Rows, found: Scores) -> Floats:
        return boosted(_table(rows, found, complaints=True))

    return Learned(
        rules({**BY_WORDS, "gradient boosting: words, novelty, levels, counts": by_words}),
        rules({**BY_COMPLAINTS, "gradient boosting: all row features": by_all}),
    )


def _rule(reader: Reader, score: Score) -> Rule:
    """Quote the row that scores highest."""

    def rule(scenario: Scenario, rng: random.Random) -> Report:
        return quote(scenario.logs[int(np.argmax(score(*reader.scene(scenario))))])

    return rule


def _table(rows: Rows, found: Scores, *, complaints: bool) -> Floats:
    columns = [*found, *rows.shown.T, *(rows.told.T if complaints else ())]
    return np.column_stack(columns)


def _boosted(known: Sequence[Rows]) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
    """Gradient boosting over row features, without and with complaints.

    Each half of the scenarios is scored by text models of the other half, since a text model knows its own
    training rows by heart.
    """
    halves = [known[half::_HALVES] for half in range(_HALVES)]
    scored: list[tuple[Rows, Scores]] = []
    for half, other in (halves, halves[::-1]):
        reader = Reader(other)
        scored += [(rows, reader.read(rows)) for rows in half]
    labels = np.concatenate([rows.decisive for rows, _ in scored])
    found = []
    for complaints in (False, True):
        table = np.concatenate([_table(rows, scores, complaints=complaints) for rows, scores in scored])
        model = _sklearn().HistGradientBoostingClassifier(max_iter=150, learning_rate=0.08, random_state=SEED)
        with _one_thread():
            found.append(_likelihood(model.fit(table, labels)))
    return found[0], found[1]


def _likelihood(model: Any) -> Callable[[Floats], Floats]:
    def likelihood(table: Floats) -> Floats:
        with _one_thread():
            found: Floats = model.predict_proba(table)[:, 1]
        return found

    return likelihood


def _one_thread() -> Any:
    """Boosting with one thread: many that wait for each other take far longer on a busy machine."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


class _Sklearn(NamedTuple):
    TfidfVectorizer: Any
    LogisticRegression: Any
    HistGradientBoostingClassifier: Any


def _sklearn() -> _Sklearn:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError as trouble:
        raise ConfigurationError(
            "the learned baselines need scikit-learn; run: pip install -e '.[chaos]'"
        ) from trouble
    return _Sklearn(TfidfVectorizer, LogisticRegression, HistGradientBoostingClassifier)

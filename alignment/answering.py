"""Answers to cases: by the bare base model, by adapters of it, and by a rule that quotes a line.

Several adapters answer at once from one base: every request names its own, and none sees the keys and values
of another (`training_service.kv_cache` keeps them by checkpoint). Answers are stored as they come. The
extractive row is what needs no language model: a bag of words, fitted on the training cases, quotes the line it
likes best.

Not here: the files of answers (`stored_answers`), what answers are worth (`scorer`), and the table (`report`).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignment.cases import Asked, ExplainCase
from alignment.scorer import message
from alignment.stored_answers import BASE, EXTRACTIVE, Answer, keep, stored
from project_types import ConfigurationError
from training_service.base_models import Base
from training_service.checkpoints import write_state
from training_service.local_engine import EngineOptions, LocalEngine
from training_service.precision import Precision, choose
from training_service.training import TrainingOptions
from training_service.wire import ChatRequest

# ------------------------------------------------------------------------------------------------ by a model


class Answerer:
    """A base model that answers with the adapters of a registry."""

    def __init__(self, base: Base, adapters: Mapping[str, Path], precision: Precision | None = None) -> None:
        """`adapters` holds the checked folder of each row; the bare base needs none.

        `precision` is the arithmetic of the linear layers; None picks the one that is faster on this machine.
        """
        arithmetic = TrainingOptions(precision=precision or choose("auto", base.device).precision)
        loaded = max(4, len(adapters) + 1)
        self._engine = LocalEngine([base], EngineOptions(loaded_checkpoints=loaded, training=arithmetic))
        self._place = tempfile.TemporaryDirectory(prefix="alignment-")
        bare = Path(self._place.name)
        write_state(bare, base.state())
        self._folders = {BASE: bare, **adapters}

    def serves(self, row: str) -> bool:
        """Whether an adapter is at hand."""
        return row in self._folders

    def rows(self) -> list[str]:
        """Return what can answer."""
        return list(self._folders)

    def add(self, row: str, folder: Path) -> None:
        """Let another adapter answer; its folder was checked."""
        self._folders[row] = folder

    def drop(self, row: str) -> None:
        """Let an adapter answer no more."""
        del self._folders[row]

    async def complete(self, row: str, request: ChatRequest) -> dict[str, Any]:
        """Answer a whole chat request with one adapter."""
        return await self._engine.complete(self._folders[row], request)

    def close(self) -> None:
        """Let go of the engine."""
        self._engine.close()
        self._place.cleanup()

    async def answer(
        self,
        row: str,
        messages: Sequence[Mapping[str, Any]],
        most_tokens: int = 160,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> tuple[str, int]:
        """Return the text of one answer and its tokens."""
        request = ChatRequest.model_validate(
            {
                "model": "m",
                "messages": [dict(message) for message in messages],
                "temperature": temperature,
                "seed": seed,
                "max_completion_tokens": most_tokens,
            }
        )
        reply = await self.complete(row, request)
        choice = reply["choices"][0]
        return str(choice["message"]["content"] or ""), len(choice["token_ids"])

    async def cases(
        self,
        row: str,
        cases: Sequence[Asked],
        folder: Path,
        most_tokens: int = 160,
        temperature: float = 0.0,
    ) -> None:
        """Answer the cases that have no stored answer yet, and store each answer as it comes."""
        done = stored(folder, row)

        async def one(case: Asked, seed: int) -> None:
            text, tokens = await self.answer(row, case.messages(), most_tokens, seed, temperature)
            keep(folder, [Answer(case=case.id, row=row, text=text, tokens=tokens)])

        await asyncio.gather(*(one(case, seed) for seed, case in enumerate(cases) if case.id not in done))


# ------------------------------------------------------------------------------------------------ by a rule


def extractive(train: Sequence[ExplainCase], asked: Mapping[str, Sequence[str]]) -> list[Answer]:
    """Quote, for each log in `asked` (by name, its lines), the line that a bag of words
    fitted on `train` likes best.

    Raises ConfigurationError when scikit-learn is missing.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError as missing:
        raise ConfigurationError(
            "the extractive row needs scikit-learn; run: pip install -e '.[chaos]'"
        ) from missing
    learnt = [
        (message(line), place == case.truth.cause_line)
        for case in train
        for place, line in enumerate(case.log)
    ]
    model = make_pipeline(TfidfVectorizer(token_pattern=r"[A-Za-z]{2,}"), LogisticRegression(max_iter=300))
    model.fit([line for line, _ in learnt], [label for _, label in learnt])
    found = []
    for name, lines in asked.items():
        best = lines[int(model.predict_proba(lines)[:, 1].argmax())]
        text = f'Root cause: {best}.\nEvidence: "{best}"'
        found.append(Answer(case=name, row=EXTRACTIVE, text=text))
    return found

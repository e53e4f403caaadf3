"""The command behind `python -m graph_rca encoder`: train the encoder of log lines,
and write it with its card.

It learns from templates of scenarios and of plain text files of public logs, each template once. A twentieth
of them is kept back and says how well masked words are guessed. A killed run goes on. Networks that learnt
with an older encoder refuse the new one, so train those again too.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

from core.episode_store.scenarios import scenario_paths, split_folder
from core.files import replace_file, sha256_of
from core.log_stores.masks import masked
from core.revision import revision
from graph_rca.encoder_training import Epoch, Plan, Shape, Training, tokenizer_of, train, write
from graph_rca.logs import names_of
from project_types import ConfigurationError, read_scenario

KEPT = 20
"""One of so many templates is kept back."""
_LEAST = 200


def command(arguments: argparse.Namespace) -> int:
    """Train and write. Returns 0."""
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    sources = {
        "scenarios": of_scenarios(scenario_paths(split_folder(arguments.scenarios), arguments.limit)),
        "text": of_texts(arguments.text),
    }
    texts = sorted(set().union(*sources.values()))
    if len(texts) < _LEAST:
        raise ConfigurationError(
            f"{len(texts)} different templates are too few, {_LEAST} are the least; give more"
        )
    random.Random(arguments.seed).shuffle(texts)
    print(f"{len(texts)} templates, {len(texts) // KEPT} of them kept back", flush=True)
    shape, plan = Shape(), Plan(arguments.epochs, seed=arguments.seed)
    tokenizer = tokenizer_of(texts, shape)
    shape = shape._replace(vocabulary=tokenizer.get_vocab_size())
    ids = [one.ids for one in tokenizer.encode_batch(texts)]
    state, started = out / "training.state", time.process_time()
    done = train(ids[len(ids) // KEPT :], ids[: len(ids) // KEPT], shape, plan, resume=state, tell=_tell)
    seconds = time.process_time() - started
    write(out, done.model, tokenizer)
    _card(out, done, {name: len(found) for name, found in sources.items()}, seconds)
    state.unlink(missing_ok=True)
    return 0


def of_scenarios(paths: Sequence[Path]) -> set[str]:
    """Return the templates of all lines, with the names of services blanked."""
    found: set[str] = set()
    for path in paths:
        incident = read_scenario(path).incident
        names = names_of(tuple(incident.services))
        found |= {masked(names.blanked(row.message[:2000])) for row in incident.logs}
    return found


def of_texts(paths: Sequence[Path]) -> set[str]:
    """Return the templates of the lines of text files. Raises OSError."""
    lines = [
        line for path in paths for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    return {masked(line[:2000]) for line in lines if line.strip()}


def _tell(one: Epoch) -> None:
    print(
        f"epoch {one.number}: loss {one.train_loss:.3f}, kept back {one.kept_loss:.3f}, "
        f"{100 * one.kept_right:.1f} % of masked tokens guessed", flush=True,
    )  # fmt: skip


def _card(out: Path, done: Training, sources: dict[str, int], seconds: float) -> None:
    weights = out / "model.safetensors"
    card = {
        "about": "Guesses masked words of log templates; the mean of its last layer is a line's vector.",
        "templates": sources, "plan": done.plan._asdict(), "epochs": [one._asdict() for one in done.epochs],
        "processor_seconds": round(seconds, 1), "revision": revision(), "sha256": sha256_of(weights),
    }  # fmt: skip
    replace_file(out / "card.json", f"{json.dumps(card, indent=1)}\n".encode())
    print(f"{out}: {weights.stat().st_size / 1e6:.2f} MB")

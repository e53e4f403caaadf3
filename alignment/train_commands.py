"""The commands that train: `sft`, `dpo`, `reward`. Each is resumed by typing it again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from tqdm import tqdm

from alignment.answers import right
from alignment.cases import ExplainCase, read_cases
from alignment.learning import Learning, digest, last_part
from alignment.measurements import keep
from alignment.preferences import Preference, read
from alignment.reward_model import judge, table
from core.conversation import tool_schemas
from core.episode_store.episodes import read_episodes
from core.episode_store.runs import run_of
from core.files import replace_file
from log_search_tools import tool_types
from project_types import ConfigurationError, Tool
from training_service.examples import TokenPair, demonstration, pair
from training_service.fitting import Objective
from training_service.heads import Rank
from training_service.measure import measured
from training_service.objectives import Imitate, Prefer, Referred, referred


def command(arguments: argparse.Namespace) -> int:
    """Run one of the commands."""
    return COMMANDS[arguments.command](arguments)


# ------------------------------------------------------------------------------------------------------- sft


def _sft(arguments: argparse.Namespace) -> int:
    if arguments.episodes:
        rows = _limited(demonstrations(arguments.episodes, arguments.least_reward), arguments.limit)
    else:
        rows = _right_answers(arguments)
    learning = Learning(arguments, "sft")
    sequences = [demonstration(learning.base.chat, row) for row in rows]
    objective = Imitate(learning.base.device, learning.precision)
    return _learnt(learning, objective, sequences, rows)


def _right_answers(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    cases = _limited(list(read_cases(arguments.cases / "train.jsonl")), arguments.limit)
    return [_demonstrated(case) for case in cases]


def _demonstrated(case: ExplainCase) -> dict[str, Any]:
    return {"messages": [*case.messages(), {"role": "assistant", "content": right(case)}]}


def demonstrations(file: Path, least_reward: float) -> list[dict[str, Any]]:
    """Return the conversations of the episodes that were worth enough, with the tools they were offered.

    Of a tool's schema nothing depends on its store. An incident without metrics was offered one tool less.
    Raises ConfigurationError when no episode was worth enough, EpisodesError when its rules cannot be read.
    """
    offered = tool_schemas(cast(Sequence[Tool], tool_types(run_of(file).rules)))
    rows: list[dict[str, Any]] = [
        {"messages": list(episode.messages), "tools": offered}
        for episode in read_episodes(file)
        if (episode.reward or 0.0) >= least_reward
    ]
    if not rows:
        raise ConfigurationError(f"{file}: no episode has a reward of {least_reward}; lower --least-reward")
    return rows


# ------------------------------------------------------------------------------------------------------- dpo


def _dpo(arguments: argparse.Namespace) -> int:
    preferences = _decided(arguments, "train", arguments.limit)
    learning = Learning(arguments, "dpo")
    pairs = [pair(learning.base.chat, one.row()) for one in preferences]
    objective = Prefer(
        learning.base.device,
        learning.precision,
        arguments.beta,
        arguments.ld_alpha,
        arguments.per_token,
        arguments.imitation,
    )
    rows = [one.row() for one in preferences]
    if arguments.dry_run:
        tokens = sum(len(one.chosen.tokens) + one.rejected.sampled_count for one in pairs)
        return _said_how_long(learning, tokens, read=tokens)  # the reference reads every pair once
    return _learnt(learning, objective, _with_reference(learning, pairs, digest(rows)), rows)


def _with_reference(learning: Learning, pairs: Sequence[TokenPair], data: str) -> list[Referred]:
    """Note what the start adapter says of each pair, or read what an earlier run noted."""
    learning.check(data)
    path = learning.reference([one for pair in pairs for one in (pair.chosen, pair.rejected)])
    if path.exists():
        kept = json.loads(path.read_bytes())
        return [
            Referred(one, tuple(c), tuple(r))
            for one, c, r in zip(pairs, kept["chosen"], kept["rejected"], strict=True)
        ]
    with tqdm(total=len(pairs), unit="pair", desc="reference", mininterval=5) as bar:
        found = referred(learning.model, pairs, learning.base.device, learning.precision, noted=bar.update)
    path.parent.mkdir(parents=True, exist_ok=True)
    noted = {"chosen": [one.chosen for one in found], "rejected": [one.rejected for one in found]}
    replace_file(path, json.dumps(noted).encode())
    return found


# ---------------------------------------------------------------------------------------------------- reward


def _reward(arguments: argparse.Namespace) -> int:
    preferences = _decided(arguments, "train", arguments.limit)
    learning = Learning(arguments, "reward")
    pairs = [pair(learning.base.chat, one.row()) for one in preferences]
    status = _learnt(learning, Rank(learning.precision), pairs, [one.row() for one in preferences])
    if status or arguments.dry_run or learning.scalar is None:
        return status
    held_out = {split: _decided(arguments, split, arguments.held_out) for split in ("seen", "unseen")}
    verdict = judge(learning.scalar, learning.base.chat, held_out, learning.precision)
    keep(learning.registry, learning.registry.card(arguments.name).full_name, verdict)
    print(table(verdict))
    return int(bool(verdict.refusals))


def _decided(arguments: argparse.Namespace, split: str, most: int | None) -> list[Preference]:
    found = [one for one in read(arguments.pairs) if one.decided and one.split == split]
    if not found:
        raise ConfigurationError(
            f"{arguments.pairs}: no decided pair in split {split}; run python -m alignment pairs"
        )
    return _limited(found, most)


# --------------------------------------------------------------------------------------------- what is common


def _learnt(learning: Learning, objective: Objective[Any], items: Sequence[Any], rows: Sequence[Any]) -> int:
    """Train, register the adapter, and say its name."""
    if learning.arguments.dry_run:
        return _said_how_long(learning, sum(map(objective.size, items)))
    data = digest(rows)
    history = learning.run(objective, items, data)
    card = learning.register(last_part(history), data)
    print(
        f"{card.full_name}: loss {history[0]['loss']:.3f} -> {card.metrics['loss']:.3f}, in {learning.registry.folder}"
    )
    return 0


def _said_how_long(learning: Learning, tokens: int, read: int = 0) -> int:
    """Say how long the tokens of an epoch take, and those that are only read once, from a measured second."""
    speed = measured(learning.base, learning.precision)
    minutes = (learning.arguments.epochs * tokens / speed.training + read / speed.reading) / 60
    print(f"{tokens} tokens an epoch, {speed.training:.0f} a second here: about {minutes:.0f} minutes")
    return 0


def _limited(rows: list[Any], limit: int | None) -> list[Any]:
    return rows if limit is None else rows[:limit]


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"sft": _sft, "dpo": _dpo, "reward": _reward}

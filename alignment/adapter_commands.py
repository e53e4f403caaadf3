"""The commands about finished adapters: `adapters` and `gate`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import httpx

from alignment.adapters import Registry, difference
from alignment.cases import ExplainCase, read_cases
from alignment.gates import gates, probes
from alignment.measurements import Gated, gated, keep
from alignment.overview import shown
from alignment.report import Row, row
from alignment.stored_answers import stored
from project_types import ConfigurationError

SPLITS = ("seen", "unseen")


def command(arguments: argparse.Namespace) -> int:
    """Run one of the commands."""
    if arguments.command == "gate":
        return _gate(arguments)
    return ACTIONS[arguments.action](Registry(arguments.adapters), arguments)


# ----------------------------------------------------------------------------------------------------- gate


def _gate(arguments: argparse.Namespace) -> int:
    registry = Registry(arguments.adapters)
    card = registry.card(arguments.adapter)
    cases = probed(arguments.cases)
    candidate = answered(arguments.answers, card.full_name, cases)
    against = answered(arguments.answers, arguments.against, cases) if arguments.against else None
    found = gates(candidate, cases, against)
    for one in found:
        print(one.line())
    passed = all(one.passed for one in found)
    keep(registry, card.full_name, Gated(against=arguments.against or "", gates=tuple(found)))
    print(f"{card.full_name} " + ("may be promoted" if passed else "may not be promoted"))
    return int(not passed)


def probed(folder: Path) -> list[ExplainCase]:
    """Return the held-out cases, and those with an instruction in their log."""
    cases = [case for split in SPLITS for case in read_cases(folder / f"{split}.jsonl")]
    return [*cases, *probes(cases)]


def answered(folder: Path, name: str, cases: list[ExplainCase]) -> Row:
    """Return what a row answered. Raises ConfigurationError when it has answered nothing."""
    texts = {case: answer.text for case, answer in stored(folder, name).items()}
    found = row(name, cases, texts)
    if not found.found:
        raise ConfigurationError(
            f"{name} has answered no case yet; run: python -m alignment evaluate --rows {name}"
        )
    return found


# -------------------------------------------------------------------------------------------------- registry


def _list(registry: Registry, arguments: argparse.Namespace) -> int:
    cards = registry.cards()
    if arguments.json:
        print(json.dumps([card.model_dump(mode="json") for card in cards], indent=1))
        return 0
    for one in shown(registry):
        card, mark = one.card, "  production" if one.production else ""
        print(
            f"{card.full_name:<24}{card.kind:<8}{card.base_model:<14}from {card.start or 'the base':<16}{one.state}{mark}"
        )
    if not cards:
        print(f"{registry.folder} has no adapters; make one: python -m alignment sft --name warm")
    return 0


def _show(registry: Registry, arguments: argparse.Namespace) -> int:
    card = registry.card(_one(arguments))
    print(card.model_dump_json(indent=1))
    measured = gated(registry).get(card.full_name)
    print("\n".join(gate.line() for gate in measured.gates) if measured else "not gated")
    return 0


def _promote(registry: Registry, arguments: argparse.Namespace) -> int:
    card = registry.card(_one(arguments))
    gate = gated(registry).get(card.full_name)
    if gate is None or not gate.passed:
        why = "has not passed its gates" if gate else "was never gated"
        raise ConfigurationError(f"{card.full_name} {why}; run: python -m alignment gate {card.full_name}")
    registry.checked(card.full_name, card.base_sha256)
    registry.promote(card.full_name, arguments.by)
    print(f"production is {card.full_name}")
    return 0


def _rollback(registry: Registry, arguments: argparse.Namespace) -> int:
    print(f"production is {registry.rollback(arguments.by)}")
    return 0


def _diff(registry: Registry, arguments: argparse.Namespace) -> int:
    if len(arguments.names) != 2:
        raise ConfigurationError("diff takes two adapters, e.g. diff warm@v1 judged@v1")
    one, other = (registry.card(name) for name in arguments.names)
    print("\n".join(difference(one, other)))
    return 0


def _remove(registry: Registry, arguments: argparse.Namespace) -> int:
    print(f"{registry.remove(_one(arguments), arguments.by).full_name} is gone")
    return 0


def _log(registry: Registry, arguments: argparse.Namespace) -> int:
    for entry in registry.log():
        print(
            f"{entry['at']}  {entry['by']:<12}{entry['action']:<10}{entry['from'] or '-'} -> {entry['to'] or '-'}"
        )
    return 0


def _merge(registry: Registry, arguments: argparse.Namespace) -> int:
    from alignment.merging import merge  # it loads torch, which the other actions do without

    if arguments.out is None:
        raise ConfigurationError("merge needs --out, the folder of the new base model")
    made = merge(registry, _one(arguments), arguments.out, arguments.base_model)
    print(f"{made} is a base model; train it with --base-model {made}")
    return 0


def _push(registry: Registry, arguments: argparse.Namespace) -> int:
    """Let a server load an adapter under its immutable name, so that it can never answer
    with another one's cache.
    """
    card = registry.card(_one(arguments))
    folder = registry.checked(card.full_name, card.base_sha256).resolve()
    _tell(arguments, "load_lora_adapter", {"lora_name": card.full_name, "lora_path": str(folder)})
    print(f"{arguments.url} serves {card.full_name}")
    return 0


def _withdraw(registry: Registry, arguments: argparse.Namespace) -> int:
    card = registry.card(_one(arguments))
    _tell(arguments, "unload_lora_adapter", {"lora_name": card.full_name})
    print(f"{arguments.url} no longer serves {card.full_name}")
    return 0


def _tell(arguments: argparse.Namespace, what: str, body: dict[str, str]) -> None:
    """Raises ConfigurationError with what the server said."""
    if not arguments.url:
        raise ConfigurationError(f"{arguments.action} needs --url, the address of the server")
    headers = {"Authorization": f"Bearer {arguments.token}"}
    try:
        reply = httpx.post(f"{arguments.url.rstrip('/')}/v1/{what}", json=body, headers=headers, timeout=60.0)
    except (httpx.HTTPError, httpx.InvalidURL) as trouble:
        raise ConfigurationError(
            f"{arguments.url}: no server answers ({trouble!r}); check --url"
        ) from trouble
    if reply.status_code != 200:
        raise ConfigurationError(f"{arguments.url}: HTTP {reply.status_code}: {reply.text[:300]}")


def _one(arguments: argparse.Namespace) -> str:
    if len(arguments.names) != 1:
        raise ConfigurationError(f"{arguments.action} takes one adapter, e.g. {arguments.action} warm@v1")
    return str(arguments.names[0])


ACTIONS: dict[str, Callable[[Registry, argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "promote": _promote,
    "rollback": _rollback,
    "diff": _diff,
    "remove": _remove,
    "log": _log,
    "push": _push,
    "withdraw": _withdraw,
    "merge": _merge,
}

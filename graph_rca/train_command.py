"""The command behind `python -m graph_rca train`: networks of each kind, their curves, and
a page that compares them.

Each network has files of its own in the run: its state after each epoch while it trains, its weights and card
after. A killed run goes on. A run that learnt from other incidents is refused, so that no old network passes
for a new one. What is shipped is decided by `report`, not here.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from core.command_line import refuse
from core.episode_store.scenarios import PREFIX
from core.files import replace_file, sha256_of
from core.revision import revision
from graph_rca.better import HELD_OUT, compared, fresh, is_better, split, told
from graph_rca.dataset import Labelled, load
from graph_rca.encode_command import chosen, read_labelled
from graph_rca.encoders import NONE
from graph_rca.model import Kind, Settings
from graph_rca.rank_command import chosen_weights
from graph_rca.train import Epoch, Plan, Trained, train
from graph_rca.weights import Ensemble, Member, load_ensemble, save_ensemble
from project_types import ConfigurationError

ABLATIONS: Sequence[Mapping[str, object]] = (
    {}, {"without": "metrics"}, {"without": "logs"}, {"without": "traces"},
    {"kinds": "own"},  # no graph
    {"no_attention": True},
    {"no_edges": True},  # a static graph: who calls whom, and nothing of how the calls go
)  # fmt: skip
"""What is changed of the graph attention network, in the order in which they are trained."""
PROJECTED = 16
"""Numbers that a sentence vector becomes before a network reads it."""
_MADE_BY = ("revision", "encoded", "incidents", "plan", "best_epoch", "seconds")
"""Of the card of each network, what the card of all tells."""
FRESH_SEED = 77
"""Of the incidents that old and new are compared on; no split uses it."""


def command(arguments: argparse.Namespace) -> int:
    """Train. Returns 0."""
    kinds = arguments.kinds.split(",")
    if unknown := set(kinds) - set(get_args(Kind)):
        refuse(
            arguments.prog, f"--kinds: {', '.join(sorted(unknown))}: known are {', '.join(get_args(Kind))}"
        )
    items, val, kept = _read(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(f"{len(items)} incidents to learn from, {len(val)} to stop by")
    for one in variations(arguments):
        for kind in one.kinds.split(","):
            for seed in range(one.seeds):
                _train_one(one, kind, seed, items, val)
    _page(arguments.out)
    if not arguments.ablations:
        together(arguments.out)
    if arguments.findings:
        _compare(arguments, kept)
    return 0


def variations(arguments: argparse.Namespace) -> list[argparse.Namespace]:
    """Return what is trained in turn: what was asked for, or with --ablations each
    change of the graph network.
    """
    if not arguments.ablations:
        return [arguments]
    usual = {**vars(arguments), "kinds": "gat", "without": None, "no_attention": False, "no_edges": False}
    return [argparse.Namespace(**{**usual, **change}) for change in ABLATIONS]


def _read(arguments: argparse.Namespace) -> tuple[list[Labelled], list[Labelled], list[Labelled]]:
    """Return what is learnt from, what says when to stop, and findings that are kept back."""
    encoders = chosen(arguments.encoder)
    if len(encoders) > 1:
        refuse(arguments.prog, "--encoder: a network reads one encoder; name one")
    items = [one for path in arguments.encoded for one in load(path)]
    val = [one for path in arguments.val for one in load(path)]
    if not arguments.findings:
        return items, val, []
    # those kept back are also ranked by the weights in use
    both = {*encoders, *chosen_weights(arguments).encoders}
    learnt, kept = split(confirmed(arguments.findings, both))
    return items + learnt, val, kept


def together(folder: Path) -> Path:
    """Write the networks of a run as one file, which ranks by the mean of their
    probabilities. Returns the file.
    """
    parts = [load_ensemble(path) for path in sorted(folder.glob("*-[0-9]*.safetensors"))]
    facts = {
        "about": "Mean of the networks of this run. Trained on generated incidents only, unless --from named others.",
        "revision": revision(), "made_by": [_made_by(part) for part in parts],
    }  # fmt: skip
    path = folder / "together.safetensors"
    save_ensemble(list(chain.from_iterable(part.members for part in parts)), path, facts)
    return path


def _made_by(part: Ensemble) -> dict[str, Any]:
    return {name: part.card[name] for name in _MADE_BY}


def _compare(arguments: argparse.Namespace, kept: Sequence[Labelled]) -> None:
    """Say whether the networks of the run together are better than the weights in use."""
    candidate = arguments.out / "together.safetensors"
    old, new = chosen_weights(arguments), load_ensemble(candidate)
    print(f"comparing on {arguments.check} fresh incidents and {len(kept)} findings kept back", flush=True)
    if not kept:
        print(
            f"no finding is kept back of fewer than {HELD_OUT}: confirm more, so that they are compared too"
        )
    sets = {
        "fresh generated": fresh(arguments.check, FRESH_SEED, old.encoders | new.encoders),
        "findings kept back": kept,
    }
    found = [compared(name, chosen, old, new) for name, chosen in sets.items() if chosen]
    lines = told(found)
    replace_file(arguments.out / "better.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))
    if is_better(found):
        print(f"to use it: python -m graph_rca rank INCIDENT --weights {candidate}")


def confirmed(folder: Path, encoders: Collection[str]) -> list[Labelled]:
    """Return confirmed findings as labelled graphs. Raises ConfigurationError for a folder without any."""
    found = [one for path in _findings_in(folder) if (one := read_labelled(path, encoders=encoders))]
    if not found:
        raise ConfigurationError(
            f"{folder}: no confirmed finding to learn from; confirm some: python -m graph_rca confirm --help"
        )
    return found


def _findings_in(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*.json"))


def _train_one(
    arguments: argparse.Namespace, kind: Kind, seed: int, items: Sequence[Labelled], val: Sequence[Labelled]
) -> None:
    name = _name_of(arguments, kind, seed)
    weights = arguments.out / f"{name}.safetensors"
    plan = Plan(arguments.epochs, arguments.patience, seed=seed)
    asked = _asked(arguments, plan, len(items))
    if weights.exists():
        _check_same(weights, asked)
        print(f"{name}: is there already")
        return
    settings = Settings(kind, attention=not arguments.no_attention, edges=not arguments.no_edges,
                        without=arguments.without or "")  # fmt: skip
    if arguments.encoder != NONE:
        settings = settings._replace(encoder=arguments.encoder, vectors=PROJECTED)
    state, started = arguments.out / f"{name}.state", time.monotonic()
    done = train(
        items, val, settings, plan, resume=state, tell=lambda one: print(_told(name, one), flush=True)
    )
    seconds = time.monotonic() - started
    save_ensemble([Member(done.model, done.projection)], weights, asked | _facts(done, seconds))
    state.unlink(missing_ok=True)


def _name_of(arguments: argparse.Namespace, kind: Kind, seed: int) -> str:
    parts = [f"{kind}-{seed}"]
    parts += ["no-attention"] if arguments.no_attention else []
    parts += ["no-edges"] if arguments.no_edges else []
    parts += [arguments.encoder] if arguments.encoder != NONE else []
    parts += [f"no-{arguments.without}"] if arguments.without else []
    return "-".join(parts)


def _asked(arguments: argparse.Namespace, plan: Plan, count: int) -> dict[str, object]:
    """Return what a network is to learn from, and how."""
    files = [*arguments.encoded, *arguments.val]
    files += _findings_in(arguments.findings) if arguments.findings else []
    hashes = {path.name: sha256_of(path) for path in files}
    return {"plan": plan._asdict(), "incidents": count, "encoded": hashes}


def _check_same(weights: Path, asked: Mapping[str, object]) -> None:
    card = load_ensemble(weights).card
    if other := [name for name, value in asked.items() if card.get(name) != value]:
        raise ConfigurationError(
            f"{weights}: was trained otherwise ({', '.join(other)} differ); give another --out, or delete the old run"
        )


def _told(name: str, epoch: Epoch) -> str:
    return (
        f"{name} epoch {epoch.number}: loss {epoch.train_loss:.3f}, val {epoch.val_loss:.3f}, "
        f"first {100 * epoch.val_first:.1f} %, {epoch.seconds:.1f} s"
    )


def _facts(done: Trained, seconds: float) -> dict[str, object]:
    best = min(done.epochs, key=lambda one: one.val_loss)
    return {
        "revision": revision(), "seconds": round(seconds, 1), "best_epoch": best._asdict(),
        "epochs": [one._asdict() for one in done.epochs],
    }  # fmt: skip


def _page(folder: Path) -> None:
    """Write report.md: what each network reached on val, and how long it took."""
    lines = [
        "| network | parameters' file | epochs | best val loss | val AC@1 | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("*-[0-9]*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        best = card["best_epoch"]
        size = path.with_suffix(".safetensors").stat().st_size / 1e6
        lines.append(
            f"| {path.stem} | {size:.2f} MB | {len(card['epochs'])} | {best['val_loss']:.3f} | "
            f"{100 * best['val_first']:.1f} % | {card['seconds']:.0f} |"
        )
    replace_file(folder / "report.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))

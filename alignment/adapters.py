"""The registry of adapters: immutable `NAME@vN` folders, an alias `production`, and who moved it.

    ADAPTERS/NAME/v3/card.json   what it was made from, its metrics, and the hash of every file
    ADAPTERS/NAME/v3/...         the adapter, readable by peft and vLLM, and state.json
    ADAPTERS/aliases.json        production -> NAME@v3
    ADAPTERS/log.jsonl           every promotion, rollback and removal

A version appears whole or not at all and never changes. Its hashes are checked whenever it is loaded: peft
loads an adapter on any base of the same shape, and with a flipped byte. A rollback only moves the alias, so
it gives back the very same bytes. One process writes at a time.

Not here: whether an adapter may be promoted (`gates`), and loading it (`training_service.base_models`).
"""

from __future__ import annotations

import getpass
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from core.episode_store.lines import append, read_lines
from core.files import held, replace_file, sha256_of
from project_types import ConfigurationError, Frozen

CARD, ALIASES, LOG = "card.json", "aliases.json", "log.jsonl"
PRODUCTION = "production"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
VERSIONED = re.compile(rf"(?P<name>{NAME.pattern})@v(?P<version>[1-9][0-9]{{0,5}})")


class Card(Frozen):
    """What is known of an adapter."""

    name: str
    version: int
    base_model: str
    base_sha256: str
    """Of weights and tokenizer, as `training_service.base_models.fingerprint` has it."""
    kind: str
    """sft, dpo, reward, ppo, grpo."""
    start: str = ""
    """The adapter it was trained from; empty for the bare base."""
    data_sha256: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    made_at: datetime
    files: dict[str, str]
    """SHA-256 of every file beside the card."""

    @property
    def full_name(self) -> str:
        return f"{self.name}@v{self.version}"


class Registry:
    """The adapters of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # ------------------------------------------------------------------------------------------------ reading

    def cards(self) -> list[Card]:
        """Return the card of every version, by name and version."""
        found = [_card(path) for path in self.folder.glob(f"*/v*/{CARD}")]
        return sorted(found, key=lambda card: (card.name, card.version))

    def card(self, name: str) -> Card:
        """Return the card of NAME@vN, of the newest version of NAME, or of what an alias stands for.

        Raises ConfigurationError that says what there is.
        """
        resolved = self.aliases().get(name, name)
        given = VERSIONED.fullmatch(resolved)
        if given is None:
            versions = [card for card in self.cards() if card.name == resolved]
            if versions:
                return versions[-1]
        elif (path := self._place(given["name"], int(given["version"])) / CARD).exists():
            return _card(path)
        known = ", ".join(card.full_name for card in self.cards()) or "none yet"
        raise ConfigurationError(f"{self.folder} has no adapter {name!r}; it has: {known}")

    def checked(self, name: str, base_sha256: str) -> Path:
        """Return the folder of an adapter once every hash is right.

        Raises ConfigurationError when a file was changed, or when it was made for another base.
        """
        card = self.card(name)
        place = self._place(card.name, card.version)
        if card.base_sha256 != base_sha256:
            raise ConfigurationError(
                f"{card.full_name} was trained on other weights than this {card.base_model!r} "
                f"(sha256 {card.base_sha256[:12]}, here {base_sha256[:12]}); load the base it was made for"
            )
        names = {path.name for path in place.iterdir()} - {CARD}
        for file in sorted(names | card.files.keys()):
            if file not in names or card.files.get(file) != sha256_of(place / file):
                raise ConfigurationError(
                    f"{card.full_name}: {file} is not what was registered; remove this version and use another one"
                )
        return place

    def aliases(self) -> dict[str, str]:
        """Return what each alias stands for."""
        path = self.folder / ALIASES
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return found

    def log(self) -> list[dict[str, str]]:
        """Return promotions, rollbacks and removals, oldest first."""
        path = self.folder / LOG
        lines = read_lines(path) if path.exists() else ()
        return [json.loads(line.content or b"") for line in lines if line.whole]

    # ------------------------------------------------------------------------------------------------ writing

    def add(self, source: Path, name: str, facts: Mapping[str, Any]) -> Card:
        """Copy a trained folder in as the next version of `name` and return its card.

        Raises ConfigurationError for a name that cannot be used.
        """
        if not NAME.fullmatch(name) or name == PRODUCTION:
            raise ConfigurationError(
                f"adapter name {name!r}: use lower case letters, digits, '.', '_' and '-', and not 'production'"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._writing():
            version = max(self._versions(name), default=0) + 1
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".new-") as aside:
                fresh = Path(aside) / "version"
                shutil.copytree(source, fresh)
                files = {path.name: sha256_of(path) for path in sorted(fresh.iterdir())}
                card = Card(name=name, version=version, made_at=_now(), files=files, **facts)
                (fresh / CARD).write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
                place = self._place(name, version)
                place.parent.mkdir(exist_ok=True)
                fresh.rename(place)
        return card

    def promote(self, name: str, by: str = "") -> Card:
        """Let `production` stand for a version."""
        card = self.card(name)
        with self._writing():
            self._point(card.full_name, "promote", by)
        return card

    def rollback(self, by: str = "") -> str:
        """Let `production` stand for what it stood for before. Raises
        ConfigurationError when there is none.
        """
        with self._writing():
            history = [row["to"] for row in self.log() if row["action"] == "promote"]
            current = self.aliases().get(PRODUCTION, "")
            place = history.index(current) if current in history else 0
            earlier = [one for one in history[:place] if self._exists(one)]
            if not earlier:
                raise ConfigurationError("production has no earlier version to go back to; promote one")
            self._point(earlier[-1], "rollback", by)
        return earlier[-1]

    def remove(self, name: str, by: str = "") -> Card:
        """Delete a version. Raises ConfigurationError for the one in production."""
        card = self.card(name)
        if card.full_name in self.aliases().values():
            raise ConfigurationError(f"{card.full_name} is in production; promote another one first")
        with self._writing():
            grave = Path(tempfile.mkdtemp(dir=self.folder, prefix=".gone-"))
            self._place(card.name, card.version).rename(grave / "version")
            shutil.rmtree(grave)
            self._note("remove", card.full_name, "", by)
        return card

    def _point(self, to: str, action: str, by: str) -> None:
        before = self.aliases().get(PRODUCTION, "")
        replace_file(self.folder / ALIASES, json.dumps({PRODUCTION: to}).encode())
        self._note(action, before, to, by)

    def _note(self, action: str, before: str, to: str, by: str) -> None:
        row = {
            "at": _now().isoformat(),
            "action": action,
            "from": before,
            "to": to,
            "by": by or getpass.getuser(),
        }
        with append(self.folder / LOG) as add:
            add(json.dumps(row))

    def _versions(self, name: str) -> Iterator[int]:
        """Yield the versions there are, and those that were removed: a number never means two adapters."""
        yield from (card.version for card in self.cards() if card.name == name)
        for row in self.log():
            given = VERSIONED.fullmatch(row["from"]) if row["action"] == "remove" else None
            if given is not None and given["name"] == name:
                yield int(given["version"])

    def _exists(self, full_name: str) -> bool:
        given = VERSIONED.fullmatch(full_name)
        return given is not None and self._place(given["name"], int(given["version"])).is_dir()

    def _place(self, name: str, version: int) -> Path:
        return self.folder / name / f"v{version}"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with held(self.folder / ".lock"):
                yield
        except BlockingIOError as trouble:
            raise ConfigurationError(
                f"{self.folder}: another process changes it just now; try again"
            ) from trouble


def difference(one: Card, other: Card) -> list[str]:
    """Return what differs between two cards, a line each."""
    first, second = one.model_dump(mode="json"), other.model_dump(mode="json")
    lines = []
    for key in first:
        if isinstance(first[key], dict):
            keys = sorted(first[key].keys() | second[key].keys())
            lines += [
                f"{key}.{name}: {first[key].get(name)} -> {second[key].get(name)}"
                for name in keys
                if first[key].get(name) != second[key].get(name)
            ]
        elif first[key] != second[key]:
            lines.append(f"{key}: {first[key]} -> {second[key]}")
    return lines


def _card(path: Path) -> Card:
    return Card.model_validate_json(path.read_text(encoding="utf-8"))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)

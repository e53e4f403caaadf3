"""The command behind `python -m evaluation audit`: whether what is stored is what was scored and trained on.

Each trajectory is held against itself. Its reward is computed again from its Outcome. Where token ids are
stored, each turn's prompt must begin with all ids of the turns before: only then is the conversation one
training sequence, in which the policy's ids are trained on and the others are masked. The digest of the ids
tells whether two stores hold the same trajectory.

Not here: another judge's verdict (`rescoring`), and the loss.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from core.command_line import printable
from core.episode_store.loading import load_run
from core.episode_store.tokens import EpisodeTokens, read_tokens
from core.tables import aligned
from project_types import Ending, Episode
from rewards import reward

TRUNCATED = {Ending.OUT_OF_CONTEXT, Ending.OUT_OF_TURNS}
SHOWN = 20


class TokenAudit(NamedTuple):
    """What the stored ids of an episode say."""

    sequences: int
    """Training sequences it becomes: one, and one more for each prompt that rewrites earlier ids."""
    trained: int
    """Ids that the policy wrote."""
    masked: int
    """The others: prompts and what the tools showed."""
    digest: str


class Audited(NamedTuple):
    """One trajectory held against itself."""

    scenario_id: str
    sample: int
    ending: Ending
    reward: float | None
    recomputed: float | None
    """None where nothing was scored, or nothing can be: a provider that failed."""
    tokens: TokenAudit | None
    """None where the provider gave no ids."""

    @property
    def troubles(self) -> list[str]:
        """What does not hold, in words."""
        found = []
        if self.reward is not None and self.reward != self.recomputed:
            found.append(f"reward {self.reward} is stored, its outcome is worth {self.recomputed}")
        if self.tokens and self.tokens.sequences > 1:
            found.append(f"{self.tokens.sequences - 1} prompts rewrite ids of earlier turns")
        return found


def command(arguments: argparse.Namespace) -> int:
    """Audit a run and tell. Returns 1 when something does not hold."""
    loaded = load_run(arguments.run, split=arguments.split, sampling=arguments.sampling)
    for warning in loaded.warnings():
        print(printable(f"note: {warning}"), file=sys.stderr)
    ids = read_tokens(loaded.file.path)
    rows = [audited(each, ids.get((each.scenario_id, each.sample))) for each in loaded.episodes]
    print(json.dumps([_plain(row) for row in rows], indent=1) if arguments.json else _told(rows))
    return int(any(row.troubles for row in rows))


def audited(episode: Episode, ids: EpisodeTokens | None) -> Audited:
    """Hold an episode against itself and its stored ids."""
    outcome = episode.outcome
    scored = episode.reward is not None and outcome.ending is not Ending.PROVIDER_ERROR
    return Audited(
        episode.scenario_id,
        episode.sample,
        outcome.ending,
        episode.reward,
        reward(outcome).total if scored else None,
        audited_tokens(ids) if ids else None,
    )


def audited_tokens(ids: EpisodeTokens) -> TokenAudit:
    """Count an episode's ids by what a trainer does with them."""
    turns, so_far, total, sequences = list(ids.sequences()), 0, 0, 1
    digest = hashlib.blake2b(digest_size=8)
    for number, ((prompt, written), stored) in enumerate(zip(turns, ids.replies, strict=True)):
        if number and stored.shared < so_far:  # a sequence of its own: the one before ends here
            sequences, total = sequences + 1, total + so_far
        so_far = len(prompt) + len(written)
        for part in (prompt, written):
            digest.update(len(part).to_bytes(8, "little") + array("q", part).tobytes())
    trained = sum(len(written) for _, written in turns)
    return TokenAudit(sequences, trained, total + so_far - trained, digest.hexdigest())


def _plain(row: Audited) -> dict[str, Any]:
    tokens = row.tokens._asdict() if row.tokens else None
    return {**row._asdict(), "tokens": tokens, "troubles": row.troubles}


def _told(rows: Sequence[Audited]) -> str:
    bad = [row for row in rows if row.troubles]
    cut = Counter(str(row.ending) for row in rows if row.ending in TRUNCATED)
    known = [row.tokens for row in rows if row.tokens]
    lines = [
        ("trajectories", len(rows)),
        ("rewards that their outcome is not worth", sum(row.reward != row.recomputed for row in rows)),
        ("cut short", ", ".join(f"{count} {ending}" for ending, count in sorted(cut.items())) or 0),
        ("with token ids", len(known)),
        ("ids trained on", sum(tokens.trained for tokens in known)),
        ("ids masked", sum(tokens.masked for tokens in known)),
        ("prompts that rewrite earlier ids", sum(tokens.sequences - 1 for tokens in known)),
    ]
    told = [f"{row.scenario_id}#{row.sample}: {'; '.join(row.troubles)}" for row in bad[:SHOWN]]
    more = [f"... and {len(bad) - SHOWN} more; --json lists all"] if len(bad) > SHOWN else []
    return "\n".join([aligned(lines), *map(printable, told), *more])

"""Token ids beside the episodes: what a trained policy read and wrote, exactly as it was sampled.

`NAME.tokens` lies beside `NAME.jsonl` and has one line per episode whose provider gave token ids. Text made
into tokens again need not give the same ids, so learning from stored episodes starts here. A prompt mostly
repeats the conversation so far: a line says how many leading ids it shares with it, and holds only the rest.
Not here: log-probabilities, which a later model computes anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.episode_store.episodes import Key, read_models
from core.episode_store.lines import append
from project_types import Episode, Frozen


class ReplyTokens(Frozen):
    """One reply as it is stored."""

    shared: int
    """Ids of the prompt that are the first ids of the conversation so far."""
    prompt_token_ids: tuple[int, ...]
    """The rest of the prompt."""
    token_ids: tuple[int, ...]
    """What the policy wrote."""
    logprobs: tuple[float, ...] = ()
    """Log-probability of each of `token_ids` when it was sampled; empty where the provider gave none."""


class EpisodeTokens(Frozen):
    """One line: the replies of an episode in order."""

    scenario_id: str
    sample: int
    replies: tuple[ReplyTokens, ...]

    def sequences(self) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Give the whole prompt and the reply of each turn, as token ids."""
        so_far: tuple[int, ...] = ()
        for reply in self.replies:
            prompt = so_far[: reply.shared] + reply.prompt_token_ids
            yield prompt, reply.token_ids
            so_far = prompt + reply.token_ids


def tokens_path(episodes: Path) -> Path:
    """Return where the token ids of a file of episodes are kept."""
    return episodes.with_suffix(".tokens")


def tokens_of(episode: Episode, choices: Sequence[Any]) -> EpisodeTokens | None:
    """Return the token ids of an episode's choices, None when the provider gave none for one of them."""
    replies: list[ReplyTokens] = []
    so_far: tuple[int, ...] = ()
    for choice in choices:
        prompt, tokens = (getattr(choice, name, None) for name in ("prompt_token_ids", "token_ids"))
        if not prompt or not tokens:
            return None
        shared = _shared(so_far, prompt)
        replies.append(
            ReplyTokens(
                shared=shared,
                prompt_token_ids=prompt[shared:],
                token_ids=tokens,
                logprobs=_logprobs(choice, len(tokens)),
            )
        )
        so_far = (*prompt, *tokens)
    if not replies:
        return None
    return EpisodeTokens(scenario_id=episode.scenario_id, sample=episode.sample, replies=tuple(replies))


def _logprobs(choice: Any, count: int) -> tuple[float, ...]:
    """Return a choice's log-probabilities; none unless there is one for each token."""
    content = getattr(getattr(choice, "logprobs", None), "content", None) or ()
    return tuple(entry.logprob for entry in content) if len(content) == count else ()


def _shared(before: Sequence[int], after: Sequence[int]) -> int:
    """Count the leading ids that two sequences have in common."""
    return next(
        (at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other),
        min(len(before), len(after)),
    )


def write_tokens(episodes: Path, episode: Episode, choices: Sequence[Any]) -> None:
    """Append the token ids of an episode beside its file; nothing when the provider gave none."""
    if found := tokens_of(episode, choices):
        with append(tokens_path(episodes)) as add:
            add(found.model_dump_json())


def read_tokens(episodes: Path) -> dict[Key, EpisodeTokens]:
    """Read the token ids beside a file of episodes, the latest of each sample; a bad line is skipped."""
    found = read_models(tokens_path(episodes), EpisodeTokens)
    return {(one.scenario_id, one.sample): one for one in found}

"""Where pairs come from: the generator that knows the truth, rollouts of one
incident, and annotators of tests.

From the generator: the right answer against one failing, each tag its own slice. From a model's own answers:
a right one against what it got wrong. From rollouts: reports of the same incident with different
outcomes. The position of the better answer is drawn, so that neither wins by it. Simulated annotators have
known biases, are named as such, and are never counted as people.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, product
from typing import Any

from alignment.answers import TAGS, Tag, failing, right, tags_of
from alignment.cases import ExplainCase, Split
from alignment.preferences import Choice, Message, Origin, Preference, now
from alignment.scorer import Facts, facts
from core.served_adapters import question, said
from project_types import Ending, Episode

GENERATOR = Origin(model="generator")
WORDINGS = 6
"""Of an answer, to choose from for its length."""
ALIKE_LENGTH = 0.2
"""Share by which two answers may differ in words and still be matched in length."""


def from_cases(
    cases: Iterable[ExplainCase], seed: int = 0, tags: Sequence[Tag] = TAGS, each: int = 2
) -> Iterator[Preference]:
    """Yield pairs of the right answer with `each` of its failings, tags in turn.

    The better answer is the longer one as often as the shorter one, as far as wordings allow: a judge that
    counts words learns nothing from these pairs.
    """
    for number, case in enumerate(cases):
        possible = [tag for tag in tags if tag in tags_of(case)]
        for place in range(min(each, len(possible))):
            tag = possible[(each * number + place) % len(possible)]
            yield _pair(case, *_of_either_length(case, tag, seed), tag, seed)


def _of_either_length(case: ExplainCase, tag: Tag, seed: int) -> tuple[str, str]:
    """Return the right answer and a failing, worded so that the one that a coin says is the longer one."""
    good_is_longer = random.Random(f"{seed}-{case.id}-{tag}-length").random() < 0.5
    seeds = range(seed, seed + WORDINGS)
    worded = ((right(case, one), failing(case, tag, other)) for one, other in product(seeds, seeds))
    first = next(worded)
    return next((pair for pair in chain([first], worded) if _longer(pair) == good_is_longer), first)


def _longer(pair: tuple[str, str]) -> bool | None:
    good, bad = map(len, pair)
    return None if good == bad else good > bad


def from_answers(
    cases: Iterable[ExplainCase], answers: Mapping[str, Sequence[str]], origin: Origin, seed: int = 0
) -> Iterator[Preference]:
    """Yield pairs of a right answer with what a model said that was wrong or not in the log, one of each fault.

    `answers`: texts by case. These are the mistakes that the model makes, not those
    that a generator thinks of. The right answer is the model's own best one where it
    has a faultless one, and otherwise the generator's.
    """
    for case in cases:
        found = {text: facts(case, text) for text in map(str.strip, answers.get(case.id, ())) if text}
        faultless = [text for text in found if _fault(found[text]) is None]
        good = max(faultless, key=lambda text: found[text].score, default=None)
        wrong = {tag: text for text in reversed(found) if (tag := _fault(found[text]))}
        for tag, text in wrong.items():
            origins = (GENERATOR if good is None else origin, origin)
            yield _pair(case, good or right(case, seed), text, tag, seed, origins)


def _fault(found: Facts) -> Tag | None:
    if found.symptom_as_cause:
        return "symptom"
    if not found.cause_right:
        return "wrong cause"
    return "hallucinated" if found.hallucinated else None


def _pair(
    case: ExplainCase,
    good: str,
    bad: str,
    tag: Tag,
    seed: int,
    origins: tuple[Origin, Origin] = (GENERATOR, GENERATOR),
) -> Preference:
    """Return a pair; `origins` are those of the good and of the bad answer."""
    rng = random.Random(f"{seed}-{case.id}-{tag}")
    first = rng.random() < 0.5
    return Preference(
        id=pair_id(case.id, good, bad),
        case=case.id,
        family=case.family,
        failure_type=case.failure_type,
        split=case.split,
        prompt=tuple(Message.model_validate(message) for message in case.messages()),
        answer_a=good if first else bad,
        answer_b=bad if first else good,
        better="a" if first else "b",
        kind="generator",
        by="generator",
        why=(tag,),
        at=now(),
        origin_a=origins[0] if first else origins[1],
        origin_b=origins[1] if first else origins[0],
        seed=seed,
    )


def pair_id(case: str, one: str, other: str) -> str:
    """Return a name of a pair that does not depend on the order of its answers."""
    text = "\n".join((case, *sorted((one, other))))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ------------------------------------------------------------------------------------------------- rollouts


def from_episodes(
    episodes: Iterable[Episode], split: Split = "train", seed: int = 0, length_matched: bool = False
) -> Iterator[Preference]:
    """Yield pairs of reports on one incident of which one is worth more.

    A report that is right beats one that is wrong; of two right ones, a grounded one beats one that is not.
    """
    by_incident: dict[str, list[Episode]] = defaultdict(list)
    for episode in episodes:
        if episode.report is not None and episode.outcome.ending is Ending.ANSWERED:
            by_incident[episode.scenario_id].append(episode)
    for incident, found in sorted(by_incident.items()):
        for one, other in combinations(found, 2):
            better, worse = sorted((one, other), key=_worth, reverse=True)
            if _worth(better) == _worth(worse) or (length_matched and not _alike_long(better, worse)):
                continue
            pair = _of_episodes(incident, better, worse, split, seed)
            if pair is not None:
                yield pair


def _worth(episode: Episode) -> tuple[bool, bool]:
    return episode.outcome.correct, episode.outcome.cited_fabricated == 0 and episode.outcome.cited_gold > 0


def _alike_long(one: Episode, other: Episode) -> bool:
    first, second = (len(_said(episode).split()) for episode in (one, other))
    return abs(first - second) <= ALIKE_LENGTH * max(first, second)


def _said(episode: Episode) -> str:
    return said(episode.report) if episode.report else ""


def _of_episodes(incident: str, good: Episode, bad: Episode, split: Split, seed: int) -> Preference | None:
    if _said(good) == _said(bad):
        return None
    first = random.Random(f"{seed}-{incident}-{_said(good)}").random() < 0.5
    why: Tag = "wrong cause" if not bad.outcome.correct else "hallucinated"
    pair = (good, bad) if first else (bad, good)
    prompt = tuple(Message.model_validate(message) for message in question(good.messages))
    origins = [Origin(model=episode.policy or "policy") for episode in pair]
    return Preference(
        id=pair_id(incident, _said(good), _said(bad)),
        case=incident,
        family="incident",
        failure_type=str(good.metadata.get("fault_type", "incident")),
        split=split,
        prompt=prompt,
        answer_a=_said(pair[0]),
        answer_b=_said(pair[1]),
        better="a" if first else "b",
        kind="rollouts",
        by="outcome",
        why=(why,),
        at=now(),
        origin_a=origins[0],
        origin_b=origins[1],
        seed=seed,
    )


# ------------------------------------------------------------------------------------- annotators of tests

BIASES: dict[str, Callable[[Preference], Choice]] = {
    "longer": lambda pair: "a" if len(pair.answer_a) > len(pair.answer_b) else "b",
    "first": lambda pair: "a",
    "careful": lambda pair: pair.better,
}


def simulated(
    pairs: Iterable[Preference], bias: str, seed: int = 0, mistakes: float = 0.0
) -> Iterator[Preference]:
    """Judge pairs as an annotator with a known bias does, who errs in a share of them."""
    rng = random.Random(f"{seed}-{bias}")
    for pair in pairs:
        choice = BIASES[bias](pair)
        if pair.decided and rng.random() < mistakes:
            choice = "b" if choice == "a" else "a"
        changed: dict[str, Any] = {
            "better": choice,
            "kind": "simulated",
            "by": f"simulated:{bias}",
            "at": now(),
        }
        yield pair.model_copy(update=changed)

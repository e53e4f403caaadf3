"""What a training run did, in numbers: the rows of metrics.jsonl, summary.json, and the few lines a terminal
shows of it.

Everything is computed from `config.json`, `metrics.jsonl`, `episodes/` and ART's `state.json`. It runs
nothing, judges nothing and writes nothing; files and pages are `training_report`.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core.episode_store.run_folder import GREEDY, SAMPLED, RunFolder
from core.intervals import Interval, paired_difference, proportion
from evaluation.summary import Part, Summary, summarise
from project_types import Episode
from training_runs.before_after import Comparison, before_and_after
from training_runs.resuming import resume_command
from training_runs.time_limit import out_of_time


def measured(
    episodes: Sequence[Episode], seed: int, failures: Mapping[str, int], seconds: float
) -> dict[str, Any]:
    """What a metrics row says of a batch of rollouts that took `seconds`; None where nothing was measured."""
    whole = summarise(episodes, seed=seed).whole
    accuracy = whole.measures["accuracy"]
    rewards = [episode.reward for episode in episodes if episode.reward is not None]
    names = ("reward", "grounded", "service", "opened", "fabricated", "turns", "tool_calls")
    prompt, completion = (
        sum(getattr(e.outcome, f"{kind}_tokens") for e in episodes) for kind in ("prompt", "completion")
    )
    return {
        "rollouts": len(episodes),
        "failed": sum(failures.values()),
        "failures": dict(failures),
        "accuracy": _value(accuracy),
        "accuracy_low": None if accuracy.n == 0 else round(accuracy.low, 4),
        "accuracy_high": None if accuracy.n == 0 else round(accuracy.high, 4),
        **{name: _value(whole.measures[name]) for name in names},
        "reward_spread": round(statistics.pstdev(rewards), 4) if rewards else None,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "tokens_per_s": round((prompt + completion) / seconds, 1) if seconds else 0.0,
        "judge_cost_usd": sum(episode.verdict.cost_usd for episode in episodes if episode.verdict),
        "endings": dict(whole.endings),
        "rollout_seconds": round(seconds, 3),
        "seconds": round(seconds, 3),
    }


def words(row: Mapping[str, Any]) -> str:
    """A metrics row in a few words."""
    if row["accuracy"] is None:
        return "no episode"
    return f"reward {row['reward']:+.3f}, right {row['accuracy']:.0%}, {row['tokens_per_s']:,.0f} tokens/s"


def summary_of(run: RunFolder) -> dict[str, Any]:
    """The content of summary.json."""
    rows = run.rows
    failures: Counter[str] = Counter()
    for row in rows:
        failures.update(row.get("failures", {}))
    config, seed = run.config, int(run.config["seed"])
    tokens = sum(row.get("prompt_tokens", 0) + row.get("completion_tokens", 0) for row in rows)
    train = run.of("train")
    return {
        "name": run.settings["name"],
        "seed": seed,
        "revision": run.settings["revision"],
        "backend": config["backend"],
        "base_model": config["base_model"],
        "judge": config["judge"],
        "splits": {split: _split_json(before_and_after(run, split), seed) for split in ("test", "val")},
        "best_checkpoint": run.progress.get("best_checkpoint"),
        **_ending(run),
        "seconds": round(float(run.progress.get("seconds", 0.0)), 1),
        "training_seconds": round(float(run.progress.get("training_seconds", 0.0)), 1),
        "rollouts": sum(row["rollouts"] for row in rows),
        "tokens": tokens,
        "failed_rollouts": sum(failures.values()),
        "failures": dict(failures.most_common()),
        "flat_groups": sum(row.get("flat_groups", 0) for row in train),
        "service_restarts": int(run.progress.get("service_restarts", 0)),
        "judge_cost_usd": round(sum(row.get("judge_cost_usd", 0.0) for row in rows), 6),
        "policy_cost_usd": _cost(tokens, config.get("usd_per_million_tokens")),
    }


def _ending(run: RunFolder) -> dict[str, Any]:
    """Return how far the run came, how it ended, and what to type to go on."""
    done, asked = run.steps, run.most_steps
    finished, ended_by = bool(run.progress.get("finished")), run.progress.get("ended_by")
    by_time = ended_by == "time"
    more = ("--max-minutes", "none") if by_time else ()
    return {
        "steps": done,
        "steps_asked": asked,
        "finished": finished,
        "ended_by": ended_by,
        "out_of_time": out_of_time(done, asked, run.config.get("max_minutes")) if by_time else "",
        "go_on": resume_command(run.path, *more) if by_time or not finished else "",
        "training_service": run.settings.get("training_service", {}),
    }


def _cost(tokens: int, usd_per_million: float | None) -> float | None:
    return None if usd_per_million is None else round(tokens * usd_per_million / 1e6, 4)


def _split_json(comparison: Comparison, seed: int) -> dict[str, Any]:
    before, after = ({kind: summarise(side[kind], seed=seed) if side[kind] else None for kind in (GREEDY, SAMPLED)}
                     for side in (comparison.before, comparison.after))  # fmt: skip
    known = before[GREEDY] or after[GREEDY]
    average = f"avg{comparison.samples}"
    result: dict[str, Any] = {"n": known.whole.scenarios if known else 0}
    for side, found in (("before", before), ("after", after)):
        result |= _side(side, _whole(found[GREEDY]), _whole(found[SAMPLED]), average)
    for name, kind in (("gain", GREEDY), (f"{average}_gain", SAMPLED)):
        gain = gained(comparison.before[kind], comparison.after[kind], seed)
        result |= {name: _value(gain), f"{name}_ci95": _bounds(gain)}
    result["by_slice"] = {
        slicing: {
            value: {
                "n": part.scenarios,
                **_side(
                    "before",
                    _slice(before[GREEDY], slicing, value),
                    _slice(before[SAMPLED], slicing, value),
                    average,
                ),
                **_side(
                    "after",
                    _slice(after[GREEDY], slicing, value),
                    _slice(after[SAMPLED], slicing, value),
                    average,
                ),
            }
            for value, part in values.items()
        }
        for slicing, values in (known.slices.items() if known else ())
        if slicing != "topology"
    }
    return result


def _side(side: str, greedy: Part | None, sampled: Part | None, average: str) -> dict[str, Any]:
    accuracy = greedy.measures["accuracy"] if greedy else None
    sampled_accuracy = sampled.measures["accuracy"] if sampled else None
    return {
        f"accuracy_{side}": _value(accuracy),
        f"ci95_{side}": _bounds(accuracy),
        f"grounded_{side}": _value(greedy.measures["grounded"] if greedy else None),
        f"{average}_{side}": _value(sampled_accuracy),
        f"{average}_ci95_{side}": _bounds(sampled_accuracy),
    }


def gained(before: Iterable[Episode], after: Iterable[Episode], seed: int) -> Interval | None:
    """Accuracy after minus before over the scenarios both sides have, with its interval; None when there is
    none.
    """
    old, new = _accuracy_by_scenario(before), _accuracy_by_scenario(after)
    shared = sorted(old.keys() & new.keys())
    if not shared:
        return None
    return proportion(
        paired_difference([old[i] for i in shared], [new[i] for i in shared], seed=seed), lowest=-1.0
    )


def _accuracy_by_scenario(episodes: Iterable[Episode]) -> dict[str, float]:
    found: dict[str, list[bool]] = defaultdict(list)
    for episode in episodes:
        found[episode.scenario_id].append(episode.outcome.correct)
    return {scenario: sum(right) / len(right) for scenario, right in found.items()}


def _whole(found: Summary | None) -> Part | None:
    return found.whole if found else None


def _slice(found: Summary | None, slicing: str, value: str) -> Part | None:
    return found.slices.get(slicing, {}).get(value) if found else None


def _value(interval: Interval | None) -> float | None:
    return None if interval is None or interval.n == 0 else round(interval.value, 4)


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None or interval.n == 0 else [round(interval.low, 4), round(interval.high, 4)]


def table(summary: Mapping[str, Any]) -> str:
    """Before and after, as a few lines for a terminal."""
    lines = [f"{'':<26}{'before':>22}{'after':>22}{'gain in points':>22}"]
    lines += [
        f"{label:<26}{before:>22}{after:>22}{gained:>22}"
        for label, before, after, gained in headline(summary)
    ]
    return "\n".join(lines)


def headline(summary: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(what was measured, before, after, gain in percentage points) of each split and sampling that was
    measured.
    """
    rows = []
    for split, found in summary["splits"].items():
        for key, how in measures_of(found):
            bounds, gain = ("ci95", "gain") if key == "accuracy" else (f"{key}_ci95", f"{key}_gain")
            before, after = (
                percent(found[f"{key}_{side}"], found[f"{bounds}_{side}"]) for side in ("before", "after")
            )
            if (before, after) != ("-", "-"):
                gained = percent(found[gain], found[f"{gain}_ci95"], points=True)
                rows.append((f"{split} ({found['n']}), {how}", before, after, gained))
    return rows


def measures_of(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The keys under which one split's summary holds accuracy, and how it was sampled: ('accuracy', 'temp.
    0'), ('avg4', ...).
    """
    averages = [key.removesuffix("_before") for key in found if re.fullmatch(r"avg[0-9]+_before", key)]
    return [("accuracy", "temp. 0"), *((key, f"{key.replace('avg', 'avg@')}, temp. 1") for key in averages)]


def percent(value: float | None, bounds: Sequence[float] | None, points: bool = False) -> str:
    """'41.2 % [35, 47]', a difference in percentage points as '+12.5 [3, 20]', or '-' when it was not
    measured.
    """
    if value is None:
        return "-"
    said = f"{100 * value:+.1f}" if points else f"{100 * value:.1f} %"
    return said + (f" [{100 * bounds[0]:.0f}, {100 * bounds[1]:.0f}]" if bounds else "")

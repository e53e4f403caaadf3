"""What a training run came to, in numbers: the content of summary.json.

Everything is computed from `config.json`, `metrics.jsonl`, `episodes/` and ART's `state.json`. It runs
nothing, judges nothing and writes nothing. Not here: how the numbers are shown (`headline`, `report_page`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from core.episode_store.failures import last_failure_of_run
from core.episode_store.run_folder import GREEDY, SAMPLED, RunFolder
from core.intervals import Interval, paired_difference, proportion
from evaluation.summary import Part, Summary, summarise
from failure_analysis.at_once import analyses, explained
from failure_analysis.prediction.gaming import alarms
from project_types import Episode
from training_runs.before_after import Comparison, before_and_after
from training_runs.resuming import resume_command
from training_runs.time_limit import out_of_time

Measured = Mapping[str, Summary | None]
"""The episodes of one side by way of sampling, summarised; None where there are none."""


def summary_of(run: RunFolder) -> dict[str, Any]:
    """Return the content of summary.json."""
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
        "failure_analysis": analyses(failures),
        "ended_because": _ended_because(run),
        "alarms": alarms(rows),
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


def _ended_because(run: RunFolder) -> dict[str, str] | None:
    """Return the analysis of the last trouble of a run that did not finish; None when there is none."""
    if run.progress.get("finished") or run.progress.get("ended_by") == "time":
        return None
    trouble = last_failure_of_run(run.failures_path)
    return (trouble.failure_analysis or explained(trouble)) if trouble else None


def _cost(tokens: int, usd_per_million: float | None) -> float | None:
    return None if usd_per_million is None else round(tokens * usd_per_million / 1e6, 4)


def _split_json(comparison: Comparison, seed: int) -> dict[str, Any]:
    sides = {
        "before": _summarised(comparison.before, seed),
        "after": _summarised(comparison.after, seed),
    }
    known = sides["before"][GREEDY] or sides["after"][GREEDY]
    average = f"avg{comparison.samples}"
    result: dict[str, Any] = {"n": known.whole.scenarios if known else 0}
    for side, found in sides.items():
        result |= _side(side, _whole(found[GREEDY]), _whole(found[SAMPLED]), average)
    for name, sampling in (("gain", GREEDY), (f"{average}_gain", SAMPLED)):
        gain = gained(comparison.before[sampling], comparison.after[sampling], seed)
        result |= {name: _value(gain), f"{name}_ci95": _bounds(gain)}
    slicings = [name for name in known.slices if name != "topology"] if known else []
    return result | {"by_slice": {name: _sliced(known, name, sides, average) for name in slicings}}


def _summarised(episodes: Mapping[str, list[Episode]], seed: int) -> Measured:
    return {
        sampling: summarise(episodes[sampling], seed=seed) if episodes[sampling] else None
        for sampling in (GREEDY, SAMPLED)
    }


def _sliced(
    known: Summary | None, slicing: str, sides: Mapping[str, Measured], average: str
) -> dict[str, Any]:
    """Return both sides of every slice, such as every family of faults."""
    result: dict[str, Any] = {}
    for value, part in (known.slices[slicing] if known else {}).items():
        result[value] = {"n": part.scenarios}
        for side, found in sides.items():
            greedy, sampled = (_slice(found[sampling], slicing, value) for sampling in (GREEDY, SAMPLED))
            result[value] |= _side(side, greedy, sampled, average)
    return result


def _side(side: str, greedy: Part | None, sampled: Part | None, average: str) -> dict[str, Any]:
    accuracy = greedy.measures["accuracy"] if greedy else None
    twins = greedy.measures["both_twins"] if greedy else None
    sampled_accuracy = sampled.measures["accuracy"] if sampled else None
    return {
        f"accuracy_{side}": _value(accuracy),
        f"ci95_{side}": _bounds(accuracy),
        f"grounded_{side}": _value(greedy.measures["grounded"] if greedy else None),
        f"both_twins_{side}": _value(twins),
        f"both_twins_ci95_{side}": _bounds(twins),
        f"{average}_{side}": _value(sampled_accuracy),
        f"{average}_ci95_{side}": _bounds(sampled_accuracy),
    }


def gained(before: Iterable[Episode], after: Iterable[Episode], seed: int) -> Interval | None:
    """Return accuracy after minus before over the scenarios both sides have; None when there is none."""
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

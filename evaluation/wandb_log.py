"""What W&B and Weave are told, when there is a key: the one place that knows either of them (docs/wandb.md
lists every name).

A training run is one W&B run, named and identified by the run's name, so that a resumed run goes on in it.
ART makes it and logs the metrics; this adds a table of rollouts per evaluation, the configuration, and at the
end the report and the checkpoints' names as an artifact. `python -m evaluation run` is a W&B run of its own.
In Weave each episode is a trace (`rollout` makes it); an evaluation is written from the stored episodes:
nothing is played or judged for it.

Without a key nothing here imports wandb or weave. Not here: what a number means (`summary`), publishing a
judge (`make_judge_model`).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from core.episode_store.episodes import EPISODES, load
from core.intervals import Interval
from evaluation.run_record import write_json
from evaluation.showing import transcript
from evaluation.summary import Summary, summarise
from make_judge_model import prepare_wandb
from project_types import ConfigurationError, Ending, Episode, Outcome
from rollout import TRACE, reward

KEY = "WANDB_API_KEY"
STEP = "training_step"
"""The x-axis of a training run: the checkpoint that was measured."""
LOGGED = "wandb.json"
"""In the folder of an evaluation: the W&B run it was logged to, and how much of it."""
COMPONENTS = tuple(reward(Outcome(ending=Ending.UNKNOWN)).components)
SLICED = ("fault_type", "family", "unseen", "topology")
COLUMNS = (
    *("scenario", "sample", "policy", "ending", "right", "grounded", "service_right", "reward"),
    *(f"reward_{name}" for name in COMPONENTS),
    *("suspected_service", "root_cause", "judge", "verdict", "reason", "turns", "tool_calls", "seconds"),
    *(*SLICED, "trace", "transcript"),
)
"""Columns of the table `.../rollouts`."""
LONGEST_TRANSCRIPT = 40_000
"""Characters of a transcript in a table; a longer one loses its middle."""


class WandbError(ConfigurationError):
    """W&B or Weave refuses or cannot be reached; the text says what to type."""


# ------------------------------------------------------------------------------------------------- on and off


def begin(project: str, *, allowed: bool = True) -> bool:
    """Whether W&B is told; if so, episodes become Weave traces from now on. Offline there is no Weave: it has
    no such mode.

    Raises:
        WandbError: Weave does not start.
    """
    if not (allowed and os.environ.get(KEY)):
        return False
    prepare_wandb()
    off = os.environ.get("WEAVE_DISABLED", "").casefold() in ("true", "1", "yes", "on")
    if off or os.environ.get("WANDB_MODE", "online") != "online":
        return True
    import httpx
    import wandb
    import weave

    os.environ.setdefault("WEAVE_PRINT_CALL_LINK", "false")
    os.environ.setdefault("WEAVE_IMPLICITLY_PATCH_INTEGRATIONS", "false")  # else every reply is stored twice
    refusals = (wandb.errors.Error, httpx.HTTPError, OSError, RuntimeError, ValueError)
    try:
        weave.init(project)
    except (*refusals, import_module("weave.trace.weave_init").WeaveWandbAuthenticationException) as trouble:
        what = f"Weave does not start ({type(trouble).__name__}: {str(trouble)[:300]})"
        raise WandbError(f"{what}; check {KEY}, or go without traces: WEAVE_DISABLED=true") from trouble
    return True


def _weave() -> Any | None:
    """The weave module where traces are being written."""
    weave = sys.modules.get("weave")
    return weave if weave is not None and weave.get_client() is not None else None


# ---------------------------------------------------------------------------------------------- training runs


class TrainingLog:
    """The W&B run of one training run; until it is attached, and without a key, everything it does is
    nothing.
    """

    def __init__(self) -> None:
        self._run: Any | None = None
        self._name_of: Callable[[int], str] = str

    def attach(self, model: Any, facts: Mapping[str, Any]) -> None:
        """Make or continue the W&B run of an ART model, with what `config.json` says as its configuration.

        Raises:
            WandbError: W&B refuses.
        """
        if not os.environ.get(KEY):
            return
        import wandb

        try:
            run = self._run = model._get_wandb_run()
        except wandb.errors.Error as trouble:
            raise WandbError(
                f"W&B does not take the run ({trouble}); check {KEY}, or set WANDB_MODE=offline"
            ) from trouble
        self._name_of = model.get_inference_name
        for split in ("val_sampled", "test_sampled"):
            run.define_metric(f"{split}/*", step_metric=STEP)
        run.config.update(
            dict(facts), allow_val_change=True
        )  # a resumed run may have other limits than it began with
        if (weave := _weave()) is not None:
            weave.get_client().set_wandb_run_context(run_id=run.id)

    def examined(self, split: str, checkpoint: int, episodes: Sequence[Episode]) -> None:
        """An evaluation of one checkpoint: a table of its rollouts, and an evaluation in Weave."""
        if self._run is None:
            return
        self._run.log({f"{split}/rollouts": table(episodes), STEP: checkpoint})
        weave_evaluation(
            f"{self._run.id} {split} step {checkpoint}",
            episodes,
            {"training_run": self._run.id, STEP: checkpoint},
        )

    def conclude(
        self, folder: Path, summary: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], code: int
    ) -> None:
        """The report, the configuration and the checkpoints' names as an artifact; then the W&B run ends."""
        if self._run is None:
            return
        import wandb

        names = checkpoints(summary, rows, self._name_of)
        write_json(folder / "checkpoints.json", names)
        self._run.log(
            {"report": wandb.Html((folder / "report.html").read_text(encoding="utf-8"), inject=False)}
        )
        kept = {side: names[side]["name"] for side in ("best", "latest") if names[side]}
        files = ("report.html", "summary.json", "config.json", "metrics.jsonl", "checkpoints.json")
        _artifact(
            self._run,
            f"{self._run.id}-report",
            "report",
            folder,
            files,
            {"base_model": names["base_model"], **kept},
        )
        self._run.summary.update(
            {"best_checkpoint": summary["best_checkpoint"], "finished": summary["finished"]}
        )
        _end(self._run, code)
        self._run = None


def checkpoints(
    summary: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], name_of: Callable[[int], str]
) -> dict[str, Any]:
    """The content of checkpoints.json: what the best, the latest and every validated checkpoint is called."""
    validated, latest = [], None
    for row in rows:
        latest = row["checkpoint"] if row["split"] == "train" else latest
        if row["split"] == "val":
            validated.append({"step": row["step"], "name": name_of(row["step"]), "reward": row["reward"]})

    def named(step: int | None) -> dict[str, Any] | None:
        return None if step is None else {"step": step, "name": name_of(step)}

    best = named(summary["best_checkpoint"])
    return {
        "base_model": summary["base_model"],
        "best": best,
        "latest": named(latest),
        "validated": validated,
    }


# ------------------------------------------------------------------------------------------------ evaluations


def log_evaluation(folder: Path, project: str) -> str | None:
    """Log a folder of `python -m evaluation run`, in the W&B run it was logged to before; the run's id, None
    when nothing is new.

    Raises:
        WandbError: W&B refuses; the folder does not count as logged.
    """
    from evaluation.reporting import page

    found = load(folder)
    logged = folder / LOGGED
    state = hashlib.sha256((folder / EPISODES).read_bytes()).hexdigest()
    if not found.episodes or (
        logged.exists() and state in logged.read_text(encoding="utf-8", errors="replace")
    ):
        return None
    id_ = _id(folder, found.run)
    summary = summarise(found.episodes, k=int(found.run["k"]))
    (folder / "report.html").write_text(page(found), encoding="utf-8", errors="backslashreplace")
    import wandb

    try:
        run = wandb.init(project=project, id=id_, name=folder.name, job_type="evaluation", resume="allow")
    except wandb.errors.Error as trouble:
        raise WandbError(
            f"W&B does not take the evaluation ({trouble}); check {KEY}, or add --no-wandb"
        ) from trouble
    run.config.update({"evaluation": found.run}, allow_val_change=True)  # k may have grown
    run.log({**_measures(summary), "evaluation/rollouts": table(found.episodes)})
    _artifact(run, f"{id_}-report", "report", folder, ("report.html", "summary.json", "run.json"), {})
    weave_evaluation(f"{folder.name} {found.run['policy']}", found.episodes, {"wandb_run": id_})
    _end(run, 0)
    write_json(
        logged, {"run": id_, "project": project, "episodes": len(found.episodes), "episodes_sha256": state}
    )
    return id_


def _id(folder: Path, run: Mapping[str, Any]) -> str:
    """The same however often the command is repeated, and another for every folder."""
    known = json.dumps([str(folder.resolve()), run.get("started"), run.get("policy")])
    return f"eval-{hashlib.sha256(known.encode()).hexdigest()[:12]}"


def _measures(summary: Summary) -> dict[str, float]:
    """`evaluation/NAME` and its interval, for all that was measured."""
    known: dict[str, Interval] = {name: of for name, of in summary.whole.measures.items() if of.n}
    ends = {f"evaluation/{name}": of.value for name, of in known.items()}
    for name, of in known.items():
        ends |= {f"evaluation/{name}_low": of.low, f"evaluation/{name}_high": of.high}
    return {
        **ends,
        "evaluation/scenarios": summary.whole.scenarios,
        "evaluation/episodes": summary.whole.episodes,
    }


def table(episodes: Iterable[Episode]) -> Any:
    """Episodes as a wandb Table with `COLUMNS`."""
    import wandb

    return wandb.Table(columns=list(COLUMNS), data=[_cells(episode) for episode in episodes])


def _cells(e: Episode) -> list[Any]:
    verdict, report, outcome = e.verdict, e.report, e.outcome
    said = None if verdict is None else "right" if verdict.correct else "wrong"
    text = "\n".join(transcript(e))
    if len(text) > LONGEST_TRANSCRIPT:
        half = LONGEST_TRANSCRIPT // 2
        text = f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
    return [
        *(e.scenario_id, e.sample, e.policy, outcome.ending.value),
        *(outcome.correct, outcome.grounded, outcome.service_correct, e.reward),
        *(e.reward_components.get(name) for name in COMPONENTS),
        *((report.suspected_service, report.root_cause) if report else (None, None)),
        *((verdict.judge, said, verdict.reason) if verdict else (None, None, None)),
        *(outcome.turns, outcome.tool_calls, outcome.seconds),
        *(_sliced(e, name) for name in SLICED),
        *(e.metadata.get(TRACE), text),
    ]


def _sliced(e: Episode, name: str) -> str | None:
    return None if name not in e.metadata else str(e.metadata[name])


def weave_evaluation(name: str, episodes: Sequence[Episode], attributes: Mapping[str, Any]) -> None:
    """An Evaluation in Weave with a prediction per episode, scored by its verdict and its reward; nothing
    where Weave is off.
    """
    weave = _weave()
    if weave is None or not episodes:
        return
    first, judge = episodes[0], next((e.verdict.judge for e in episodes if e.verdict), "judge")
    questions = {e.scenario_id: _question(e) for e in episodes}
    log = weave.EvaluationLogger(
        name=name,
        model={"name": "Investigator", "policy": first.policy},
        dataset=weave.Dataset(
            name=f"scenarios-{first.split or 'unnamed'}", rows=[questions[key] for key in sorted(questions)]
        ),
        eval_attributes=dict(attributes),
    )
    for e in episodes:
        answer: dict[str, Any] = {
            "ending": e.outcome.ending.value,
            "sample": e.sample,
            "trace": e.metadata.get(TRACE),
        }
        if e.report:
            answer["report"] = e.report.model_dump(mode="json")
        prediction = log.log_prediction(inputs=questions[e.scenario_id], output=answer)
        prediction.log_score({"name": "Judge", "judge": judge}, _verdict(e))
        prediction.log_score(
            "Reward", {"total": e.reward, "grounded": e.outcome.grounded, **e.reward_components}
        )
        prediction.finish()
    log.log_summary({measure: of.value for measure, of in summarise(episodes).whole.measures.items() if of.n})


def _question(e: Episode) -> dict[str, Any]:
    """What is the same for every policy, so that Weave can lay evaluations side by side."""
    asked = next((str(message.get("content")) for message in e.messages if message.get("role") == "user"), "")
    return {"scenario": e.scenario_id, "question": asked, **{name: e.metadata.get(name) for name in SLICED}}


def _verdict(e: Episode) -> dict[str, Any]:
    """The judge's score of an episode; without an answer there was nothing to judge, and it is not right."""
    if e.verdict is None:
        return {
            "correct": False,
            "service_correct": False,
            "cause_correct": False,
            "reason": f"not judged: {e.outcome.ending}",
        }
    return e.verdict.model_dump(mode="json", exclude={"judge", "cost_usd"})


# --------------------------------------------------------------------------------------------------- the ends


def _artifact(
    run: Any, name: str, kind: str, folder: Path, files: Iterable[str], metadata: Mapping[str, Any]
) -> None:
    import wandb

    artifact = wandb.Artifact(name, type=kind, metadata=dict(metadata))
    for file in files:
        if (folder / file).exists():
            artifact.add_file(str(folder / file), name=file)
    run.log_artifact(artifact)


def _end(run: Any, code: int) -> None:
    """Everything is sent before this returns."""
    if (weave := _weave()) is not None:
        weave.finish()
    run.finish(exit_code=code)

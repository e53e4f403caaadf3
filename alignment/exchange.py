"""Preferences in the forms of Label Studio and Argilla, both ways.

A task carries the whole pair, so that what comes back becomes a record of this room again, judged by whoever
judged it there. Label Studio: a list of tasks with a `pairwise` result and `choices` for the reasons. Argilla
(2.x): a list of records with the questions `better` and `why`. Untouched tasks come back as nothing. What a
file holds is not trusted: it is checked like any record.

Not here: the record itself (`preferences`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from alignment.preferences import Preference, now
from project_types import ConfigurationError

Form = Literal["label-studio", "argilla"]
FORMS: tuple[Form, ...] = ("label-studio", "argilla")
SELECTED = {"a": "left", "b": "right"}
JUDGEMENT = ("better", "by", "why", "at", "kind")
"""Fields of a record that a judgement fills in."""
Json = dict[str, Any]


def exported(preferences: Iterable[Preference], form: Form) -> list[Json]:
    """Return tasks for people to judge, with the judgements that persons have made."""
    make = _label_studio if form == "label-studio" else _argilla
    by_pair: dict[str, list[Preference]] = {}
    for one in preferences:
        by_pair.setdefault(one.id, []).append(one)
    return [make(judged[0], _by_people(judged)) for judged in by_pair.values()]


def _by_people(judged: Iterable[Preference]) -> list[Preference]:
    return [one for one in judged if one.kind == "person"]


def imported(path: Path, form: Form) -> Iterator[Preference]:
    """Yield the judgements of a file. Raises ConfigurationError that names the task and what is wrong."""
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as trouble:
        raise ConfigurationError(
            f"{path}: cannot be read as JSON ({trouble}); export it again as JSON"
        ) from trouble
    read = _from_label_studio if form == "label-studio" else _from_argilla
    for number, task in enumerate(tasks if isinstance(tasks, list) else [tasks], 1):
        try:
            yield from read(task)
        except (KeyError, TypeError, ValueError, ValidationError, AttributeError) as trouble:
            why = (
                trouble.errors(include_url=False)[0]["msg"]
                if isinstance(trouble, ValidationError)
                else repr(trouble)
            )
            raise ConfigurationError(
                f"{path}: task {number} is no {form} task of this room: {why}"
            ) from trouble


def _pair(one: Preference) -> Json:
    """Return a pair without what was said of it."""
    return one.model_dump(mode="json", exclude=set(JUDGEMENT))


def _shown(one: Preference) -> Json:
    return {"prompt": one.prompt[-1].content, "answer_a": one.answer_a, "answer_b": one.answer_b}


def _judged(pair: Mapping[str, Any], better: str, by: str, why: Iterable[str], at: str) -> Preference:
    said = {"better": better, "by": by, "why": list(why), "at": at, "kind": "person"}
    return Preference.model_validate_json(json.dumps({**pair, **said}))


# --------------------------------------------------------------------------------------------- Label Studio


def _label_studio(one: Preference, judged: Iterable[Preference]) -> Json:
    return {"data": _shown(one) | {"pair": _pair(one)}, "annotations": [_annotation(said) for said in judged]}


def _annotation(said: Preference) -> Json:
    chosen: Json = {"from_name": "better", "to_name": "answers"}
    if said.decided:
        chosen |= {"type": "pairwise", "value": {"selected": SELECTED[said.better]}}
    else:
        chosen |= {"type": "choices", "value": {"choices": [said.better]}}
    why = {"from_name": "why", "to_name": "answers", "type": "choices", "value": {"choices": list(said.why)}}
    return {"completed_by": said.by, "created_at": said.at.isoformat(), "result": [chosen, why]}


def _from_label_studio(task: Mapping[str, Any]) -> Iterator[Preference]:
    for annotation in task.get("annotations") or []:
        by_name = {result["from_name"]: result["value"] for result in annotation["result"]}
        if annotation.get("was_cancelled") or "better" not in by_name:
            continue
        value = by_name["better"]
        sides = {side: choice for choice, side in SELECTED.items()}
        better = sides[value["selected"]] if "selected" in value else value["choices"][0]
        why = by_name.get("why", {}).get("choices", [])
        at = annotation.get("created_at") or now().isoformat()
        yield _judged(task["data"]["pair"], better, str(_name(annotation["completed_by"])), why, at)


def _name(completed_by: Any) -> Any:
    """Label Studio gives a number, or an account with its address."""
    return completed_by.get("email") if isinstance(completed_by, dict) else completed_by


# -------------------------------------------------------------------------------------------------- Argilla


def _argilla(one: Preference, judged: Iterable[Preference]) -> Json:
    said = list(judged)
    better = [{"value": each.better, "user_id": each.by, "at": each.at.isoformat()} for each in said]
    why = [{"value": list(each.why), "user_id": each.by} for each in said]
    responses = {"better": better, "why": why}
    return {
        "id": one.id,
        "fields": _shown(one),
        "metadata": {"pair": json.dumps(_pair(one))},
        "responses": responses,
    }


def _from_argilla(record: Mapping[str, Any]) -> Iterator[Preference]:
    responses = record.get("responses") or {}
    reasons = {response["user_id"]: response["value"] for response in responses.get("why", [])}
    pair = json.loads(record["metadata"]["pair"])
    for response in responses.get("better", []):
        user = response["user_id"]
        at = response.get("at") or now().isoformat()
        yield _judged(pair, response["value"], str(user), reasons.get(user, []), at)

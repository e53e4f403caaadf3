"""An adapter of one's own as the model that explains failures: `FAILURE_ANALYSIS_MODEL=served:production`.

It is asked over HTTP (`python -m alignment serve`) and learned to name a cause and an action, not categories:
those are the rules' verdict. Its answer is believed on the same terms as that of any model (`checking`). Not
here: how the service reads a log (`alignment.triage`).
"""

from __future__ import annotations

from core.model_calls import CallError, Problem
from core.served_adapters import ServedAdapters

SERVED = "served:"
"""A model name that begins so names an adapter, or the alias production."""


async def explained(
    model: str, log: str, url: str | None, token: str | None, timeout_s: float
) -> tuple[str, str]:
    """Return the root cause and the next action that the adapter names. Raises
    CallError when it names none, or sees no failure.
    """
    given = {"url": url, "token": token}
    service = ServedAdapters(**{key: value for key, value in given.items() if value}, timeout_s=timeout_s)
    said = await service.triage(log, model.removeprefix(SERVED))
    cause, action = str(said.get("root_cause") or ""), str(said.get("action") or "")
    if said.get("overruled"):
        raise CallError(Problem.UNREADABLE, "it sees no failure")
    if not (said.get("failed") and cause and action):
        raise CallError(Problem.UNREADABLE, "it names no cause with an action")
    return cause, action

"""An honest investigator of any accuracy: it looks at the evidence, and says
"unknown" where it does not know.

It is told the truth, which no policy may see, and told where to be right. So it is what a cheat is measured
against, and no policy.
"""

from __future__ import annotations

import random

from core.policies.scripting import UNKNOWN, Answer, Call, Desk, Play, ScriptedChat, read_trace, search
from project_types import Chat, EpisodeConfig, Scenario


def honest(scenario: Scenario, config: EpisodeConfig, *, right: bool) -> Chat:
    """Return who opens evidence of the scenario and then gives the gold report, or
    says that it does not know.
    """

    def script(desk: Desk) -> Play:
        for look in looks(scenario):  # noqa: UP028 - a list takes no answers, so "yield from" would fail
            yield look
        return gold(scenario) if right else UNKNOWN

    return ScriptedChat(script, random.Random(0), config)


def looks(scenario: Scenario) -> list[Call]:
    """Calls that show the evidence: a search of each decisive row's moment, and a trace."""
    truth = scenario.ground_truth
    decisive = [row for row in scenario.logs if row.id in truth.evidence_log_ids and row.timestamp]
    moments = dict.fromkeys((row.service, row.timestamp) for row in decisive)
    found = [search(service=name, start_time=str(at), end_time=str(at)) for name, at in moments]
    return [*found[:2], *map(read_trace, truth.evidence_trace_ids[:1])]


def gold(scenario: Scenario) -> Answer:
    """Return the gold report as a policy would give it."""
    return scenario.gold_report.model_dump(mode="json", exclude_none=True)

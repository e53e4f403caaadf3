"""The words of the house: what a scenario, an episode, an outcome and a verdict are.

Everything else imports this module, so it is the place to start reading. The words are plain data (frozen
pydantic models), the Protocols at which rooms and core meet, and the errors a user can see. They do no I/O
beyond reading one file, and know no trainer, no database and no provider. They stand in `core/words`, by
idea, and this door has them all:

    rows            log lines, spans, metrics and events, with their clocks and names
    scenario        an incident, its truth, a report
    scenario_files  reading both
    faults          the fault types
    conversation    calls, results, messages, replies
    episode         the rules of an episode, its ending, outcome and verdict
    training        the settings of a training run
    errors          what a user can see
"""

from __future__ import annotations

from core.words.conversation import Chat, ChatReply, Message, Tool, ToolCall, ToolResult
from core.words.episode import (
    EMBEDDED,
    Count,
    Ending,
    Episode,
    EpisodeConfig,
    Judge,
    JudgeError,
    Outcome,
    ProviderError,
    Score,
    Verdict,
)
from core.words.errors import (
    ConfigurationError,
    ContextOverflow,
    DatabaseError,
    InvestigatorError,
    ScenarioError,
    ToolInputError,
)
from core.words.faults import FAULT_TYPES, FaultKind
from core.words.rows import (
    FAILED,
    SEARCH_LEVELS,
    Edge,
    Event,
    Frozen,
    Level,
    LevelName,
    LogRecord,
    MetricSeries,
    Name,
    Nanosecond,
    Scalar,
    Span,
    Timestamp,
    Window,
    nanoseconds_beyond,
)
from core.words.scenario import (
    LINES,
    UNKNOWN,
    Distractor,
    Evidence,
    EvidenceKind,
    GroundTruth,
    Incident,
    OrNull,
    Parts,
    Phrase,
    Provenance,
    Report,
    Scenario,
    check_incident,
    check_truth,
)
from core.words.scenario_files import (
    Parsed,
    each_scenario,
    has_truth,
    read_checked,
    read_incident,
    read_jsonl,
    read_scenario,
    read_scenarios,
)
from core.words.training import EMBEDDED_TRAINING, TrainingConfig

__all__ = [
    "EMBEDDED",
    "EMBEDDED_TRAINING",
    "FAILED",
    "FAULT_TYPES",
    "LINES",
    "SEARCH_LEVELS",
    "UNKNOWN",
    "Chat",
    "ChatReply",
    "ConfigurationError",
    "ContextOverflow",
    "Count",
    "DatabaseError",
    "Distractor",
    "Edge",
    "Ending",
    "Episode",
    "EpisodeConfig",
    "Event",
    "Evidence",
    "EvidenceKind",
    "FaultKind",
    "Frozen",
    "GroundTruth",
    "Incident",
    "InvestigatorError",
    "Judge",
    "JudgeError",
    "Level",
    "LevelName",
    "LogRecord",
    "Message",
    "MetricSeries",
    "Name",
    "Nanosecond",
    "OrNull",
    "Outcome",
    "Parsed",
    "Parts",
    "Phrase",
    "Provenance",
    "ProviderError",
    "Report",
    "Scalar",
    "Scenario",
    "ScenarioError",
    "Score",
    "Span",
    "Timestamp",
    "Tool",
    "ToolCall",
    "ToolInputError",
    "ToolResult",
    "TrainingConfig",
    "Verdict",
    "Window",
    "check_incident",
    "check_truth",
    "each_scenario",
    "has_truth",
    "nanoseconds_beyond",
    "read_checked",
    "read_incident",
    "read_jsonl",
    "read_scenario",
    "read_scenarios",
]

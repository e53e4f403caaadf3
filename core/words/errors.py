"""The errors a user can see. Each text says what happened and what to type next.

`JudgeError` and `ProviderError` carry an episode, so they stand in `episode`.
"""

from __future__ import annotations


class InvestigatorError(Exception):
    """Base of every error this project raises on purpose; its text says what happened and what to do next."""


class ConfigurationError(InvestigatorError):
    """A setting, an extra or a file is missing or contradicts another; the text names the fix."""


class ScenarioError(InvestigatorError):
    """A scenario file cannot be used; the text names the file, the field and the fix."""


class DatabaseError(InvestigatorError):
    """logs.db is missing, stale, corrupt, or lacks a scenario."""


class ToolInputError(InvestigatorError):
    """The model called a tool with something the tool cannot use. Shown to the model, so it teaches."""


class ContextOverflow(InvestigatorError):
    """The conversation no longer fits the policy's context window."""

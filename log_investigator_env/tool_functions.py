"""Our tools as the plain functions that other libraries make tools of: a signature, and text as the result.

Not here: what a tool does (`log_search_tools`).
"""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from project_types import Tool, ToolInputError

ENDED = "The investigation has ended."


async def shown(tool: Tool, arguments: dict[str, Any]) -> str:
    """Return what the tool shows; a mistake of the model is told as text. A bug of the tool surfaces."""
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return (await tool.run(tool.arguments.model_validate(given))).text
    except (ToolInputError, ValidationError) as mistake:
        return f"error: {mistake}"


def signature(arguments: type[BaseModel], *before: Parameter) -> Signature:
    """Return the parameters that a model of arguments stands for, all by keyword."""
    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=_default(field), annotation=_plain(field.annotation))
        for name, field in arguments.model_fields.items()
    ]
    return Signature([*before, *parameters], return_annotation=str)


def _default(field: Any) -> Any:
    return Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)


def described(description: str, arguments: type[BaseModel]) -> str:
    """Return a docstring in Google's style, which several libraries read."""
    lines = [f"    {name}: {field.description or name}" for name, field in arguments.model_fields.items()]
    return "\n".join([description, "", "Args:", *lines])


def _plain(annotation: Any) -> Any:
    """Return the annotation with lists for tuples, which some libraries do not take."""
    if get_origin(annotation) is tuple:
        return list[get_args(annotation)[0]]  # type: ignore[misc]
    return annotation

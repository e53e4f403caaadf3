"""Tools as OpenAI function schemas, as small as JSON Schema allows: a model reads them in every episode."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel


@cache
def function_schema(name: str, description: str, arguments: type[BaseModel]) -> dict[str, Any]:
    """An OpenAI function. Titles, defaults and 'null' are left out, which a model need not read."""
    schema, properties = arguments.model_json_schema(), {}
    for field, described in schema.get("properties", {}).items():
        kinds = [kind for kind in described.pop("anyOf", []) if kind.get("type") != "null"]
        several = {"anyOf": kinds} if kinds else {}
        merged = {**(kinds[0] if len(kinds) == 1 else several), **described}
        properties[field] = {key: value for key, value in merged.items() if key not in ("title", "default")}
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := schema.get("required"):
        parameters["required"] = required
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }

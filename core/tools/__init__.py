"""What an agent can do with an incident: one module a tool, over any log store."""

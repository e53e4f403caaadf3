"""Teach a model an engineer's judgement about logs: preferences, reward model, DPO, adapters, gates.

Importing this package loads nothing heavy.
"""

"""Scripted cheats, and what the reward pays them beside an honest investigator of the same accuracy.

    python -m evaluation adversaries --split val --write-docs

`cheats` and `injections` are the players, `honest` is who they are compared with, `table` plays and counts.
"""

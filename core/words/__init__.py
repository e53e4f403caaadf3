"""The words of the house, a module for each idea. `project_types` is their door and has them all.

They import nothing of ours but each other.
"""

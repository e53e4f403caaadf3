"""Measurements with a bar: each prints its table, then `ratio=<measured> bar=<bar>` per bar, and exits 1 when
one falls short.
"""

"""The catalogue of faults: every fault type with its strikes, wordings, remedy and harmless look-alikes, by
name.

The data is in `faults_inside` and `faults_between`; the meaning of the fields in `faults`.
"""

from __future__ import annotations

from chaos import faults_between, faults_inside
from chaos.faults import Fault
from project_types import FAULT_TYPES

HELD_OUT = ("cpu_throttled", "network_partition", "feature_flag_misfire", "queue_backlog", "missing_index")
"""Fault types that occur only in the unseen part of the test split."""

_FAULTS = {fault.name: fault for fault in (*faults_inside.FAULTS, *faults_between.FAULTS)}
CATALOGUE: dict[str, Fault] = {name: _FAULTS[name] for name in FAULT_TYPES}
"""Every fault type of `project_types.FAULT_TYPES`, in its order."""
